-- Grouping sets, DISTINCT ON, set operations, merged inputs and ordered-set aggregates, against a heap.
-- A collation that is not byte order, where the server has one.
SELECT coalesce(min(collname) FILTER (WHERE collname = 'und-x-icu'), 'C') AS language FROM pg_collation \gset
CREATE TABLE cov_heap (id int, k int, o int, n numeric(10,2), f float8, s text COLLATE "C", l text COLLATE :"language", d date, t boolean);
INSERT INTO cov_heap SELECT g, nullif(g % 7, 3), nullif(g % 5, 4), CASE WHEN g % 11 = 0 THEN NULL ELSE (g % 100) / 3.0 END,
  CASE WHEN g % 13 = 0 THEN 'NaN' WHEN g % 17 = 0 THEN '-0' ELSE (g % 50) / 7.0 END,
  nullif('s' || g % 4, 's2'), (ARRAY['a', 'B', 'ä', NULL])[1 + g % 4], '2024-02-28'::date + g % 30, nullif(g % 3, 2) = 1
  FROM generate_series(1, 3000) g;
CREATE TABLE cov_doris (LIKE cov_heap) USING doris;
INSERT INTO cov_doris SELECT * FROM cov_heap;
CREATE TABLE cov_parts (LIKE cov_heap) PARTITION BY RANGE (id);
CREATE TABLE cov_parts_1 PARTITION OF cov_parts FOR VALUES FROM (0) TO (100) USING doris;
CREATE TABLE cov_parts_2 PARTITION OF cov_parts FOR VALUES FROM (100) TO (4000) USING doris;
INSERT INTO cov_parts SELECT * FROM cov_heap WHERE id < 100;
INSERT INTO cov_parts_2 SELECT * FROM cov_heap WHERE id >= 100;
ANALYZE cov_heap;
ANALYZE cov_doris;
ANALYZE cov_parts;

-- The number of rows in which the answers over two tables differ; rows that occur twice are told apart.
CREATE FUNCTION cov_differ(query text, other text DEFAULT 'cov_doris') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  one text := format('SELECT r::text, row_number() OVER (PARTITION BY r::text) AS i FROM (%s) r', format(query, other));
  two text := format('SELECT r::text, row_number() OVER (PARTITION BY r::text) AS i FROM (%s) r', format(query, 'cov_heap'));
  differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM ((%1$s EXCEPT %2$s) UNION ALL (%2$s EXCEPT %1$s)) x', one, two) INTO differing;
  RETURN differing;
END $$;

-- Grouping sets.
EXPLAIN (COSTS OFF) SELECT k, o, grouping(k, o), count(*) FROM cov_doris GROUP BY ROLLUP (k, o);
SELECT k, t, grouping(k), grouping(t, k), count(*), sum(n) FROM cov_doris WHERE k < 2 GROUP BY CUBE (k, t) ORDER BY 3, 4, 1, 2;
SELECT cov_differ('SELECT k, o, grouping(k, o), count(*), sum(n), avg(n), count(DISTINCT s) FROM %s GROUP BY ROLLUP (k, o)');
SELECT cov_differ('SELECT k, s, t, grouping(s, t), sum(n) FILTER (WHERE t), max(f) FROM %s GROUP BY CUBE (k, s), ROLLUP (t)');
SELECT cov_differ('SELECT k, o, count(*) FROM %s GROUP BY GROUPING SETS ((k, o), (k), (k), (), ()) HAVING count(*) > 100 OR grouping(k) = 1');
SELECT cov_differ('SELECT k + 1, d, sum(n) / count(*) FROM %s GROUP BY GROUPING SETS ((k + 1, d), (d))');
SELECT k, o, count(*) FROM cov_doris WHERE id < 0 GROUP BY GROUPING SETS ((k, o), (), ());
SELECT k, o, count(*) FROM cov_doris WHERE o < 2 AND k < 2 GROUP BY ROLLUP (k, o) ORDER BY k DESC, o;
SET enable_hashagg = off;
SELECT k, o, count(*) FROM cov_doris WHERE o < 2 AND k < 2 GROUP BY ROLLUP (k, o) ORDER BY k, o;
SELECT cov_differ('SELECT k, o, grouping(k, o), count(*), sum(n) FROM %s GROUP BY ROLLUP (k, o)');
RESET enable_hashagg;

-- DISTINCT ON.
EXPLAIN (COSTS OFF) SELECT DISTINCT ON (k) k, id, n FROM cov_doris ORDER BY k, n DESC NULLS LAST, id;
SELECT DISTINCT ON (k) k, id, n FROM cov_doris ORDER BY k, n DESC NULLS LAST, id;
SELECT cov_differ('SELECT DISTINCT ON (k, o) k, o, id, s FROM %s ORDER BY k, o DESC, id');

-- UNION, INTERSECT, EXCEPT, and partitions.
EXPLAIN (COSTS OFF) SELECT k FROM cov_doris WHERE o = 1 INTERSECT SELECT o FROM cov_doris;
SELECT cov_differ('SELECT k, t FROM %1$s UNION SELECT o, NULL FROM %1$s WHERE id < 100');
SELECT cov_differ('SELECT k, n FROM %1$s WHERE id < 2000 INTERSECT ALL SELECT o, n FROM %1$s');
SELECT cov_differ('SELECT f, s FROM %1$s WHERE id < 2000 EXCEPT ALL SELECT f, s FROM %1$s WHERE id > 2500');
SELECT cov_differ('SELECT k, s FROM %1$s EXCEPT SELECT o, s FROM %1$s WHERE id > 2500');
EXPLAIN (COSTS OFF) SELECT k, sum(n) FROM cov_parts WHERE id < 2000 GROUP BY k;
SELECT cov_differ('SELECT k, sum(n), count(*), min(d) FROM %s WHERE id < 2000 GROUP BY k', 'cov_parts');
SELECT cov_differ('SELECT id, rank() OVER (PARTITION BY k ORDER BY n, id) FROM %s', 'cov_parts');
SET enable_sort = off;
EXPLAIN (COSTS OFF) (SELECT id, n FROM cov_doris ORDER BY n, id) UNION ALL (SELECT id, n FROM cov_doris ORDER BY n, id) ORDER BY n, id LIMIT 3;
RESET enable_sort;
SELECT id, n FROM (SELECT id, n FROM cov_doris UNION ALL SELECT id, n FROM cov_doris WHERE id > 2990) x ORDER BY n, id LIMIT 3;
SELECT id, n FROM cov_parts ORDER BY n DESC NULLS LAST, id DESC LIMIT 3;

-- Ordered sets.
EXPLAIN (COSTS OFF) SELECT k, percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM cov_doris GROUP BY k;
SELECT cov_differ('SELECT k, percentile_cont(0.5) WITHIN GROUP (ORDER BY f), percentile_disc(0.9) WITHIN GROUP (ORDER BY n),
  percentile_cont(0.1) WITHIN GROUP (ORDER BY o) FILTER (WHERE t), percentile_disc(0) WITHIN GROUP (ORDER BY d) FROM %s GROUP BY k');
SELECT cov_differ('SELECT mode() WITHIN GROUP (ORDER BY n), mode() WITHIN GROUP (ORDER BY d), percentile_cont(1) WITHIN GROUP (ORDER BY id) FROM %s');
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f), mode() WITHIN GROUP (ORDER BY k) FROM cov_doris WHERE id < 0;
SELECT percentile_cont(1.5) WITHIN GROUP (ORDER BY f) FROM cov_doris;
SELECT cov_differ('SELECT k, percentile_disc(ARRAY[0.1, 0.5]) WITHIN GROUP (ORDER BY n), percentile_disc(0.5) WITHIN GROUP (ORDER BY s) FROM %s GROUP BY k');

-- Partitions of a window by text that sorts by a locale.
EXPLAIN (COSTS OFF) SELECT id, row_number() OVER (PARTITION BY l ORDER BY id) FROM cov_doris;
SELECT cov_differ('SELECT id, row_number() OVER (PARTITION BY l ORDER BY id), sum(n) OVER (PARTITION BY l, k ORDER BY id) FROM %s');
SELECT id, l, row_number() OVER (PARTITION BY l ORDER BY id) FROM cov_doris WHERE id < 7 ORDER BY id;

-- Outer and semi joins without an equality stay with PostgreSQL, which stops at the first partner.
EXPLAIN (COSTS OFF) SELECT count(*), count(b.id) FROM cov_doris a LEFT JOIN cov_doris b ON a.k > b.o + 3 AND b.id < 40 WHERE a.id < 300;
SELECT cov_differ('SELECT a.id, b.id, b.n FROM %1$s a LEFT JOIN %1$s b ON a.k > b.o + 3 AND b.id < 40 WHERE a.id < 300');
EXPLAIN (COSTS OFF) SELECT count(*) FROM cov_doris a WHERE EXISTS (SELECT FROM cov_doris b WHERE a.k > b.o + 3 AND b.id < 40);
SELECT cov_differ('SELECT a.id FROM %1$s a WHERE EXISTS (SELECT FROM %1$s b WHERE a.k > b.o + 3 AND b.id < 40)');
SELECT cov_differ('SELECT a.id FROM %1$s a WHERE NOT EXISTS (SELECT FROM %1$s b WHERE a.k > b.o + 3 AND b.id < 40)');
SELECT cov_differ('SELECT a.id FROM %1$s a WHERE a.id < 20 AND EXISTS (SELECT FROM %1$s b WHERE b.n > a.n + 20 OR b.d < a.d)');
SELECT cov_differ('SELECT a.id FROM %1$s a WHERE NOT EXISTS (SELECT FROM %1$s b WHERE a.k > b.o AND b.id < 0)');
SET doris.work_mem = '64kB';
SET doris.batch_rows = 7;
SELECT cov_differ('SELECT a.id, b.id, b.n FROM %1$s a LEFT JOIN %1$s b ON a.k > b.o + 3 AND b.id < 1000 AND b.s = $$s1$$ WHERE a.id < 300');
SELECT cov_differ('SELECT a.id FROM %1$s a WHERE NOT EXISTS (SELECT FROM %1$s b WHERE a.n > b.n + 32)');
RESET doris.work_mem;
RESET doris.batch_rows;

-- Joins by character(n): blanks at the end do not count, whatever the lengths.
SET doris.rows_to_heap = 0;
CREATE TABLE cov_short (id int, c char(3)) USING doris;
CREATE TABLE cov_long (id int, c char(9), v varchar(9)) USING doris;
INSERT INTO cov_short SELECT g, (ARRAY['a', 'b ', ' a', '', NULL, 'abc'])[1 + g % 6] FROM generate_series(1, 2000) g;
INSERT INTO cov_long SELECT g, (ARRAY['a  ', 'b', ' a', 'abcd', '  ', NULL, 'abc'])[g], (ARRAY['a', 'b ', ' a', 'abcd', '', NULL, 'abc'])[g] FROM generate_series(1, 7) g;
INSERT INTO cov_long SELECT g, 'z' || g, 'z' FROM generate_series(8, 2000) g;
RESET doris.rows_to_heap;
ANALYZE cov_short, cov_long;
EXPLAIN (COSTS OFF) SELECT l.id, count(*) FROM cov_short s JOIN cov_long l ON s.c = l.c GROUP BY l.id;
SELECT l.id, count(*) FROM cov_short s JOIN cov_long l ON s.c = l.c GROUP BY l.id ORDER BY 1;
SELECT l.id, count(*) FROM cov_short s JOIN cov_long l ON s.c = l.v GROUP BY l.id ORDER BY 1;
SELECT count(*), count(s.id) FROM cov_long l LEFT JOIN cov_short s ON s.c = l.c AND s.id < 7;
SELECT l.id FROM cov_long l WHERE l.c NOT IN (SELECT c FROM cov_short WHERE c IS NOT NULL) AND l.id < 10 ORDER BY 1;
SELECT count(*) FROM cov_long l FULL JOIN cov_short s ON s.c = l.c;
DROP TABLE cov_short, cov_long;

-- ANY and ALL of constants.
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM cov_doris WHERE k < ANY (ARRAY[3, 5, NULL]) AND s LIKE ANY (ARRAY['s1', '_3']) AND d <> ALL (ARRAY['2024-03-01', '2024-03-02']::date[]);
SELECT cov_differ('SELECT count(*), count(k < ANY (ARRAY[3, 5, NULL])), count(k > ALL (ARRAY[1, NULL])), count(n >= ALL (ARRAY[1.5, 2])), count(f = ALL (ARRAY[0, 0]::float8[])) FROM %s');
SELECT cov_differ('SELECT id FROM %s WHERE s LIKE ANY (ARRAY[$$s1$$, $$_3$$, NULL]) OR s NOT LIKE ALL (ARRAY[$$s%%$$, NULL])');
SELECT cov_differ('SELECT id, s <= ANY (ARRAY[$$s1$$, $$s0$$]), l > ALL (ARRAY[$$B$$, $$a$$]) FROM %s WHERE d < ANY (ARRAY[$$2024-03-01$$, $$infinity$$]::date[])');
SELECT cov_differ('SELECT count(*), count(k < ANY (ARRAY[]::int[])), count(k > ALL (ARRAY[]::int[])) FROM %s WHERE k <> ANY (ARRAY[]::int[]) IS NOT TRUE');

DROP TABLE cov_heap, cov_doris, cov_parts;
DROP FUNCTION cov_differ;
