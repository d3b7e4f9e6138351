-- Numerics of any size and scale, and division: the engine's answers are those of a heap.
CREATE EXTENSION IF NOT EXISTS pg_doris;
SET client_min_messages = warning;
SET extra_float_digits = 1;
SET doris.rows_to_heap = 0;
CREATE TABLE num_h (id int, k int, n numeric(12,2), w numeric(38,10), u numeric, v numeric, x numeric(60,5), y numeric(5,-2));
INSERT INTO num_h SELECT g, nullif(g % 7, 3), CASE WHEN g % 11 = 0 THEN NULL ELSE (g * 37 % 20000 - 9000) / 100.0 END,
  CASE WHEN g = 77 THEN 9999999999999999999999999999.9999999999 ELSE g / 7.0 END,
  CASE WHEN g % 13 = 0 THEN NULL ELSE g % 40 * 1.50 END,
  CASE WHEN g % 17 = 0 THEN NULL ELSE ((g * 37 % 1000 - 300)::text || (ARRAY['', '.0', '.25', '.500'])[1 + g % 4])::numeric END,
  g * 1000000007.12345, g * 100
  FROM generate_series(1, 5000) g;
CREATE TABLE num_d (LIKE num_h) USING doris;
INSERT INTO num_d SELECT * FROM num_h;
-- What scaled integers cannot hold.
CREATE TABLE odd_h (id int, v numeric, u numeric);
INSERT INTO odd_h SELECT row_number() OVER (), a::numeric, b::numeric FROM unnest(ARRAY['0', '0.00', '-0', '-0.000', '1', '1.0', '1.00', '-1', '9999',
    '10000', '0.0001', '99999999', '1e-30', '-1e-30', '1e40', '-1e40', '12345678901234567890.123456789', '170141183460469231731687303715884105727',
    '170141183460469231731687303715884105728', '-170141183460469231731687303715884105728', 'NaN', 'Infinity', '-Infinity', NULL,
    repeat('9', 1000), '-' || repeat('7', 700) || '.' || repeat('3', 300), '0.' || repeat('0', 500) || '1', '1e-1000', '9e13000']) a,
  unnest(ARRAY['1', '3', '-7', '0.3', '10000', '99999999.5', '1e20', '123456789012345678901234567890', 'NaN', '-Infinity']) b;
CREATE TABLE odd_d (LIKE odd_h) USING doris;
INSERT INTO odd_d SELECT * FROM odd_h;
ANALYZE num_h, num_d, odd_h, odd_d;

-- Rows, with how often each comes, that are not the same over both tables; an error is a row too.
CREATE FUNCTION num_answer(query text) RETURNS TABLE (r text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT q::text, count(*) FROM (%s) q GROUP BY 1', query);
EXCEPTION WHEN OTHERS THEN
  RETURN QUERY SELECT SQLSTATE || ' ' || SQLERRM, 1::bigint;
END $$;
CREATE FUNCTION num_differ(query text) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM num_answer(replace(query, '@', 'd')) d FULL JOIN num_answer(replace(query, '@', 'h')) h USING (r, n)
  WHERE d.r IS NULL OR h.r IS NULL $$;
-- What PostgreSQL is left with.
CREATE FUNCTION num_left(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || replace(query, '@', 'd') LOOP
    IF line ~ 'postgres|not vectorised|Seq Scan' THEN RETURN NEXT trim(line); END IF;
    IF line ~ 'DorisVectorized|Doris' AND line !~ '->' THEN RETURN NEXT 'vectorised'; END IF;
  END LOOP;
END $$;

CREATE TABLE queries (number int GENERATED ALWAYS AS IDENTITY, query text);
INSERT INTO queries (query) VALUES
  ('SELECT id, n / 3, n / 7.5, 100.00 * n / id, w / n FROM num_@ WHERE n <> 0'),
  ('SELECT id, n / k FROM num_@'),
  ('SELECT id, u + n, u - v, u * v, v % 7, -v, abs(v), v / 3, v / 0.007, 1 / (v * v + 1) FROM num_@'),
  ('SELECT id, round(v, 1), round(v), trunc(v, 0), ceil(v), floor(v), round(n / 3, 4), round(v, -2), trunc(w, 3) FROM num_@'),
  ('SELECT id, v::int, u::bigint, v::float8, v::float4, v::text, n::text, (v / 3)::numeric(20,4), u::numeric(4,1), x, y FROM num_@'),
  ('SELECT id FROM num_@ WHERE v > 5 AND u <= 30.000 AND v <> 7.0'),
  ('SELECT id FROM num_@ WHERE v IN (25.0, 37, -263.000, 1e50) OR u NOT IN (1.5, 3)'),
  ('SELECT id FROM num_@ WHERE n IN (1.5, ''NaN'') OR v BETWEEN n AND u OR v IS NOT DISTINCT FROM u'),
  ('SELECT sum(v), avg(v), sum(u), avg(u), count(v), count(DISTINCT v), count(DISTINCT u), sum(x), avg(x), sum(y) FROM num_@'),
  ('SELECT k, sum(v), avg(v), min(u), max(u), avg(n), avg(n) * 2, sum(n) / count(*), sum(n) * 0.2, avg(id) FROM num_@ GROUP BY k'),
  ('SELECT k, 100.00 * sum(CASE WHEN id % 3 = 0 THEN n * (1 - 0.5) ELSE 0 END) / sum(n * (1 - 0.5)) FROM num_@ GROUP BY k'),
  ('SELECT u, count(*), sum(v) FROM num_@ GROUP BY u'),
  ('SELECT u, k, count(*) FROM num_@ GROUP BY u, k HAVING avg(v) > 100'),
  ('SELECT DISTINCT u FROM num_@'),
  ('SELECT round(avg(v), 2), count(*) FROM num_@ GROUP BY id % 50'),
  ('SELECT a.id, b.id FROM num_@ a JOIN num_@ b ON a.v = b.u WHERE a.id < 300 AND b.id < 200'),
  ('SELECT a.id, b.id FROM num_@ a LEFT JOIN num_@ b ON a.v = b.n AND b.id < 2000 WHERE a.id < 300'),
  ('SELECT id FROM num_@ WHERE u IN (SELECT v FROM num_@ WHERE k = 2)'),
  ('SELECT k, a FROM (SELECT k, avg(v) AS a FROM num_@ GROUP BY k) s WHERE a > 150'),
  ('SELECT id, greatest(v, u, n), least(u, 3), coalesce(u, v, 0), nullif(v, 37), CASE WHEN k = 1 THEN n ELSE v END FROM num_@'),
  ('SELECT sum(CASE WHEN k = 1 THEN n WHEN k = 2 THEN w ELSE 0.5 END), avg(CASE WHEN k = 1 THEN n ELSE 0 END) FROM num_@ WHERE id <> 77'),
  ('SELECT max(CASE WHEN id = 4000 THEN w ELSE n END), count(DISTINCT CASE WHEN k = 1 THEN n ELSE 1.000 END) FROM num_@'),
  ('SELECT id, sum(n) OVER w, avg(n) OVER w, avg(n) OVER w * 2 FROM num_@ WHERE id < 500 WINDOW w AS (PARTITION BY k ORDER BY id)'),
  ('SELECT id, rank() OVER (PARTITION BY k ORDER BY v), lag(v) OVER (ORDER BY id) FROM num_@ WHERE id < 500'),
  ('SELECT v FROM num_@ WHERE id < 100 UNION ALL SELECT n FROM num_@ WHERE id < 100'),
  ('SELECT k FROM num_@ GROUP BY k HAVING sum(v) / count(*) > 150'),
  ('SELECT id, v, u, v + u, v - u, v * u FROM odd_@'),
  ('SELECT id, v / u FROM odd_@ WHERE v < 1e1000 OR v = ''NaN'''),
  ('SELECT id, v % u FROM odd_@ WHERE abs(v) < 1e1200'),
  ('SELECT id, -v, abs(v), round(v, 3), round(v, -5), trunc(v, 2), ceil(v), floor(v), v::text FROM odd_@'),
  ('SELECT id, u / v FROM odd_@ WHERE v <> 0 AND v < 1e1200'),
  ('SELECT a.id, b.id, a.v = b.v, a.v < b.v, a.v >= b.u FROM odd_@ a, odd_@ b WHERE a.id % 7 = 0 AND b.id % 5 = 0'),
  ('SELECT a.id, b.id FROM odd_@ a JOIN odd_@ b ON a.v = b.v'),
  ('SELECT sum(v), avg(v), count(DISTINCT v), count(v) FROM odd_@ WHERE v < 1e1200'),
  ('SELECT u, sum(v), avg(v), count(*) FROM odd_@ WHERE abs(v) < 1e1200 GROUP BY u'),
  ('SELECT sum(v) FROM odd_@ WHERE v <> ''NaN'' AND v > -1e999'),
  ('SELECT min(v), max(v), min(u), max(u) FROM odd_@ WHERE v <> 0 AND v <> 1'),
  ('SELECT id, v::float8 FROM odd_@ WHERE abs(v) < 1e300 AND (abs(v) > 1e-200 OR v = 0) OR abs(v) = ''Infinity'''),
  ('SELECT id, v::float4 FROM odd_@ WHERE abs(v) BETWEEN 1e-30 AND 1e30'),
  ('SELECT id, v::int8 FROM odd_@ WHERE abs(v) < 1e10'),
  ('SELECT id, v::numeric(30,10) FROM odd_@ WHERE abs(v) < 1e20 OR v = ''NaN'''),
  ('SELECT k, sum(DISTINCT u), avg(DISTINCT u), count(DISTINCT u), variance(DISTINCT u) FROM num_@ GROUP BY k'),
  ('SELECT sum(DISTINCT u), sum(DISTINCT v) FILTER (WHERE k = 1), avg(DISTINCT n) FROM num_@'),
  ('SELECT variance(v), stddev(v), var_pop(u), stddev_pop(u), variance(n), stddev(w), variance(id), stddev_pop(k), variance(y), var_samp(x), stddev(id::bigint * 4611686018427) FROM num_@'),
  ('SELECT k, variance(v), stddev_samp(id), var_pop(n), stddev_pop(v) FILTER (WHERE id % 2 = 0), variance(DISTINCT k), var_samp(id::smallint) FROM num_@ GROUP BY k'),
  ('SELECT id, variance(v), stddev(n), var_pop(id), stddev_pop(u) FROM num_@ GROUP BY id'),
  ('SELECT u, k, count(*), sum(v), grouping(u, k) FROM num_@ GROUP BY ROLLUP (u, k)'),
  ('SELECT u, n, count(*), variance(v), avg(u) FROM num_@ WHERE id < 900 GROUP BY CUBE (u, n)'),
  ('SELECT u, k, x, count(*) FROM num_@ WHERE id < 900 GROUP BY GROUPING SETS ((u, k), (x), ()) HAVING count(*) > 1'),
  ('SELECT u FROM num_@ WHERE id < 900 UNION SELECT n FROM num_@ WHERE id > 300'),
  ('SELECT u, k FROM num_@ WHERE id < 900 INTERSECT SELECT n, k FROM num_@ WHERE id > 300'),
  ('SELECT u, k FROM num_@ WHERE id < 900 INTERSECT ALL SELECT u, k FROM num_@ WHERE id > 300'),
  ('SELECT u, k FROM num_@ EXCEPT SELECT n, k FROM num_@ WHERE id > 300'),
  ('SELECT u, k FROM num_@ EXCEPT ALL SELECT u, k FROM num_@ WHERE id > 300'),
  ('SELECT id, sum(v) OVER w, avg(v) OVER w, variance(v) OVER w, stddev(id) OVER w, max(v) OVER w, min(u) OVER w FROM num_@ WHERE id < 800
    WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING)'),
  ('SELECT id, sum(v) OVER w, avg(v) OVER w, stddev_pop(n) OVER w, max(v) OVER w FROM num_@ WHERE id < 800 WINDOW w AS (PARTITION BY k ORDER BY u)'),
  ('SELECT id, sum(v) FILTER (WHERE k < 4) OVER w, var_pop(v) OVER w FROM num_@ WHERE id < 400 WINDOW w AS (ORDER BY id GROUPS BETWEEN 5 PRECEDING AND 5 FOLLOWING EXCLUDE CURRENT ROW)'),
  ('SELECT k, rank() OVER (ORDER BY sum(v) DESC), sum(sum(v)) OVER (ORDER BY k) FROM num_@ GROUP BY k'),
  ('SELECT u, variance(v), stddev(v), var_pop(v) FROM odd_@ WHERE abs(v) < 1e1200 GROUP BY u'),
  ('SELECT variance(v), stddev_pop(v), sum(DISTINCT u), variance(u) FROM odd_@'),
  ('SELECT id, sum(v) OVER w, avg(u) OVER w, stddev(u) OVER w, max(v) OVER w FROM odd_@ WINDOW w AS (ORDER BY id ROWS BETWEEN 4 PRECEDING AND CURRENT ROW)'),
  ('SELECT id, sum(v) OVER w, variance(v) OVER w FROM odd_@ WHERE abs(v) < 1e50 WINDOW w AS (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW)'),
  ('SELECT v, u, count(*) FROM odd_@ WHERE v <> 0 AND v <> 1 GROUP BY CUBE (v, u)'),
  ('SELECT v FROM odd_@ WHERE v <> 0 AND v <> 1 AND u < 5 INTERSECT ALL SELECT v FROM odd_@ WHERE u > 5'),
  ('SELECT v FROM odd_@ UNION SELECT u FROM odd_@ WHERE id < 40'),
  ('SELECT v FROM odd_@ EXCEPT SELECT u FROM odd_@ WHERE id < 40'),
  ('SELECT k, array_agg(n ORDER BY id), array_agg(v ORDER BY id), array_agg(DISTINCT n), array_agg(w ORDER BY id DESC) FILTER (WHERE id < 50) FROM num_@ GROUP BY k'),
  ('SELECT array_agg(v ORDER BY id), array_agg(coalesce(n, 1.5) ORDER BY id) FROM num_@');
SELECT number, num_differ(query), query FROM queries WHERE num_differ(query) <> 0 ORDER BY number;
SELECT count(*) FROM queries;
-- Errors are PostgreSQL's.
SELECT q, num_answer(q) FROM unnest(ARRAY['SELECT 1 / v FROM odd_d WHERE v = 0', 'SELECT u / sum(v) FROM odd_d WHERE v = 0 GROUP BY u', 'SELECT v % 0.0 FROM odd_d WHERE v = 1',
  'SELECT v::int FROM odd_d WHERE v = ''NaN''', 'SELECT v::bigint FROM odd_d WHERE v = ''Infinity''', 'SELECT v::smallint FROM odd_d WHERE v = 99999999',
  'SELECT v::numeric(10,2) FROM odd_d WHERE v = 1e40', 'SELECT v::numeric(10,2) FROM odd_d WHERE v = ''Infinity''', 'SELECT v * 1e131050 FROM odd_d WHERE v = 1e40',
  'SELECT v::float8 FROM odd_d WHERE v = 1e-1000', 'SELECT v::float4 FROM odd_d WHERE v = 1e40', 'SELECT v / ''NaN'' FROM odd_d WHERE v = 0 LIMIT 1']) q;
-- Everything there is native, and ordered answers are in order.
SELECT number, num_left(query) FROM queries WHERE number IN (1, 3, 4, 6, 7, 9, 10, 11, 12, 15, 16, 18, 19, 20, 26, 28, 34) OR number > 41 ORDER BY 1, 2;
SELECT num_left('SELECT k, avg(v) AS a FROM num_@ GROUP BY k ORDER BY a DESC LIMIT 3');
SELECT k, avg(v) AS a, sum(v) / count(v) AS b FROM num_d GROUP BY k ORDER BY a DESC LIMIT 3;
SELECT k, avg(v) AS a, sum(v) / count(v) AS b FROM num_h GROUP BY k ORDER BY a DESC LIMIT 3;
SELECT array_agg(left(v::text, 30)) = (SELECT array_agg(left(v::text, 30)) FROM (SELECT v FROM odd_h WHERE u = 3 AND v NOT IN (0, 1) ORDER BY v) h) AS sorted
  FROM (SELECT v FROM odd_d WHERE u = 3 AND v NOT IN (0, 1) ORDER BY v) d;
SELECT left(v::text, 30) FROM odd_d WHERE u = 3 AND v <> 1 ORDER BY v DESC NULLS LAST LIMIT 5;
-- Of equal values that show different scales PostgreSQL keeps one; it is asked which.
SELECT num_differ('SELECT v, count(*) FROM num_@ GROUP BY v'), num_differ('SELECT max(v), min(v) FROM num_@ WHERE v < 400'),
  num_differ('SELECT v, count(*) FROM odd_@ GROUP BY v'), num_differ('SELECT count(*) FROM (SELECT DISTINCT v FROM odd_@) x');
-- A cast shows its scale, a constant keeps its own beside values of several, and lists are of values whatever their scale.
SELECT num_differ('SELECT coalesce(n, 0)::numeric(12,2), (CASE WHEN k = 1 THEN 1.5 ELSE 2.25 END)::numeric(3,2) FROM num_@'),
  num_differ('SELECT coalesce(n, 0) + 1, coalesce(n, 0) - 1, 1 + CASE WHEN k = 1 THEN 1.5 ELSE 2.25 END FROM num_@'),
  num_differ('SELECT k, sum(coalesce(n, 0)::numeric(12,2)), sum(coalesce(n, 0) + 1) FROM num_@ WHERE n IS NULL GROUP BY k'),
  num_differ('SELECT id FROM num_@ WHERE (n * 1e20)::numeric(38,0) IN (1000000000000000000000.0, 5000000000000000000000.00, 7.5)'),
  num_differ('SELECT sum(id) IN (12502500.0, 7.25), sum(id) NOT IN (12502500.0, 7.25) FROM num_@'),
  num_differ('SELECT mod((n * 1e28)::numeric(38,0), w), sum((n * 1e28)::numeric(38,0) + w) OVER (PARTITION BY id) FROM num_@'),
  num_differ('SELECT k, sum((n * 1e26)::numeric(38,0) + w), sum((n * 1e26)::numeric(38,0) % w) FROM num_@ WHERE w <> 0 GROUP BY k');
-- Parameters that change what the engine can compute.
SET plan_cache_mode = force_generic_plan;
PREPARE num_times(numeric) AS SELECT sum(x) FROM (SELECT n * $1 AS x FROM num_d WHERE id::text ~ '^[1-9]' OFFSET 0) q;
PREPARE num_times_heap(numeric) AS SELECT sum(x) FROM (SELECT n * $1 AS x FROM num_h WHERE id::text ~ '^[1-9]' OFFSET 0) q;
EXECUTE num_times(1.23456789012345678901234567890);
EXECUTE num_times_heap(1.23456789012345678901234567890);
PREPARE num_rows(numeric) AS SELECT n * $1 FROM num_d WHERE id::text ~ '^12?$';
EXECUTE num_rows(1.23456789012345678901234567890);
PREPARE num_replaced(text, text) AS SELECT regexp_replace(k::text, $1, $2) FROM num_d WHERE id < 3;
EXECUTE num_replaced('^(.*)$', '<\1>');
RESET plan_cache_mode;
-- Parameters.
PREPARE num_above(numeric) AS SELECT count(*), sum(v) FROM num_d WHERE v > $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE num_above(100.5);
EXECUTE num_above('NaN');
EXECUTE num_above(NULL);
EXECUTE num_above('-Infinity');
RESET plan_cache_mode;
DROP TABLE num_h, num_d, odd_h, odd_d, queries;
