-- Rows that PostgreSQL's plans do not look at, where looking at them fails: each query on a heap and on a doris table.
CREATE SCHEMA guards;
SET search_path = guards, public;
SET client_min_messages = warning;
SET doris.rows_to_heap = 0;
SET doris.compaction = off;
-- Without ICU the queries compare by bytes.
SELECT count(*) > 0 AS icu FROM pg_collation WHERE collname = 'de-x-icu' \gset
\if :icu
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
\else
CREATE COLLATION ci FROM "C";
\endif
CREATE TABLE t_h (id int, k int, z int, s text);
INSERT INTO t_h SELECT g, g % 7, g % 2, (ARRAY['a', 'A', 'b', 'B'])[1 + g % 4] FROM generate_series(1, 5000) g;
CREATE TABLE t_d (LIKE t_h) USING doris;
INSERT INTO t_d SELECT * FROM t_h;
CREATE TABLE s_h (id int, k int, ci text COLLATE ci, s text);
INSERT INTO s_h SELECT g, g % 5, (ARRAY['a', 'A', 'b'])[1 + g % 3], 'x' FROM generate_series(1, 200) g;
CREATE TABLE s_d (LIKE s_h) USING doris;
INSERT INTO s_d SELECT * FROM s_h;
CREATE TABLE n_h (k int, v numeric, p numeric(12, 2));
INSERT INTO n_h SELECT g % 5, g, g FROM generate_series(1, 30) g;
CREATE TABLE n_d (LIKE n_h) USING doris;
INSERT INTO n_d SELECT * FROM n_h;
CREATE TABLE o_h (k int, x numeric);
INSERT INTO o_h SELECT g % 4, g FROM generate_series(1, 60) g;
CREATE TABLE o_d (LIKE o_h) USING doris;
INSERT INTO o_d SELECT * FROM o_h;
ANALYZE t_h, t_d, s_h, s_d, n_h, n_d, o_h, o_d;
CREATE FUNCTION setting(name text) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_setting(name)::int; END';

CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  found text;
BEGIN
  EXECUTE 'SELECT coalesce(string_agg(x::text, '';'' ORDER BY x::text), ''no rows'') FROM (' || query || ') x' INTO found;
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

-- A correlated subquery that compares by another collation than it would group by.
SELECT s.same FROM (VALUES
  ('SELECT count(*), sum(o.id) FROM s@ o WHERE o.id <= 100 AND o.id <= (SELECT max(t.id) FROM t@ t WHERE t.s = o.ci)'),
  ('SELECT count(*), sum(o.id) FROM t@ o WHERE o.id <= 100 AND o.id <= (SELECT max(s.id) FROM s@ s WHERE s.ci = o.s)'),
  ('SELECT count(*), sum(o.id) FROM s@ o WHERE o.id <= 100 AND o.id <= (SELECT max(s.id) FROM s@ s WHERE s.ci = o.ci)'),
  ('SELECT count(*), sum(o.id) FROM s@ o WHERE o.id <= 100 AND o.id <= (SELECT max(s.id) FROM s@ s WHERE s.ci = o.ci COLLATE "C")'),
  ('SELECT count(*), sum(o.id) FROM t@ o WHERE o.id <= 100 AND o.id <= (SELECT max(t.id) FROM t@ t WHERE t.s = o.s)')
) q(q), same(q) s;

-- A condition of a join guards another that fails; and one that has no row to look at.
SELECT s.* FROM (VALUES
  ('SELECT count(*) FROM (SELECT * FROM t@ WHERE id = 12) a LEFT JOIN (SELECT * FROM s@ WHERE id = 3) b ON a.z <> 0 AND 10 / a.z = b.id'),
  ('SELECT count(*) FROM (SELECT id, s FROM t@ WHERE id = 12) a LEFT JOIN s_h b ON a.s ~ ''^\d+$'' AND a.s::int = b.id'),
  ('SELECT count(*) FROM t@ a, t@ b WHERE a.id = 1 AND b.id = 2 AND a.z <> 1 AND 10 / b.z = a.k'),
  ('SELECT count(*) FROM t@ a, t@ b WHERE a.id = 1 AND b.id < 50 AND a.k > b.k + 10 AND 10 / a.z = b.k + 1'),
  ('SELECT count(*) FROM (SELECT * FROM t@ WHERE id = 12) a WHERE NOT EXISTS (SELECT FROM s@ b WHERE b.id < 5 AND a.z <> 0 AND 10 / a.z = b.id)'),
  ('SELECT count(*) FROM s@ b LEFT JOIN (SELECT * FROM t@ WHERE id = -7) a ON 10 / (b.k - 1) = a.k'),
  ('SELECT count(*) FROM s@ b WHERE NOT EXISTS (SELECT FROM t@ a WHERE a.id = -7 AND 10 / (b.k - 1) = a.k)')
) q(q), same(q) s;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT s.* FROM (VALUES
  ('SELECT count(*) FROM s@ b LEFT JOIN (SELECT * FROM t@ WHERE id = -7) a ON 10 / (b.k - 1) = a.k'),
  ('SELECT count(*) FROM s@ b WHERE NOT EXISTS (SELECT FROM t@ a WHERE a.id = -7 AND 10 / (b.k - 1) = a.k)')
) q(q), same(q) s;
-- Columns are keys all the same.
EXPLAIN (COSTS OFF) SELECT count(*) FROM t_d a LEFT JOIN s_d b ON a.z <> 0 AND a.id = b.id;
RESET enable_hashjoin;
RESET enable_mergejoin;

-- NOT IN an empty subquery does not look at its left side; NULLs are rows.
SELECT s.* FROM (VALUES
  ('SELECT count(*) FROM t@ WHERE 10 / z NOT IN (SELECT id FROM s@ WHERE id < 0)'),
  ('SELECT count(*) FROM t@ WHERE 10 / z NOT IN (SELECT nullif(id, 1) FROM s@ WHERE id = 1)'),
  ('SELECT count(*) FROM t@ WHERE 10 / z NOT IN (SELECT id FROM s@ WHERE id = 1)'),
  ('SELECT count(*) FROM t@ WHERE 10 / z IN (SELECT id FROM s@ WHERE id < 0)'),
  ('SELECT count(*) FROM t@ WHERE nullif(z, 1) NOT IN (SELECT id FROM s@ WHERE id < 0)')
) q(q), same(q) s;

-- What the planner would not have looked at.
SELECT s.* FROM (VALUES
  ('SELECT count(*) FROM s@ WHERE false AND k < (SELECT sum(t.id) FROM t@ t WHERE t.k = s@.k AND t.id > setting(''guards.none''))'),
  ('SELECT count(*) FROM s@ WHERE k < (SELECT sum(t.id) FROM t@ t WHERE t.k = s@.k AND t.id > 10 * 10)')
) q(q), same(q) s;

-- Sums of groups that no row asks for.
SELECT s.* FROM (VALUES
  ('SELECT count(*) FROM o@ WHERE x < (SELECT sum(n.v) FROM n@ n WHERE n.k = o@.k)'),
  ('SELECT count(*) FROM o@ WHERE x < (SELECT avg(n.v) FROM n@ n WHERE n.k = o@.k)'),
  ('SELECT count(*) FROM o@ WHERE x < (SELECT 1e131060 * max(n.v) FROM n@ n WHERE n.k = o@.k)'),
  ('SELECT count(*) FROM o@ WHERE x < (SELECT 1e131070 * sum(n.p) FROM n@ n WHERE n.k = o@.k AND n.k < 4)'),
  ('SELECT count(*) FROM o@ WHERE x < (SELECT 0.2 * sum(n.p) FROM n@ n WHERE n.k = o@.k)')
) q(q), same(q) s;
EXPLAIN (COSTS OFF) SELECT count(*) FROM o_d WHERE x < (SELECT 0.2 * avg(n.p) FROM n_d n WHERE n.k = o_d.k);
-- A CTE's sums of such numerics are bounded, too.
EXPLAIN (COSTS OFF) WITH c AS (SELECT k, sum(p) total FROM n_d GROUP BY k)
  SELECT count(*) FROM c a WHERE total > (SELECT 1.2 * avg(total) FROM c b WHERE b.k = a.k);
SELECT s.* FROM (VALUES
  ('WITH c AS (SELECT k, sum(p) total FROM n@ GROUP BY k) SELECT count(*) FROM c a WHERE total > (SELECT 0.2 * avg(total) FROM c b WHERE b.k = a.k)'),
  ('WITH c AS (SELECT k, sum(v) total FROM n@ WHERE k < 4 GROUP BY k) SELECT count(*) FROM c a WHERE total > (SELECT 0.2 * avg(total) FROM c b WHERE b.k = a.k)')
) q(q), same(q) s;

DROP SCHEMA guards CASCADE;
