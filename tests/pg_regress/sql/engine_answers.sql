-- Shapes of plans that are easily answered otherwise than PostgreSQL does: each query on a heap and on a doris table.
CREATE SCHEMA answers;
SET search_path = answers, public;
SET doris.rows_to_heap = 0;
SET doris.compaction = off;
SET TimeZone = 'UTC';
CREATE TABLE t_h (id int, a int, b int, g numeric, p char(6), q char(9), f float8, d date, ts timestamp, v interval, txt text);
INSERT INTO t_h SELECT i, (i * 7919) % 1000, i % 7, CASE i % 2 WHEN 0 THEN 1.5 ELSE 1.50 END, chr(97 + i % 3), chr(97 + i % 3),
    CASE WHEN i % 5 = 0 THEN -0.0 ELSE -0.0::float8 END,
    CASE WHEN i = 49999 THEN 'infinity' ELSE date '2020-01-01' + i % 4000 END,
    timestamp '2020-01-01' + i * interval '1 minute', i * interval '1 hour', 'x' || i
  FROM generate_series(1, 50000) i;
CREATE TABLE t_d (LIKE t_h) USING doris;
INSERT INTO t_d SELECT * FROM t_h ORDER BY id;
CREATE TABLE u_h (id int, a int);
INSERT INTO u_h SELECT i, i FROM generate_series(0, 999) i;
CREATE TABLE u_d (LIKE u_h) USING doris;
INSERT INTO u_d SELECT * FROM u_h;
CREATE TABLE none_h (x int);
CREATE TABLE none_d (x int) USING doris;
INSERT INTO none_d SELECT g FROM generate_series(1, 5000) g;
DELETE FROM none_d;
ANALYZE t_h, t_d, u_h, u_d, none_h, none_d;

CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  found text;
BEGIN
  EXECUTE 'SELECT coalesce(string_agg(x::text, '';''), ''no rows'') FROM (' || query || ') x' INTO found;
  RETURN found;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
CREATE FUNCTION same(query text, OUT same boolean, OUT heap text, OUT doris text) LANGUAGE plpgsql AS $$
BEGIN
  heap := answer(replace(query, '@', '_h'));
  doris := answer(replace(query, '@', '_d'));
  same := heap = doris;
  heap := left(heap, 60);
  doris := CASE WHEN NOT same THEN left(doris, 60) END;
END $$;

-- The first rows of an order that no Sort right below the LIMIT makes.
SELECT s.* FROM (VALUES
  ('SELECT * FROM (SELECT a, count(DISTINCT b) n FROM t@ GROUP BY a ORDER BY a DESC LIMIT 3) s ORDER BY n, a'),
  ('SELECT sum(a) FROM (SELECT a, count(DISTINCT b) n FROM t@ GROUP BY a ORDER BY a DESC LIMIT 3) s'),
  ('SELECT count(*), min(a) FROM u@ WHERE a IN (SELECT a FROM t@ GROUP BY a HAVING count(DISTINCT b) > 1 ORDER BY a DESC LIMIT 5)')
) q(q), same(q) s;
SET enable_hashagg = off;
SELECT s.* FROM same('SELECT sum(a) FROM (SELECT DISTINCT a FROM t@ ORDER BY a DESC LIMIT 5) s') s;
RESET enable_hashagg;
SET enable_hashjoin = off;
SELECT s.* FROM same('SELECT sum(a) FROM (SELECT t.a FROM t@ t JOIN u@ u USING (a) ORDER BY a DESC LIMIT 10) s') s;
RESET enable_hashjoin;

-- PostgreSQL takes over from the engine: what a subquery gave before is still known.
SELECT s.* FROM (VALUES
  ('SELECT g, count(*) FROM t@ WHERE id >= (SELECT min(a) FROM u@) GROUP BY g'),
  ('SELECT g, count(*) FROM t@ WHERE EXISTS (SELECT FROM u@ WHERE a = 5) GROUP BY g'),
  ('SELECT u.a, x.g, x.n FROM u@ u, LATERAL (SELECT g, count(*) n FROM t@ t WHERE t.id >= (SELECT max(a) FROM u@) AND t.a = u.a GROUP BY g) x WHERE u.a < 2')
) q(q), same(q) s;

-- Subqueries that fail, where no row asks for them.
SELECT s.* FROM (VALUES
  ('SELECT sum(CASE WHEN a IS NOT NULL THEN a ELSE (SELECT 1 / count(*)::int FROM none@) END) FROM t@'),
  ('SELECT sum(CASE WHEN a < 0 THEN 1 WHEN a > (SELECT 1 / count(*)::int FROM none@) THEN 2 END) FROM t@'),
  ('SELECT sum(coalesce(a, (SELECT a FROM u@))) FROM t@'),
  ('SELECT sum(CASE WHEN a < 0 THEN (SELECT a FROM u@) ELSE (SELECT max(a) FROM u@) END) FROM t@')
) q(q), same(q) s;

-- What nobody asks for is not computed: LIMIT 0, conditions without columns, filters of aggregates.
SELECT s.* FROM (VALUES
  ('SELECT b, sum(1 / (b - 1)) FROM t@ GROUP BY b LIMIT 0'),
  ('SELECT b, sum(1 / (b - 1)) n FROM t@ GROUP BY b ORDER BY n LIMIT 0'),
  ('SELECT count(*) FILTER (WHERE nullif(b, 1) > 0 AND 1 / (b - 1) > 0) FROM t@')
) q(q), same(q) s;
SET plan_cache_mode = force_generic_plan;
PREPARE switch(int) AS SELECT * FROM (SELECT b, sum(1 / (b - 1)) FROM t_d GROUP BY b) s WHERE $1 = 1;
EXECUTE switch(2);
RESET plan_cache_mode;

-- Blank-padded text of several widths, negative zeros.
SELECT s.* FROM (VALUES
  ('SELECT q, count(*) FROM (SELECT lag(p, 1, '''') OVER (ORDER BY id) q FROM t@ WHERE id < 10) s GROUP BY q ORDER BY q'),
  ('SELECT count(*) FROM (SELECT p::bpchar FROM t@ UNION SELECT q::bpchar FROM t@) s'),
  ('SELECT p::bpchar FROM t@ EXCEPT SELECT q::bpchar FROM t@'),
  ('SELECT DISTINCT f FROM t@'),
  ('SELECT f, count(*) FROM t@ GROUP BY f'),
  ('SELECT f FROM t@ INTERSECT SELECT f FROM t@ WHERE id < 10')
) q(q), same(q) s;

-- Values that only PostgreSQL has, late among rows that are handed out as they come, and in subplans that start anew.
SELECT s.* FROM (VALUES
  ('SELECT count(y), max(y) FROM (SELECT extract(year FROM d) AS y FROM t@ OFFSET 0) s'),
  ('SELECT o.k, count(*), max(x.y) FROM (VALUES (1), (2)) o(k), LATERAL (SELECT extract(year FROM d) AS y FROM t@ WHERE id >= o.k OFFSET 0) x GROUP BY o.k ORDER BY o.k'),
  ('SELECT count(*) FROM (SELECT txt LIKE CASE WHEN id = 49000 THEN ''x'' ELSE ''x\'' END l FROM t@ OFFSET 0) s'),
  ('SELECT max(ts + v), min(ts - v) FROM t@')
) q(q), same(q) s;
SELECT same, doris FROM same('SELECT max(ts - timestamp ''infinity'') FROM t@');
CREATE FUNCTION last_year(name text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  rows refcursor;
  y numeric;
BEGIN
  OPEN rows FOR EXECUTE format('SELECT extract(year FROM d) FROM %I ORDER BY id', name);
  MOVE FORWARD 49998 IN rows;
  FETCH rows INTO y;
  RETURN y;
END $$;
SELECT last_year('t_h') = last_year('t_d') AS same;
SET client_min_messages = warning;
DROP SCHEMA answers CASCADE;
