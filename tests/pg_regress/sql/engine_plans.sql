-- Which plans the engine takes over whole, and that their answers are PostgreSQL's own.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA engine_plans;
SET search_path = engine_plans, public;
CREATE TABLE t (id int, a int, b text, n numeric(10,2)) USING doris;
INSERT INTO t SELECT g, nullif(g % 5, 4), 'word ' || g % 3, g / 7.0 FROM generate_series(1, 20000) g;
CREATE TABLE u (LIKE t) USING doris;
INSERT INTO u SELECT g, g % 7, 'word ' || g % 4, g FROM generate_series(1, 12000) g;
CREATE TABLE parts (id int, a int, n numeric(10,2)) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10000) USING doris;
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10000) TO (90000) USING doris;
INSERT INTO parts SELECT id, a, n FROM t;
VACUUM FULL t, u, parts_low, parts_high;
ANALYZE t, u, parts;

-- Runs a query with the engine and without; what it gives, and whether both give the same.
CREATE FUNCTION engine_plans.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; digests text[]; digest text; mode text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    RETURN NEXT line;
  END LOOP;
  FOREACH mode IN ARRAY ARRAY['on', 'off'] LOOP
    PERFORM set_config('doris.enable_vectorization', mode, true);
    EXECUTE format('SELECT count(*) || '' rows, '' || coalesce(md5(string_agg(x::text, chr(10) ORDER BY x::text)), '''') FROM (%s) x', query) INTO digest;
    digests := digests || digest;
  END LOOP;
  PERFORM set_config('doris.enable_vectorization', 'on', true);
  RETURN NEXT CASE WHEN digests[1] = digests[2] THEN 'same answer, ' || split_part(digests[1], ',', 1) ELSE 'DIFFERENT ANSWERS' END;
END $$;
SET enable_sort = off;
SET enable_nestloop = off;
SET enable_mergejoin = off;

SELECT engine_plans.plan('SELECT a, count(*), sum(n), avg(n) FROM t GROUP BY a');
SELECT engine_plans.plan('SELECT a, b, grouping(a, b), sum(n) FROM t GROUP BY GROUPING SETS ((a), (b), ())');
SELECT engine_plans.plan('SELECT a, b, count(*) FROM t GROUP BY CUBE (a, b)');
SELECT engine_plans.plan('SELECT count(*) FROM t WHERE id NOT IN (SELECT id FROM u)');
SELECT engine_plans.plan('SELECT count(*) FROM t WHERE a NOT IN (SELECT a FROM t WHERE a IS NULL)');
SELECT engine_plans.plan('SELECT count(*) FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)');
SELECT engine_plans.plan('SELECT count(*), sum(n) FROM t WHERE id < 40 AND n < (SELECT 0.9 * avg(u.n) FROM u WHERE u.a = t.a)');
SELECT engine_plans.plan('SELECT count(*), sum(n) FROM (SELECT id, n FROM t UNION ALL SELECT id, n FROM u) x WHERE id > 10');
SELECT engine_plans.plan('SELECT a, b FROM t UNION SELECT a, b FROM u');
SELECT engine_plans.plan('SELECT a, count(*), sum(n) FROM parts GROUP BY a');
SELECT engine_plans.plan('SELECT count(*) FROM parts WHERE id < 5000');

-- With sorts: groups in order, DISTINCT.
RESET enable_sort;
SET enable_hashagg = off;
SELECT engine_plans.plan('SELECT a, count(*) FROM t GROUP BY a ORDER BY a DESC NULLS LAST');
SELECT engine_plans.plan('SELECT DISTINCT a FROM t ORDER BY a');
SELECT a, count(*) FROM t GROUP BY a ORDER BY a DESC NULLS LAST;
SELECT DISTINCT a FROM t ORDER BY a;
SELECT a, grouping(a), count(*) FROM t GROUP BY ROLLUP (a) ORDER BY a, 2;
SELECT a FROM t INTERSECT SELECT a FROM u ORDER BY a;
SELECT count(*) FROM (SELECT id FROM t EXCEPT ALL SELECT id FROM u) x;
RESET enable_hashagg;

-- Next to no memory: temporary files, the same answers.
SET doris.work_mem = '64kB';
SELECT engine_plans.plan('SELECT id, b, sum(n) FROM t GROUP BY id, b');
SELECT engine_plans.plan('SELECT count(*), sum(x.n) FROM t x JOIN t y ON x.id = y.id AND x.b = y.b');
SELECT engine_plans.plan('SELECT id, b FROM t ORDER BY n DESC, id OFFSET 19000');
SET temp_file_limit = '8kB';
\set VERBOSITY terse
SELECT count(*) FROM (SELECT id, b, sum(n) FROM t GROUP BY id, b) x;
RESET temp_file_limit;
DROP SCHEMA engine_plans CASCADE;
