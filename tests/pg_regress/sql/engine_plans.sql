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

-- A subplan that runs for each row of its outer query keeps the rows of small tables; not those of large ones.
CREATE TABLE again_heap AS SELECT g AS id, g % 11 AS k, (g % 50)::numeric(10,2) AS n, 's' || g AS s FROM generate_series(1, 400) g;
CREATE TABLE again_doris USING doris AS SELECT * FROM again_heap;
CREATE TABLE again_large USING doris AS SELECT g % 11 AS k, repeat('x', 1000) || g AS s FROM generate_series(1, 9000) g;
DELETE FROM again_heap WHERE id % 5 = 0;
DELETE FROM again_doris WHERE id % 5 = 0;
INSERT INTO again_heap VALUES (7, 3, 1.5, NULL), (8, NULL, NULL, 'late');
INSERT INTO again_doris VALUES (7, 3, 1.5, NULL), (8, NULL, NULL, 'late');
CREATE FUNCTION again(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE differ boolean;
BEGIN
  EXECUTE format('SELECT EXISTS ((%1$s EXCEPT ALL %2$s) UNION ALL (%2$s EXCEPT ALL %1$s))', replace(query, '@', 'again_heap'), replace(query, '@', 'again_doris')) INTO differ;
  RETURN differ;
END $$;
SELECT again('SELECT id, (SELECT sum(n) FROM @ i WHERE i.k = o.k AND i.id < o.id OR i.id = o.id + 1) FROM @ o'),
  again('SELECT id, (SELECT max(s) FROM @ i WHERE i.n > o.n OR i.id < o.k) FROM @ o'),
  again('SELECT id FROM @ o WHERE EXISTS (SELECT 1 FROM @ i WHERE i.k = o.k AND i.id > o.id) OR o.n = 3'),
  again('SELECT k, count(*) FROM @ o GROUP BY k HAVING count(*) > (SELECT avg(n) FROM @ i WHERE i.k = o.k OR i.k IS NULL)');
SELECT sum(x) FROM (SELECT (SELECT count(*) FROM again_large l WHERE l.k = o.k OR l.s = o.s) AS x FROM again_doris o WHERE id < 12) y;
DROP TABLE again_heap, again_doris, again_large;
DROP FUNCTION again;

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
