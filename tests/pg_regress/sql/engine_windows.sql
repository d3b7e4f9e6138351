-- Window functions in the engine, against a heap with the same rows.
CREATE TABLE win_heap (id int, k int, o int, n numeric(10,2), b int8, f float8, s text COLLATE "C", d date, t boolean);
INSERT INTO win_heap SELECT g, nullif(g % 7, 3), nullif(g % 5, 4), CASE WHEN g % 11 = 0 THEN NULL ELSE (g % 100) / 3.0 END,
  g::int8 * 1000000007, CASE WHEN g % 13 = 0 THEN 'NaN' WHEN g % 17 = 0 THEN '-0' ELSE (g % 50) / 7.0 END,
  nullif('s' || g % 4, 's2'), '2024-02-28'::date + g % 30, nullif(g % 3, 2) = 1
  FROM generate_series(1, 3000) g;
CREATE TABLE win_doris (LIKE win_heap) USING doris;
INSERT INTO win_doris SELECT * FROM win_heap;
ANALYZE win_heap;
ANALYZE win_doris;

-- The number of rows in which the answers over the two tables differ.
CREATE FUNCTION win_differ(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT r FROM (%1$s) r FULL JOIN (%2$s) h ON r::text = h::text '
                 'WHERE r IS NULL AND h IS NOT NULL OR h IS NULL AND r IS NOT NULL) x',
                 format(query, 'win_doris'), format(query, 'win_heap')) INTO differing;
  RETURN differing;
END $$;

EXPLAIN (COSTS OFF) SELECT id, rank() OVER (PARTITION BY k ORDER BY o), sum(n) OVER (PARTITION BY k ORDER BY o)
  FROM win_doris;
EXPLAIN (COSTS OFF) SELECT id, row_number() OVER (ORDER BY id), first_value(s) OVER (PARTITION BY k ORDER BY id)
  FROM win_doris;

SELECT win_differ('SELECT id, row_number() OVER (PARTITION BY k ORDER BY id), rank() OVER w, dense_rank() OVER w,
  percent_rank() OVER w, cume_dist() OVER w, ntile(4) OVER (PARTITION BY k ORDER BY id) FROM %s WINDOW w AS (PARTITION BY k ORDER BY o)');
SELECT win_differ('SELECT id, lag(n) OVER w, lead(s, 3) OVER w, lag(b, -2, 0::int8) OVER w, first_value(f) OVER w,
  last_value(d) OVER w, nth_value(id, 5) OVER w FROM %s WINDOW w AS (PARTITION BY k ORDER BY o, id)');
SELECT win_differ('SELECT id, sum(n) OVER w, avg(n) OVER w, count(n) OVER w, sum(b) OVER w, avg(b) OVER w, sum(o) OVER w,
  avg(o) OVER w, bool_and(t) OVER w, bool_or(t) OVER w, min(f) OVER w, max(s) OVER w, min(d) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY o)');
-- Floats depend on the order of addition: it is the window's.
SELECT win_differ('SELECT id, sum(f) OVER w, avg(f) OVER w, min(f) OVER w, max(f) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING)');
SELECT win_differ('SELECT id, sum(n) OVER w, count(*) OVER w, max(b) OVER w, first_value(o) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY o GROUPS BETWEEN 1 FOLLOWING AND 2 FOLLOWING EXCLUDE TIES)');
SELECT win_differ('SELECT id, sum(n) OVER w, count(*) OVER w, min(f) OVER w, last_value(id) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 4 PRECEDING AND 2 PRECEDING EXCLUDE CURRENT ROW)');
SELECT win_differ('SELECT id, count(*) FILTER (WHERE t) OVER w, sum(n) FILTER (WHERE o > 1) OVER w
  FROM %s WINDOW w AS (ORDER BY k NULLS FIRST, o DESC)');
-- Several windows, over groups, and below joins and filters.
SELECT win_differ('SELECT k, sum(n), sum(sum(n)) OVER (ORDER BY k), avg(avg(n)) OVER (), rank() OVER (ORDER BY count(*) DESC, k)
  FROM %s GROUP BY k');
SELECT win_differ('SELECT x.id, x.place, y.best FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY n DESC, id) AS place FROM %1$s) x
  JOIN (SELECT DISTINCT k, max(n) OVER (PARTITION BY k) AS best FROM %1$s) y ON x.k = y.k WHERE x.place <= 5');

-- The first rows of each partition: the run condition.
EXPLAIN (COSTS OFF) SELECT id, place FROM (SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) AS place FROM win_doris) x
  WHERE place <= 2;
SELECT id, place FROM (SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) AS place FROM win_doris) x
  WHERE place <= 2 ORDER BY 1;
SELECT id, place, total FROM (SELECT id, rank() OVER (ORDER BY id) AS place, count(*) OVER (PARTITION BY k) AS total
  FROM win_doris) x WHERE place < 4 ORDER BY 1;

-- Empty frames and an empty table.
SELECT id, sum(b) OVER w, count(*) OVER w, first_value(b) OVER w FROM win_doris WHERE id < 4
  WINDOW w AS (ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING) ORDER BY id;
SELECT id, row_number() OVER (ORDER BY id) FROM win_doris WHERE id < 0;

-- RANGE with offsets: by the values of the order column.
EXPLAIN (COSTS OFF) SELECT sum(b) OVER (ORDER BY id RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM win_doris;
SELECT win_differ('SELECT id, sum(n) OVER w, count(*) OVER w, max(b) OVER w, first_value(o) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY o RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING)');
SELECT win_differ('SELECT id, sum(o) OVER w, count(*) OVER w, min(f) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY n DESC NULLS FIRST RANGE BETWEEN 2.5 PRECEDING AND 0.125 PRECEDING EXCLUDE TIES)');
SELECT win_differ('SELECT id, sum(n) OVER w, count(*) OVER w, bool_or(t) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY b RANGE BETWEEN 5000000000 FOLLOWING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW)');
SELECT win_differ('SELECT id, sum(n) OVER w, count(*) OVER w
  FROM %s WINDOW w AS (PARTITION BY s ORDER BY d DESC RANGE BETWEEN interval ''3 days'' PRECEDING AND interval ''1 mon'' FOLLOWING)');
SELECT sum(b) OVER (ORDER BY id RANGE BETWEEN -1 PRECEDING AND CURRENT ROW) FROM win_doris;
-- Floats with infinities, NaN and -0, and times, which do not wrap around.
EXPLAIN (COSTS OFF) SELECT sum(b) OVER (ORDER BY f RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM win_doris;
CREATE TABLE win_odd_heap AS SELECT g AS id, g % 3 AS k, CASE g % 9 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity'
  WHEN 3 THEN '-Infinity' WHEN 4 THEN '-0' ELSE (g % 20 / 4.0)::text END::float8 AS f, (g % 11 / 2.0)::float4 AS r,
  time '00:00' + g * interval '5 minutes' AS t FROM generate_series(1, 300) g;
CREATE TABLE win_odd_doris USING doris AS SELECT * FROM win_odd_heap;
CALL doris.compact('win_odd_doris');
CREATE FUNCTION win_odd(keys text, start text, stop text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE query text := 'SELECT id, count(*) OVER w, min(id) OVER w, max(id) OVER w FROM win_odd_%s WINDOW w AS (PARTITION BY k ORDER BY '
  || keys || ' RANGE BETWEEN ' || start || ' AND ' || stop || ')';
  differ boolean;
BEGIN
  EXECUTE format('SELECT EXISTS ((%1$s EXCEPT %2$s) UNION ALL (%2$s EXCEPT %1$s))', format(query, 'heap'), format(query, 'doris')) INTO differ;
  RETURN differ;
END $$;
SELECT keys, start, stop, win_odd(keys, start || ' PRECEDING', stop || ' FOLLOWING') AS differ,
  win_odd(keys, start || ' FOLLOWING', 'UNBOUNDED FOLLOWING') AS differ, win_odd(keys, 'UNBOUNDED PRECEDING', stop || ' PRECEDING') AS differ
  FROM (VALUES ('f'), ('f DESC'), ('f NULLS FIRST'), ('r'), ('r DESC')) a(keys),
  (VALUES ('0', '1.25'), ('''Infinity''', '0.5'), ('0.25', '''Infinity'''), ('''Infinity''', '''Infinity''')) b(start, stop);
SELECT keys, start, stop, win_odd(keys, start || ' PRECEDING', stop || ' FOLLOWING') AS differ
  FROM (VALUES ('t'), ('t DESC')) a(keys), (VALUES ('''10 minutes''', '''1 hour'''), ('''1 mon 3 days''', '''1000 hours''')) b(start, stop);
SELECT count(*) OVER (ORDER BY f RANGE BETWEEN -1 PRECEDING AND CURRENT ROW) FROM win_odd_doris;
-- Other aggregates of frames.
SELECT win_differ('SELECT id, bit_and(o) OVER w, bit_or(b) OVER w, variance(f) OVER w, stddev_pop(f) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING)');
EXPLAIN (COSTS OFF) SELECT bit_or(b) OVER w, stddev(f) OVER w FROM win_doris WINDOW w AS (PARTITION BY k ORDER BY id);
-- Partitions go to temporary files.
CREATE TABLE win_many USING doris AS SELECT g AS id, g % 500 AS k, repeat('x', g % 90) AS s FROM generate_series(1, 30000) g;
CREATE FUNCTION win_spilled(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
  RETURN (SELECT bool_or((node ->> 'Operator') LIKE 'Window%' AND (node ->> 'Spilled (kB)')::int > 500) FROM jsonb_path_query(plan::jsonb, '$.**') node WHERE jsonb_typeof(node) = 'object');
END $$;
SET doris.work_mem = '512kB';
SELECT win_spilled('SELECT s, sum(id) OVER (PARTITION BY k ORDER BY id) FROM win_many');
SELECT sum(x), sum(id), sum(length(s)) FROM (SELECT id, s, sum(id) OVER (PARTITION BY k ORDER BY id) AS x FROM win_many) y;
SET doris.enable_vectorization = off;
SELECT sum(x), sum(id), sum(length(s)) FROM (SELECT id, s, sum(id) OVER (PARTITION BY k ORDER BY id) AS x FROM win_many) y;
RESET doris.enable_vectorization;
DROP TABLE win_many;
DROP FUNCTION win_spilled;
SELECT win_differ('SELECT id, sum(n) OVER w, rank() OVER w, s FROM %s WINDOW w AS (PARTITION BY id %% 50 ORDER BY o, id)');
RESET doris.work_mem;
DROP TABLE win_odd_heap, win_odd_doris;
DROP FUNCTION win_odd;

-- Aggregates that put rows together.
EXPLAIN (COSTS OFF) SELECT string_agg(s, ',') OVER (ORDER BY id) FROM win_doris;
SELECT win_differ('SELECT id, string_agg(s, ''-'') OVER w, array_agg(o) OVER w, array_agg(n) FILTER (WHERE b > 0) OVER w, array_agg(s) OVER w
  FROM %s WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING)');
SELECT win_differ('SELECT id, string_agg(s, o::text) FILTER (WHERE id %% 3 = 0) OVER w, array_agg(d) OVER w FROM %s WHERE id < 300
  WINDOW w AS (PARTITION BY k ORDER BY id GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES)');
SELECT win_differ('SELECT id, string_agg(s, '''') OVER w, array_agg(f) OVER w FROM %s WHERE id < 200 WINDOW w AS (ORDER BY id)');
-- Results that memory does not hold.
SET doris.work_mem = '512kB';
SELECT count(*), sum(length(x)) FROM (SELECT string_agg('abcdefgh', ',') OVER (ORDER BY id) AS x FROM win_doris WHERE id <= 800) y;
RESET doris.work_mem;

-- What stays with PostgreSQL.
EXPLAIN (COSTS OFF) SELECT json_agg(s) OVER (ORDER BY id) FROM win_doris;

-- PostgreSQL stops before the row that overflows, and says so where it does not.
SELECT id, sum(b * 1000000000) OVER (ORDER BY id) FROM win_doris ORDER BY id LIMIT 2;
SELECT count(x) FROM (SELECT sum((9223372036854775807 - id) + id * 2) OVER (ORDER BY id) AS x FROM win_doris) y;
SELECT id, sum(1 / (id - 3)) OVER (ORDER BY id) FROM win_doris ORDER BY id LIMIT 1;

DROP TABLE win_heap, win_doris;
DROP FUNCTION win_differ;
