-- The order of rows below what PostgreSQL computes itself: each query on a heap and on a doris table.
CREATE SCHEMA orders;
SET search_path = orders, public;
SET client_min_messages = warning;
SET doris.rows_to_heap = 0;
SET doris.compaction = off;
-- Keys are met first in another order than theirs.
CREATE TABLE t_h (id int, k int, z int, s text);
INSERT INTO t_h SELECT g, (g * 5 + 3) % 7, g % 2, (ARRAY['a', 'A', 'b', 'B'])[1 + g % 4] FROM generate_series(1, 5000) g;
CREATE TABLE t_d (LIKE t_h) USING doris;
INSERT INTO t_d SELECT * FROM t_h ORDER BY id;
ANALYZE t_h, t_d;
CREATE FUNCTION f_h() RETURNS TABLE (k int, n bigint) LANGUAGE sql STABLE AS
  'SELECT k, count(DISTINCT s) FROM orders.t_h GROUP BY k ORDER BY k';
CREATE FUNCTION f_d() RETURNS TABLE (k int, n bigint) LANGUAGE sql STABLE AS
  'SELECT k, count(DISTINCT s) FROM orders.t_d GROUP BY k ORDER BY k';

-- The rows in the order in which they come.
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  row text;
  found text[];
BEGIN
  FOR row IN EXECUTE query LOOP
    found := found || row;
  END LOOP;
  RETURN coalesce(array_to_string(found, ';', 'NULL'), 'no rows');
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

-- Groups that are sorted and hashed at once trust the order of their input.
SELECT s.* FROM (VALUES
  ('SELECT row(k, c, json_agg(c) IS NULL, count(*))::text FROM (SELECT k, z i, count(DISTINCT s) c FROM t@ WHERE k < 2 GROUP BY 1, 2 ORDER BY 1, 2 OFFSET 0) q
    GROUP BY GROUPING SETS ((k), (c)) ORDER BY k, c'),
  ('SELECT row(k, i, jsonb_agg(c) IS NULL, sum(c))::text FROM (SELECT k, z i, count(DISTINCT s) c FROM t@ GROUP BY 1, 2 ORDER BY 1, 2 OFFSET 0) q
    GROUP BY CUBE (k, i) ORDER BY k, i'),
  ('SELECT row(count(DISTINCT k), json_agg(c))::text FROM (SELECT k, z i, count(DISTINCT s) c FROM t@ GROUP BY 1, 2 ORDER BY 1, 2 OFFSET 0) q'),
  ('SELECT row(k, count(DISTINCT i), json_agg(c))::text FROM (SELECT k, z i, count(DISTINCT s) c FROM t@ GROUP BY 1, 2 ORDER BY 1, 2 OFFSET 0) q
    GROUP BY k ORDER BY k')
) q(q), same(q) s;

-- Aggregates that show the order of their rows.
SELECT s.* FROM (VALUES
  ('SELECT json_agg(id) FROM (SELECT DISTINCT id, s FROM t@ WHERE id < 15 ORDER BY id DESC) q WHERE s > '''''),
  ('SELECT jsonb_agg(q) FROM (SELECT k, count(DISTINCT s) c FROM t@ GROUP BY k ORDER BY k) q'),
  ('SELECT json_object_agg(k, c) FROM (SELECT k, count(DISTINCT s) c FROM t@ GROUP BY k ORDER BY k DESC) q'),
  ('SELECT xmlagg(xmlelement(name k, k)) FROM (SELECT k, count(DISTINCT s) c FROM t@ GROUP BY k ORDER BY k DESC) q'),
  ('SELECT array_agg(a) FROM (SELECT ARRAY[k] a, count(DISTINCT s) c FROM t@ GROUP BY k ORDER BY k) q'),
  ('SELECT json_agg(k) FROM (SELECT * FROM (SELECT k, count(DISTINCT s) FROM t@ GROUP BY k ORDER BY k) a UNION ALL SELECT 8, 8) q'),
  ('SELECT string_agg(k::text, '','') FROM (SELECT * FROM (SELECT k, count(DISTINCT s) FROM t@ GROUP BY k ORDER BY k) a UNION ALL SELECT 8, 8) q'),
  ('SELECT row(q.*)::text FROM (SELECT * FROM (SELECT k, count(DISTINCT s) FROM t@ GROUP BY k ORDER BY k) a UNION ALL SELECT 8, 8) q'),
  ('SELECT row(o.k, (SELECT json_agg(q) FROM (SELECT z, count(DISTINCT s) FROM t@ t WHERE t.k = o.k GROUP BY z ORDER BY z DESC) q))::text FROM (SELECT DISTINCT k FROM t@) o ORDER BY k'),
  ('SELECT row(o.k, l.j)::text FROM (SELECT DISTINCT k FROM t@) o, LATERAL (SELECT json_agg(q) j FROM (SELECT z, count(DISTINCT s) FROM t@ t WHERE t.k = o.k GROUP BY z ORDER BY z) q) l ORDER BY k')
) q(q), same(q) s;

-- A function in SQL that the planner puts in its place.
SELECT s.* FROM (VALUES
  ('SELECT row(f.*)::text FROM f@() f'),
  ('SELECT row(q.*)::text FROM (SELECT * FROM f@() f WHERE n > 0) q'),
  ('SELECT json_agg(k) FROM f@()')
) q(q), same(q) s;

-- Aggregates that do not ask for the order are spared it.
EXPLAIN (COSTS OFF) SELECT json_agg(id), count(*) FROM t_d WHERE k = 3;
EXPLAIN (COSTS OFF) SELECT max(k), count(DISTINCT c), bool_and(c > 0), count((SELECT 1 WHERE k > 0)) FROM (SELECT k, count(DISTINCT s) c FROM t_d GROUP BY k OFFSET 0) q;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count((SELECT 1 WHERE a.k > 0)), sum(a.id) FROM t_d a JOIN t_d b USING (id);
RESET enable_hashjoin;

DROP SCHEMA orders CASCADE;
