-- What PostgreSQL reads feeds the engine: heap tables, functions, CTEs and joins that the engine does not do.
CREATE TABLE feed_heap (id int, k int, n numeric(10,2), m numeric, d date, iv interval, s text, j jsonb, ar int[]);
INSERT INTO feed_heap SELECT g, nullif(g % 7, 3), CASE WHEN g % 11 = 0 THEN NULL ELSE (g % 100) / 3.0 END, g % 9 * 1.50,
  CASE WHEN g % 50 = 0 THEN 'infinity' ELSE '2024-02-28'::date + g % 30 END,
  (ARRAY['1 mon', '30 days', '720 hours', '1 day'])[1 + g % 4]::interval, nullif('s' || g % 4, 's2'),
  jsonb_build_object('a', g % 5), ARRAY[g % 3, NULL]
  FROM generate_series(1, 6000) g;
CREATE TABLE feed_doris (LIKE feed_heap) USING doris;
INSERT INTO feed_doris SELECT * FROM feed_heap;
CREATE TABLE feed_names (k int, name text);
INSERT INTO feed_names SELECT g, 'name ' || g FROM generate_series(0, 5) g;
CREATE INDEX ON feed_names (k);
ANALYZE feed_heap;
ANALYZE feed_doris;
ANALYZE feed_names;

-- The number of rows in which the answers over the two tables differ.
CREATE FUNCTION feed_differ(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT r FROM (%1$s) r FULL JOIN (%2$s) h ON r::text = h::text '
                 'WHERE r IS NULL AND h IS NOT NULL OR h IS NULL AND r IS NOT NULL) x',
                 format(query, 'feed_doris'), format(query, 'feed_heap')) INTO differing;
  RETURN differing;
END $$;

EXPLAIN (COSTS OFF) SELECT name, count(*), sum(n) FROM feed_doris JOIN feed_names USING (k) GROUP BY name;
EXPLAIN (COSTS OFF) SELECT f, count(*) FROM feed_doris JOIN generate_series(1, 3) f ON k = f GROUP BY f;
EXPLAIN (COSTS OFF) WITH c AS MATERIALIZED (SELECT k, sum(n) AS total FROM feed_doris GROUP BY k)
  SELECT count(*), sum(a.k) FROM c a JOIN c b ON a.k = b.k JOIN feed_doris f ON f.k = b.k;
SELECT name, count(*), sum(n) FROM feed_doris JOIN feed_names USING (k) GROUP BY name ORDER BY name COLLATE "C";
SELECT feed_differ('SELECT f, count(*), sum(n) FROM %s JOIN generate_series(1, 3) f ON k = f GROUP BY f');
SELECT feed_differ('SELECT v.x, count(*) FROM %s LEFT JOIN (VALUES (1, ''a''), (2, ''b''), (NULL, ''c'')) v(k, x) USING (k) GROUP BY v.x');
SELECT feed_differ('WITH c AS MATERIALIZED (SELECT k, sum(n) AS total FROM %1$s GROUP BY k)
  SELECT a.k, b.total, count(*) FROM c a JOIN c b ON a.k = b.k JOIN %1$s f ON f.k = b.k GROUP BY a.k, b.total');
SELECT feed_differ('SELECT id, x.n FROM %s LEFT JOIN LATERAL (SELECT k, count(*) AS n FROM feed_names WHERE k <= 3 GROUP BY k) x USING (k) WHERE id < 50');
-- Rescans, with parameters that change and are NULL.
SELECT feed_differ('SELECT v.x, l.* FROM (VALUES (1), (NULL), (4), (1)) v(x),
  LATERAL (SELECT count(*), sum(f.n), min(t.name) FROM %s f JOIN feed_names t USING (k) WHERE t.k <= v.x) l');
-- A subplan that meets what its numeric column cannot hold.
UPDATE feed_names SET name = 'NaN' WHERE k = 5;
SELECT feed_differ('SELECT k, count(*) FROM %s JOIN (SELECT k, (CASE WHEN name = ''NaN'' THEN name ELSE ''1.5'' END)::numeric(4,2) AS v FROM feed_names) x
  USING (k) WHERE v > 0 GROUP BY k');
-- Nothing but what PostgreSQL reads: nothing to vectorise.
EXPLAIN (COSTS OFF) SELECT count(*) FROM feed_names JOIN generate_series(1, 3) f ON k = f;

-- Columns of other types are carried along.
EXPLAIN (COSTS OFF) SELECT a.j, a.ar, a.m, b.k FROM feed_doris a JOIN feed_doris b USING (id) WHERE b.k = 2;
SELECT feed_differ('SELECT a.j, a.ar, a.m, b.k FROM %1$s a JOIN %1$s b USING (id) WHERE b.k = 2');
SELECT feed_differ('SELECT count(j), count(m), count(*) FILTER (WHERE ar IS NULL) FROM %s');
SELECT feed_differ('SELECT id, j FROM %s ORDER BY n, id LIMIT 30');
SELECT feed_differ('SELECT m, count(*), sum(m), max(m) FROM %s GROUP BY m');

-- Equal intervals look different.
SELECT feed_differ('SELECT a.id, count(*) FROM %1$s a JOIN %1$s b ON a.iv = b.iv AND b.id < 9 WHERE a.id < 9 GROUP BY a.id');
-- Rows compared column by column.
EXPLAIN (COSTS OFF) SELECT id FROM feed_doris WHERE (k, id) < (2, 100);
SELECT feed_differ('SELECT id FROM %s WHERE (k, id) < (2, 100) OR (n, id) >= (30, 5)');
-- A constant below a LIMIT comes from the scan.
SELECT min('2020-06-01'::timestamp) FROM feed_doris;
SELECT x FROM (SELECT 'constant'::text AS x, k FROM feed_doris LIMIT 1) y;
-- What PostgreSQL checks, it checks first: dates that are infinite cannot be subtracted.
SELECT id, d - '2024-01-01'::date FROM feed_doris WHERE d < 'infinity' AND j @> '{"a": 3}' ORDER BY id LIMIT 2;
SELECT id, d - '2024-01-01'::date FROM feed_doris WHERE id < 60 AND j @> '{"a": 1}' AND d::text <> 'infinity' ORDER BY id LIMIT 2;
SELECT id, d - '2024-01-01'::date FROM feed_doris WHERE d::text = 'infinity' ORDER BY id LIMIT 1;
-- Where the engine cannot finish, PostgreSQL's plan runs: extract of an infinite date is infinite.
SELECT feed_differ('SELECT id, extract(year FROM d) FROM %s');

-- CTEs and products within correlated subqueries.
EXPLAIN (COSTS OFF) WITH c AS (SELECT k, id % 3 AS r, sum(n) AS total FROM feed_doris GROUP BY k, id % 3)
  SELECT k, r FROM c a WHERE total > 1.01 * (SELECT avg(total) FROM c b WHERE b.k = a.k);
SELECT feed_differ('WITH c AS (SELECT k, id %% 3 AS m, sum(n) AS total FROM %s GROUP BY k, id %% 3)
  SELECT k, m FROM c a WHERE total > 1.01 * (SELECT avg(total) FROM c b WHERE b.k = a.k)');

-- Ordered sets from the other end.
SELECT feed_differ('SELECT k, percentile_cont(0.3) WITHIN GROUP (ORDER BY id::float8 DESC), percentile_disc(0.7) WITHIN GROUP (ORDER BY n DESC),
  mode() WITHIN GROUP (ORDER BY id %% 4 DESC) FROM %s GROUP BY k');
-- Partitions chosen by parameters.
CREATE TABLE feed_parts (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE feed_parts_1 PARTITION OF feed_parts FOR VALUES FROM (0) TO (3000) USING doris;
CREATE TABLE feed_parts_2 PARTITION OF feed_parts FOR VALUES FROM (3000) TO (9000) USING doris;
INSERT INTO feed_parts SELECT id, k FROM feed_heap;
ANALYZE feed_parts;
SET plan_cache_mode = force_generic_plan;
PREPARE between_ids(int, int) AS SELECT count(*), sum(k) FROM feed_parts WHERE id BETWEEN $1 AND $2;
EXECUTE between_ids(10, 20);
EXECUTE between_ids(2990, 3010);
EXECUTE between_ids(NULL, 5);
EXECUTE between_ids(8000, 9000);
DEALLOCATE between_ids;
RESET plan_cache_mode;

DROP TABLE feed_parts;
DROP TABLE feed_heap, feed_doris, feed_names;
DROP FUNCTION feed_differ;
