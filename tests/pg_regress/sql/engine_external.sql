-- Expressions that only PostgreSQL can evaluate, within vectorised plans: answers and errors are those of a heap.
CREATE EXTENSION IF NOT EXISTS pg_doris;
SET client_min_messages = warning;
SET doris.rows_to_heap = 100;
CREATE TYPE ext_mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN ext_small AS int CHECK (value >= 0);
CREATE TYPE ext_pair AS (a int, b text);
CREATE TABLE ext_h (id int, k int, t text, j jsonb, arr int[], ip inet, mood ext_mood, small ext_small, pair ext_pair,
  n numeric(10,2), wide numeric, f float8, at timestamptz, d date);
CREATE TABLE ext_d (LIKE ext_h) USING doris;
CREATE TABLE ext_none (LIKE ext_h) USING doris;
INSERT INTO ext_h SELECT i, nullif(i % 7, 5), (ARRAY['red', 'green', 'Blue', '12', NULL])[1 + i % 5],
  jsonb_build_object('kind', 'k' || i % 6, 'n', i / 4.0, 'tags', jsonb_build_array(i % 3, 'x')),
  ARRAY[i, i % 3, NULL], ('10.0.' || i % 256 || '.1')::inet, (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::ext_mood, i % 50,
  ROW(i % 9, 'pair ' || i % 4)::ext_pair, i / 8.0, i / 3.0, i / 7.0, '2024-01-01 UTC'::timestamptz + i * interval '1 hour',
  '2024-01-01'::date + i % 400
  FROM generate_series(1, 5000) i;
UPDATE ext_h SET j = NULL, arr = NULL, mood = NULL, pair = NULL, n = NULL WHERE id % 11 = 0;
INSERT INTO ext_d SELECT * FROM ext_h;
INSERT INTO ext_h SELECT 5000 + id, k, t, j, arr, ip, mood, small, pair, n, 'NaN', f, at, d FROM ext_h WHERE id <= 20;
INSERT INTO ext_d SELECT * FROM ext_h WHERE id > 5000;
DELETE FROM ext_h WHERE id % 13 = 0;
DELETE FROM ext_d WHERE id % 13 = 0;
ANALYZE ext_h, ext_d;

CREATE FUNCTION ext_twice(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN x * 2; END';
CREATE FUNCTION ext_word(t text) RETURNS text IMMUTABLE LANGUAGE sql SET search_path = pg_catalog AS $$SELECT coalesce(upper(t), 'none')$$;
CREATE FUNCTION ext_fail(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
  IF x > 100 THEN RAISE EXCEPTION 'value % is too large', x USING ERRCODE = '22023', HINT = 'Use less.'; END IF;
  RETURN x;
END $$;
CREATE FUNCTION ext_number(t text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
  RETURN t::int;
EXCEPTION WHEN invalid_text_representation THEN RETURN -1;
END $$;
CREATE FUNCTION ext_count(x int) RETURNS bigint STABLE LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT count(*) FROM ext_d WHERE k = x AND ext_twice(id) > 100);
END $$;
CREATE FUNCTION ext_slow(x int) RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN true; END';
CREATE FUNCTION ext_loud(x int) RETURNS bool IMMUTABLE COST 0.000001 LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''met %'', x; RETURN true; END';
CREATE FUNCTION ext_volatile(x int) RETURNS int VOLATILE LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
CREATE FUNCTION ext_near(a int, b int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN abs(a - b) <= 2; END';
CREATE OPERATOR <~> (FUNCTION = ext_near, LEFTARG = int, RIGHTARG = int);

-- What runs where: the topmost operator of the engine, what PostgreSQL evaluates in it, and differences from the heap.
CREATE FUNCTION ext(query text) RETURNS TABLE (top text, external bool, rows bigint, differ bigint) LANGUAGE plpgsql AS $$
DECLARE line text; first text; others bool := false; d text := replace(query, '@', 'ext_d'); h text := replace(query, '@', 'ext_h');
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || d LOOP
    first := coalesce(first, substring(line from 'Engine: (\w+)'));
    others := others OR line ~ 'Engine:.* postgres';
  END LOOP;
  RETURN QUERY EXECUTE format('WITH d AS MATERIALIZED (SELECT x::text FROM (%s) x), h AS MATERIALIZED (SELECT x::text FROM (%s) x)
    SELECT %L::text, %L::bool, (SELECT count(*) FROM h),
      (SELECT count(*) FROM ((TABLE d EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE d)) y)', d, h, first, others);
END $$;
-- The error of a query on both tables.
CREATE FUNCTION ext_error(query text, OUT doris text, OUT heap text) LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
  BEGIN
    EXECUTE replace(query, '@', 'ext_d');
    doris := 'none';
  EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; doris := SQLSTATE || ' ' || SQLERRM || ' ' || hint;
  END;
  BEGIN
    EXECUTE replace(query, '@', 'ext_h');
    heap := 'none';
  EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; heap := SQLSTATE || ' ' || SQLERRM || ' ' || hint;
  END;
END $$;

-- EXPLAIN.
EXPLAIN (COSTS OFF) SELECT j->>'kind', count(*) FROM ext_d WHERE id > 10 GROUP BY 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT j->>'kind', sum((j->>'n')::numeric(10,2)) FILTER (WHERE arr[2] = 1)
  FROM ext_d WHERE k < 5 AND ip <<= '10.0.0.0/16' GROUP BY 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM ext_d a JOIN ext_d b ON ext_twice(a.id) = b.id AND a.id <~> b.k + a.k;

-- Group keys, aggregates and their filters.
SELECT * FROM ext('SELECT j->>''kind'' kind, count(*), sum(id), min(d) FROM @ GROUP BY 1');
SELECT * FROM ext('SELECT ext_word(t), count(*), count(ext_word(t)) FROM @ GROUP BY 1');
SELECT * FROM ext('SELECT sum((j->>''n'')::numeric(10,2)), avg((j->>''n'')::float8 * 0), max((j->>''n'')::numeric(8,1)) FROM @');
SELECT * FROM ext('SELECT k, count(j->''kind''), count(j) FILTER (WHERE j ? ''n''), sum(arr[2]) FILTER (WHERE mood = ''ok'') FROM @ GROUP BY k');
SELECT * FROM ext('SELECT count(DISTINCT ext_twice(k)), count(DISTINCT j->>''kind''), sum(ext_twice(k) + k) FROM @');
SELECT * FROM ext('SELECT k, (pair).a, count(*) FROM @ GROUP BY 1, 2');
SELECT * FROM ext('SELECT mood::text, max(array_length(arr, 1)), sum(cardinality(arr)), bool_or(ip << ''10.0.3.0/24'') FROM @ GROUP BY 1');
SELECT * FROM ext('SELECT date_trunc(''day'', at AT TIME ZONE ''Europe/Berlin''), count(*) FROM @ GROUP BY 1');
SELECT * FROM ext('SELECT regexp_replace(t, ''[aeiou]'', ''_'', ''g''), count(*), sum(length(t)) FROM @ GROUP BY 1');
SELECT * FROM ext('SELECT k, sum(ext_twice(k)) FROM @ GROUP BY ROLLUP (k)');
SELECT * FROM ext('SELECT k, count(*) FROM @ GROUP BY k HAVING ext_twice(count(*)::int) > 1300');
SELECT * FROM ext('SELECT mode() WITHIN GROUP (ORDER BY ext_twice(k)), percentile_disc(0.5) WITHIN GROUP (ORDER BY ext_twice(id)) FROM @');
-- Quals.
SELECT * FROM ext('SELECT count(*), sum(id) FROM @ WHERE t ~ ''^[rg]'' AND k > 2 AND jsonb_contains(j, ''{"kind": "k1"}'')');
SELECT * FROM ext('SELECT count(*), sum(id) FROM @ WHERE k <~> 1 OR mood = ''happy'' OR arr && ARRAY[17, 18]');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE NOT (ext_twice(k) > 4 AND mood < ''happy'') AND small::ext_small > 3');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE at > ''2024-02-01 UTC''::timestamptz + k * interval ''1 day'' AND wide < 1000');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE pair = ROW(3, ''pair 1'')::ext_pair OR pair IS NULL OR (j->''tags'') IS NULL');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE CASE k WHEN 1 THEN t = ''red'' WHEN 2 THEN ext_twice(id) > 500 ELSE false END');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE t COLLATE "C" > ''a'' AND at > now() - interval ''1000 years''');
-- Joins: keys, residuals, and what is left to PostgreSQL.
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a JOIN @ b ON ext_twice(a.id) = b.id');
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a JOIN @ b ON a.id = b.id AND a.k <~> b.small AND a.j = b.j');
SELECT * FROM ext('SELECT count(*), sum(b.id) FROM @ a LEFT JOIN @ b ON a.id = ext_twice(b.id)');
SELECT * FROM ext('SELECT count(*), sum(b.id) FROM @ a LEFT JOIN @ b ON a.id = b.id AND ext_twice(a.k) > b.k + 3');
SELECT * FROM ext('SELECT count(*) FROM @ a WHERE EXISTS (SELECT 1 FROM @ b WHERE b.id = ext_twice(a.id) AND b.j ? ''n'')');
-- Conditions that say what a match is, of outer and semi joins.
SELECT * FROM ext('SELECT a.id, b.id FROM @ a LEFT JOIN @ b ON a.k = b.small AND a.id <~> b.id - 3 AND a.j <> b.j WHERE a.id < 300');
SELECT * FROM ext('SELECT b.id, count(a.id), sum(a.id) FROM (SELECT * FROM @ WHERE k < 3) a RIGHT JOIN @ b ON a.id = b.id AND a.arr && b.arr AND a.k <> b.small GROUP BY 1');
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a WHERE EXISTS (SELECT 1 FROM @ b WHERE b.small = a.small AND b.id <~> a.id + 51 AND b.k < 6)');
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a WHERE NOT EXISTS (SELECT 1 FROM @ b WHERE b.small = a.small AND b.id <~> a.id + 51 AND b.k < 6)');
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a WHERE EXISTS (SELECT 1 FROM ext_none b WHERE b.small = a.small AND b.id <~> a.id)');
SELECT * FROM ext('SELECT a.id, b.j FROM @ a LEFT JOIN @ b ON a.id = b.id AND jsonb_contains(b.j, jsonb_build_object(''kind'', ''k'' || a.k))');
SET doris.threads = 3; SET doris.batch_rows = 7;
SELECT * FROM ext('SELECT a.id, b.id FROM @ a LEFT JOIN @ b ON a.k = b.small AND a.id <~> b.id - 3 AND a.j <> b.j WHERE a.id < 300');
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a WHERE NOT EXISTS (SELECT 1 FROM @ b WHERE b.small = a.small AND b.id <~> a.id + 51 AND b.k < 6)');
RESET doris.threads; RESET doris.batch_rows;
-- A build side that goes to files is PostgreSQL's then.
SET doris.work_mem = '64kB';
SELECT * FROM ext('SELECT count(*), sum(a.id) FROM @ a WHERE NOT EXISTS (SELECT 1 FROM @ b WHERE b.small = a.small AND b.id <~> a.id + 51 AND b.k < 6)');
RESET doris.work_mem;
-- An error of a pair is told, unless nobody looks at it: a row that has met its match asks for no other.
SELECT (ext_error('SELECT count(b.id) FROM @ a LEFT JOIN @ b ON a.id = b.id AND ext_fail(b.id) > a.k WHERE a.id < 200')).*;
SELECT (ext_error('SELECT count(b.id) FROM @ a LEFT JOIN @ b ON a.id = b.id AND b.id < 90 AND ext_fail(b.id) > a.k')).*;
SELECT (ext_error('SELECT count(*) FROM @ a WHERE EXISTS (SELECT 1 FROM @ b WHERE a.id = b.id AND ext_fail(b.id) > a.k)')).*;
SELECT * FROM ext('SELECT a.id, b.id, a.j->''n'', ext_twice(b.k) FROM @ a JOIN @ b ON a.j->>''kind'' = ''k'' || b.k WHERE a.id < 60 AND b.id < 60');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE ext_twice(k) IN (SELECT small FROM @ WHERE small > 3)');
-- Sorts, windows, DISTINCT, set operations, subqueries.
SELECT * FROM ext('SELECT id, j->>''kind'' kind FROM @ ORDER BY ext_twice(id) % 101, (j->>''n'')::float8 DESC, id LIMIT 30');
SELECT * FROM ext('SELECT id, sum(ext_twice(k)) OVER (PARTITION BY j->>''kind'' ORDER BY id), lag(j->''n'') OVER (ORDER BY id) FROM @');
SELECT * FROM ext('SELECT id, count(*) FILTER (WHERE mood = ''ok'') OVER (PARTITION BY k ORDER BY id) FROM @');
SELECT * FROM ext('SELECT DISTINCT j->>''kind'', ext_twice(k) FROM @');
SELECT * FROM ext('SELECT ext_twice(k) FROM @ UNION SELECT small + 0 FROM @ WHERE mood = ''sad''');
SELECT * FROM ext('SELECT ext_twice(k) FROM @ EXCEPT SELECT (j->>''n'')::numeric::int FROM @');
SELECT * FROM ext('SELECT x, count(*) FROM (SELECT coalesce(arr[3], arr[2], ext_twice(k)) x FROM @) y GROUP BY x');
SELECT * FROM ext('SELECT sum(ext_twice(k) + (SELECT max(b.k) FROM @ b)) FROM @');
SELECT * FROM ext('SELECT v, (SELECT count(*) FROM @ WHERE ext_twice(k) = v) FROM (VALUES (2), (NULL), (4), (99)) x(v)');
SELECT * FROM ext('SELECT k, max(x) FROM (SELECT k, ext_twice(id) x, j FROM @ ORDER BY id OFFSET 0) y GROUP BY k');
-- Numerics that are no plain numbers, volatile functions and sets stay with PostgreSQL.
SELECT * FROM ext('SELECT sum(wide::numeric(20,2)) FROM @');
SELECT * FROM ext('SELECT sum((wide + 1)::numeric(20,2)) FROM @ WHERE id <= 5000');
SELECT * FROM ext('SELECT sum(ext_volatile(k)) FROM @');
SELECT * FROM ext('SELECT count(*) FROM (SELECT jsonb_array_elements(j->''tags'') FROM @) x');

-- Functions that query doris tables themselves, and functions with subtransactions.
SELECT * FROM ext('SELECT sum(ext_count(k)), count(*) FROM @ WHERE id < 40');
SELECT * FROM ext('SELECT ext_number(t), count(*), sum(ext_number(j->>''kind'')) FROM @ GROUP BY 1');
SET doris.threads = 1;
SELECT * FROM ext('SELECT sum(ext_count(k)), sum(ext_number(t)) FROM @ WHERE id < 40');
RESET doris.threads;

-- Guards: PostgreSQL's errors come only from rows that get there.
SELECT * FROM ext('SELECT sum(CASE WHEN id <= 100 THEN ext_fail(id) ELSE 0 END), sum(ext_fail(id)) FILTER (WHERE id <= 100) FROM @');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE id <= 100 AND ext_fail(id) > 0');
SELECT * FROM ext('SELECT count(*) FROM @ WHERE id > 100 OR ext_fail(id) > 50');
SELECT * FROM ext('SELECT sum(coalesce(id, ext_fail(id + 1000))) FROM @');
SELECT * FROM ext('SELECT sum(x) FROM (SELECT ext_fail(id) x FROM @ ORDER BY id LIMIT 50) y');
SELECT * FROM ext('SELECT sum(x) FROM (SELECT ext_fail(id) x FROM @ WHERE id < 200 LIMIT 50) y');
SELECT * FROM ext_error('SELECT sum(ext_fail(id)) FROM @');
SELECT * FROM ext_error('SELECT ext_fail(id) % 3, count(*) FROM @ WHERE id < 102 GROUP BY 1');
SELECT * FROM ext_error('SELECT count(*) FROM @ a JOIN @ b ON ext_fail(a.id) = b.k');
SELECT * FROM ext_error('SELECT count(*) FROM @ WHERE (j->>''kind'')::int > 3');
SELECT * FROM ext_error('SELECT sum((j->>''n'')::numeric(4,2)) FROM @');
SELECT * FROM ext_error('SELECT sum(100 / ext_twice(k)) FROM @');
SELECT * FROM ext_error('SELECT count(*) FROM @ WHERE t::ext_mood = ''sad''');
SELECT * FROM ext_error('SELECT max(ext_fail(id)) OVER () FROM @');
SELECT sum(ext_fail(id)) FROM ext_d;
SELECT * FROM ext('SELECT sum(ext_twice(id)) FROM @');

-- A statement that is stopped within a function; the next ones work.
-- Where in the function the time is up is chance.
\set SHOW_CONTEXT never
SET statement_timeout = '300ms';
SELECT count(*) FROM ext_d WHERE ext_slow(id);
SELECT count(*) FROM ext_d a JOIN ext_d b ON a.id = b.id AND ext_slow(a.k);
RESET statement_timeout;
\set SHOW_CONTEXT errors
SELECT count(*) FROM ext_d WHERE ext_twice(k) = 6;

-- Parameters, cursors and rescans.
PREPARE ext_p(int, text, inet) AS SELECT count(*) FILTER (WHERE ext_twice(k) > $1), min(j->>$2), count(*) FILTER (WHERE ip > $3) FROM ext_d;
SET plan_cache_mode = force_generic_plan;
EXECUTE ext_p(4, 'kind', '10.0.7.0');
EXECUTE ext_p(NULL, NULL, NULL);
EXECUTE ext_p(10, 'n', '10.0.200.0');
RESET plan_cache_mode;
BEGIN;
DECLARE ext_c CURSOR FOR SELECT a.id, b.id AS twice, b.j->>'kind' AS kind FROM ext_d a JOIN ext_d b ON ext_twice(a.id) = b.id ORDER BY a.id;
FETCH 2 FROM ext_c;
SELECT count(*) FROM ext_d WHERE t ~ 'e';
MOVE 2000 IN ext_c;
FETCH 2 FROM ext_c;
SAVEPOINT s;
SELECT sum(ext_fail(id)) FROM ext_d;
ROLLBACK TO s;
FETCH 1 FROM ext_c;
COMMIT;

-- What a view hides stays hidden: its condition comes first, however cheap the other is.
CREATE VIEW ext_view WITH (security_barrier) AS SELECT * FROM ext_d WHERE ext_twice(id) < 7;
SET client_min_messages = notice;
SELECT count(*) FROM ext_view WHERE ext_loud(id);
SET client_min_messages = warning;
SELECT count(*) FROM ext_none WHERE ext_twice(k) > 2;
REVOKE EXECUTE ON FUNCTION ext_twice FROM PUBLIC;
CREATE ROLE ext_other;
GRANT SELECT ON ext_d TO ext_other;
SET ROLE ext_other;
SELECT sum(ext_twice(id)) FROM ext_d;
RESET ROLE;

DROP VIEW ext_view;
DROP FUNCTION ext, ext_error, ext_count;
DROP TABLE ext_d, ext_h, ext_none;
DROP OPERATOR <~> (int, int);
DROP FUNCTION ext_twice, ext_word, ext_fail, ext_number, ext_slow, ext_loud, ext_volatile, ext_near;
DROP TYPE ext_mood, ext_pair;
DROP DOMAIN ext_small;
DROP ROLE ext_other;
