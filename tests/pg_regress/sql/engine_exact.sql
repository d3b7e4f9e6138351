-- Queries whose answers once differed from a heap's, or might: what generated queries found, and its kin.
CREATE TABLE exact_heap (id int, k int, n numeric(10,2), m numeric, d date, iv interval, s text, j jsonb, ar int[]);
INSERT INTO exact_heap SELECT g, nullif(g % 7, 3), CASE WHEN g % 11 = 0 THEN NULL ELSE (g % 100) / 3.0 END, g % 9 * 1.50,
  CASE WHEN g % 50 = 0 THEN 'infinity' ELSE '2024-02-28'::date + g % 30 END,
  (ARRAY['1 mon', '30 days', '720 hours', '1 day'])[1 + g % 4]::interval, nullif('s' || g % 4, 's2'),
  jsonb_build_object('a', g % 5), ARRAY[g % 3, NULL]
  FROM generate_series(1, 6000) g;
CREATE TABLE exact_doris (LIKE exact_heap) USING doris;
INSERT INTO exact_doris SELECT * FROM exact_heap;
CREATE TABLE exact_names (k int, name text);
INSERT INTO exact_names SELECT g, 'name ' || g FROM generate_series(0, 5) g;
CREATE INDEX ON exact_names (k);
ANALYZE exact_heap;
ANALYZE exact_doris;
ANALYZE exact_names;

-- The number of rows in which the answers over the two tables differ.
CREATE FUNCTION exact_differ(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT r FROM (%1$s) r FULL JOIN (%2$s) h ON r::text = h::text '
                 'WHERE r IS NULL AND h IS NOT NULL OR h IS NULL AND r IS NOT NULL) x',
                 format(query, 'exact_doris'), format(query, 'exact_heap')) INTO differing;
  RETURN differing;
END $$;

SELECT name, count(*), sum(n) FROM exact_doris JOIN exact_names USING (k) GROUP BY name ORDER BY name COLLATE "C";
SELECT exact_differ('SELECT f, count(*), sum(n) FROM %s JOIN generate_series(1, 3) f ON k = f GROUP BY f');
SELECT exact_differ('SELECT v.x, count(*) FROM %s LEFT JOIN (VALUES (1, ''a''), (2, ''b''), (NULL, ''c'')) v(k, x) USING (k) GROUP BY v.x');
SELECT exact_differ('WITH c AS MATERIALIZED (SELECT k, sum(n) AS total FROM %1$s GROUP BY k)
  SELECT a.k, b.total, count(*) FROM c a JOIN c b ON a.k = b.k JOIN %1$s f ON f.k = b.k GROUP BY a.k, b.total');
SELECT exact_differ('SELECT id, x.n FROM %s LEFT JOIN LATERAL (SELECT k, count(*) AS n FROM exact_names WHERE k <= 3 GROUP BY k) x USING (k) WHERE id < 50');
-- Rescans, with parameters that change and are NULL.
SELECT exact_differ('SELECT v.x, l.* FROM (VALUES (1), (NULL), (4), (1)) v(x),
  LATERAL (SELECT count(*), sum(f.n), min(t.name) FROM %s f JOIN exact_names t USING (k) WHERE t.k <= v.x) l');
-- A subplan that meets what its numeric column cannot hold.
UPDATE exact_names SET name = 'NaN' WHERE k = 5;
SELECT exact_differ('SELECT k, count(*) FROM %s JOIN (SELECT k, (CASE WHEN name = ''NaN'' THEN name ELSE ''1.5'' END)::numeric(4,2) AS v FROM exact_names) x
  USING (k) WHERE v > 0 GROUP BY k');

SELECT exact_differ('SELECT a.j, a.ar, a.m, b.k FROM %1$s a JOIN %1$s b USING (id) WHERE b.k = 2');
SELECT exact_differ('SELECT count(j), count(m), count(*) FILTER (WHERE ar IS NULL) FROM %s');
SELECT exact_differ('SELECT id, j FROM %s ORDER BY n, id LIMIT 30');
SELECT exact_differ('SELECT m, count(*), sum(m), max(m) FROM %s GROUP BY m');

-- Equal intervals look different.
SELECT exact_differ('SELECT a.id, count(*) FROM %1$s a JOIN %1$s b ON a.iv = b.iv AND b.id < 9 WHERE a.id < 9 GROUP BY a.id');
-- Rows compared column by column.
SELECT exact_differ('SELECT id FROM %s WHERE (k, id) < (2, 100) OR (n, id) >= (30, 5)');
-- A constant below a LIMIT comes from the scan.
SELECT min('2020-06-01'::timestamp) FROM exact_doris;
SELECT x FROM (SELECT 'constant'::text AS x, k FROM exact_doris LIMIT 1) y;
-- What PostgreSQL checks, it checks first: dates that are infinite cannot be subtracted.
SELECT id, d - '2024-01-01'::date FROM exact_doris WHERE d < 'infinity' AND j @> '{"a": 3}' ORDER BY id LIMIT 2;
SELECT id, d - '2024-01-01'::date FROM exact_doris WHERE id < 60 AND j @> '{"a": 1}' AND d::text <> 'infinity' ORDER BY id LIMIT 2;
SELECT id, d - '2024-01-01'::date FROM exact_doris WHERE d::text = 'infinity' ORDER BY id LIMIT 1;
-- Where the engine cannot finish, PostgreSQL's plan runs: extract of an infinite date is infinite.
SELECT exact_differ('SELECT id, extract(year FROM d) FROM %s');

-- CTEs and products within correlated subqueries.
SELECT exact_differ('WITH c AS (SELECT k, id %% 3 AS m, sum(n) AS total FROM %s GROUP BY k, id %% 3)
  SELECT k, m FROM c a WHERE total > 1.01 * (SELECT avg(total) FROM c b WHERE b.k = a.k)');

-- Ordered sets from the other end.
SELECT exact_differ('SELECT k, percentile_cont(0.3) WITHIN GROUP (ORDER BY id::float8 DESC), percentile_disc(0.7) WITHIN GROUP (ORDER BY n DESC),
  mode() WITHIN GROUP (ORDER BY id %% 4 DESC) FROM %s GROUP BY k');
-- Partitions chosen by parameters.
CREATE TABLE exact_parts (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE exact_parts_1 PARTITION OF exact_parts FOR VALUES FROM (0) TO (3000) USING doris;
CREATE TABLE exact_parts_2 PARTITION OF exact_parts FOR VALUES FROM (3000) TO (9000) USING doris;
INSERT INTO exact_parts SELECT id, k FROM exact_heap;
ANALYZE exact_parts;
SET plan_cache_mode = force_generic_plan;
PREPARE between_ids(int, int) AS SELECT count(*), sum(k) FROM exact_parts WHERE id BETWEEN $1 AND $2;
EXECUTE between_ids(10, 20);
EXECUTE between_ids(2990, 3010);
EXECUTE between_ids(NULL, 5);
EXECUTE between_ids(8000, 9000);
DEALLOCATE between_ids;
RESET plan_cache_mode;

DROP TABLE exact_parts;
DROP TABLE exact_heap, exact_doris, exact_names;
DROP FUNCTION exact_differ;

-- Filters on integers over rows of the row store, beside a segment: NULL and the ends of the ranges.
CREATE TABLE exact_bounds (pad text, a smallint, b int, c bigint, n numeric(10,2)) USING doris;
INSERT INTO exact_bounds SELECT 'x', g % 100, g, g, g / 4.0 FROM generate_series(1, 5000) g;
INSERT INTO exact_bounds VALUES ('low', -32768, -2147483648, -9223372036854775808, 1), ('high', 32767, 2147483647, 9223372036854775807, 'NaN'), (NULL, NULL, NULL, NULL, NULL);
CREATE TABLE exact_bounds_heap USING heap AS TABLE exact_bounds;
CREATE FUNCTION exact_bound(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE here text; there text; query text := 'SELECT count(*) || '' '' || coalesce(min(pad) || sum(b) || max(c), ''none'') FROM %s WHERE ' || condition;
BEGIN
  EXECUTE format(query, 'exact_bounds') INTO here;
  EXECUTE format(query, 'exact_bounds_heap') INTO there;
  RETURN CASE WHEN here = there THEN here ELSE concat(here, ' and not ', there) END;
END $$;
SELECT condition, exact_bound(condition) FROM unnest(ARRAY['a = -32768', 'a >= 32767', 'a = 7', 'a = 100000', 'a < -32768', 'b = -2147483648', 'b = 2147483647',
  'b > 2147483646', 'b = 7::bigint', 'b IN (7, 4999, 2147483647)', 'c = -9223372036854775808', 'c <= -9223372036854775808', 'c > 9223372036854775806', 'c BETWEEN 3 AND 2',
  'c BETWEEN 10 AND 20 AND a <> 15', 'b <> 5', 'b IS NULL', 'b IS NOT DISTINCT FROM 7', 'b IS DISTINCT FROM 7', 'NOT b < 4990', 'b = 3 OR a IS NULL', 'c BETWEEN 0 AND 2010 AND a + b > 2000', 'b = 4.0', 'b < 4.5']) condition;
-- A NaN is met where the filter lets its row through, and not otherwise.
SELECT b, n FROM exact_bounds WHERE b = 2147483647;
SELECT b, n FROM exact_bounds WHERE b = 7;
DROP TABLE exact_bounds, exact_bounds_heap;
DROP FUNCTION exact_bound;

-- Blank-padded text of any width, or of two: blanks at the end are no part of the value.
CREATE TABLE exact_blanks (id int, k int, bp bpchar, c3 char(3), c5 char(5), g int, m int, area box, n numeric(6,2)) USING doris;
INSERT INTO exact_blanks SELECT i, NULL, (ARRAY['a', 'a ', 'b', '', ' '])[1 + i % 5], (ARRAY['a', 'b', 'c'])[1 + i % 3], (ARRAY['a', 'd'])[1 + i % 2],
  i % 10, i % 10, box(point(0, 0), point(1 + i % 2, 2 - i % 2)), i % 100 FROM generate_series(1, 6000) i;
SELECT count(*) FROM exact_blanks GROUP BY bp ORDER BY 1;
SELECT count(DISTINCT bp), count(DISTINCT c3), count(DISTINCT CASE WHEN id % 2 = 0 THEN c3 ELSE c5 END) FROM exact_blanks;
SELECT count(*) FROM (SELECT DISTINCT bp FROM exact_blanks) x;
SELECT count(*) FROM (SELECT c3 FROM exact_blanks UNION SELECT c5 FROM exact_blanks) x;
SELECT count(*) FROM (SELECT c3 FROM exact_blanks INTERSECT SELECT c5 FROM exact_blanks) x;
SELECT count(*) FROM (SELECT x FROM (SELECT c3 AS x FROM exact_blanks UNION ALL SELECT c5 FROM exact_blanks) y GROUP BY x) z;
SELECT count(*) FROM exact_blanks GROUP BY coalesce(nullif(c3, 'b'), c5) ORDER BY 1;
SELECT max(place) FROM (SELECT dense_rank() OVER (ORDER BY bp) AS place FROM exact_blanks) x;
SELECT '|' || c3 || '|', count(*) FROM exact_blanks WHERE bp = 'a' GROUP BY c3 ORDER BY 1;
-- Groups by constants alone: there is one if there are rows.
SELECT g, count(*), sum(n), avg(m) FROM exact_blanks WHERE g = 77 GROUP BY g;
SELECT g, count(*), sum(n), avg(m) FROM exact_blanks WHERE g = 7 GROUP BY g;
SELECT g, max(id) FROM exact_blanks WHERE g = 77 GROUP BY g HAVING count(*) >= 0;
SELECT g FROM exact_blanks WHERE g = 77 GROUP BY g;
SELECT g FROM exact_blanks WHERE g = 7 GROUP BY g;
SELECT 'one' AS one, count(*) FROM exact_blanks WHERE g = 77 GROUP BY one;
SELECT g, count(*) FROM exact_blanks WHERE g = 77 GROUP BY GROUPING SETS ((g));
SELECT g, count(*) FROM exact_blanks WHERE g = 77 GROUP BY ROLLUP (g);
-- Nothing is in an empty list, NULL neither; nor is that unknown.
SELECT count(*) FILTER (WHERE k = ANY ('{}')), count(*) FILTER (WHERE k <> ALL ('{}')), count(*) FILTER (WHERE (k = ANY ('{NULL}')) IS NULL) FROM exact_blanks;
SELECT count(*) FROM exact_blanks WHERE k <> ALL ('{}');
SELECT count(*) FROM exact_blanks WHERE NOT (k = ANY ('{}'));
SELECT count(*) FROM exact_blanks WHERE k = ANY ('{}') OR (k = ANY ('{1,NULL}')) IS NOT NULL;
-- Subqueries that might be computed for all rows at once, were it not for an equality by which nothing can be grouped, and
-- for joins that fail where no row of the outer query asks.
SELECT count(*) FROM exact_blanks o WHERE o.id < 50 AND o.n < (SELECT max(i.n) FROM exact_blanks i WHERE i.area = o.area);
SELECT count(*) FROM exact_blanks o WHERE o.id < 50 AND o.g > 3 AND o.n <
  (SELECT max(i.n) FROM exact_blanks i JOIN exact_blanks j ON j.id = i.id AND 90 / i.m > 1 WHERE i.g = o.g);
-- Operands of IN that PostgreSQL evaluates, beside subqueries that have not run yet.
SELECT count(*) FROM exact_blanks WHERE md5(c3) NOT IN (SELECT c5::text FROM exact_blanks WHERE id < 100);
SELECT count(*) FROM exact_blanks WHERE bp NOT IN (SELECT bp FROM exact_blanks WHERE k IS NOT NULL);
SELECT count(*) FROM exact_blanks WHERE id::text::numeric NOT IN (SELECT n FROM exact_blanks WHERE id < 5);
