-- The aggregate model: rows of equal keys fold into one, whichever way they come.
CREATE SCHEMA aggregate_key;
SET search_path = aggregate_key, doris, public;
SET default_table_access_method = doris;

-- NULLs: sum, max and min ignore them, replace stores them, replace_if_not_null keeps the value before.
CREATE TABLE nulls (k int, s int, mx int, mn int, r int, n int)
  WITH (aggregate_key = 'k', sum = 's', max = 'mx', min = 'mn', replace = 'r', replace_if_not_null = 'n');
INSERT INTO nulls VALUES (0, 1, 1, 1, 1, 1);
INSERT INTO nulls VALUES (0, 2, 2, 2, 2, 2);
INSERT INTO nulls VALUES (0, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM nulls;
INSERT INTO nulls VALUES (1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO nulls VALUES (1, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM nulls ORDER BY k;
CREATE TABLE texts (k int, mx text, mn text, r text, n text)
  WITH (aggregate_key = 'k', max = 'mx', min = 'mn', replace = 'r', replace_if_not_null = 'n');
INSERT INTO texts VALUES (1, '1', '1', '1', '1'), (1, '2', '2', '2', '2'), (1, '', '', '', ''), (1, NULL, NULL, NULL, NULL);
SELECT k, mx, quote_nullable(mn) AS mn, quote_nullable(r) AS r, quote_nullable(n) AS n FROM texts;

-- Three loads; predicates apply to the folded row.
CREATE TABLE loads (k int, s int, r text, n text)
  WITH (aggregate_key = 'k', sum = 's', replace = 'r', replace_if_not_null = 'n');
INSERT INTO loads VALUES (7, 10, 'x', 'p');
INSERT INTO loads VALUES (7, NULL, NULL, NULL);
INSERT INTO loads VALUES (7, 5, 'y', NULL);
SELECT * FROM loads WHERE s > 12;
SELECT count(*) FROM loads;

-- What RETURNING gives is the stored row.
INSERT INTO loads VALUES (7, 1, 'z', 'q') RETURNING *;

-- The same through a bulk load: within the batch, against the heap, against segments.
CREATE TABLE ways (k int, at date, s bigint, d numeric(12,2), f float8, mx text, mn timestamp, r int, n int, u bitmap, h hll, q quantile_state)
  WITH (aggregate_key = 'k, at', sum = 's, d, f', max = 'mx', min = 'mn', replace = 'r', replace_if_not_null = 'n',
        bitmap_union = 'u', hll_union = 'h', quantile_union = 'q');
CREATE TABLE events (i int, k int, at date, s bigint, d numeric(12,2), f float8, mx text, mn timestamp, r int, n int, u int) USING heap;
INSERT INTO events SELECT g, g % 50, date '2024-01-01' + g % 3, g % 1000, (g % 777) / 4.0, g % 100,
  'v' || (g * 7919) % 10007, timestamp '2024-01-01' + (g * 104729 % 100000) * interval '1 s',
  CASE WHEN g % 11 > 0 THEN g END, CASE WHEN g % 3 = 0 THEN g END, g % 997 FROM generate_series(1, 20000) g;
CREATE VIEW expected AS
  SELECT k, at, sum(s) AS s, sum(d) AS d, sum(f) AS f, max(mx) AS mx, min(mn) AS mn,
         (array_agg(r ORDER BY i DESC))[1] AS r, (array_agg(n ORDER BY i DESC) FILTER (WHERE n IS NOT NULL))[1] AS n,
         count(DISTINCT u) AS u FROM events GROUP BY k, at;
CREATE VIEW found AS SELECT k, at, s, d, f, mx, mn, r, n, bitmap_count(u) AS u FROM ways;
CREATE FUNCTION load(first int, last int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO ways SELECT k, at, s, d, f, mx, mn, r, n, to_bitmap(u), hll_hash(u), to_quantile_state(f, 2048)
    FROM events WHERE i BETWEEN first AND last ORDER BY i $$;
SET doris.rows_to_heap = 0;
SELECT load(1, 8000);
SET doris.rows_to_heap = 100000;
SELECT load(8001, 8500);
SET doris.rows_to_heap = 0;
SELECT load(8501, 15000);
SELECT load(15001, 15001);
RESET doris.rows_to_heap;
SELECT load(15002, 20000);
SELECT count(*) FROM ways;
-- No query folds, as EXPLAIN says.
EXPLAIN (VERBOSE, COSTS OFF) SELECT k, sum(s) FROM ways WHERE at > '2024-01-01' GROUP BY k;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM ways;
(TABLE expected EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE expected);
SELECT abs(hll_cardinality(hll_union(h)) - 997) < 50 AS hll, quantile_percent(quantile_union(q), 0.5) BETWEEN 45 AND 55 AS q FROM ways;

-- COPY.
CREATE TABLE copied (k int, s bigint, mx text) WITH (aggregate_key = 'k', sum = 's', max = 'mx');
COPY copied FROM stdin;
1	10	a
2	20	b
1	5	c
\.
COPY copied (mx, k) FROM stdin;
d	2
d	3
\.
SELECT * FROM copied ORDER BY k;

-- Sums keep the type of their column, and PostgreSQL's errors; a failed statement changes nothing.
CREATE TABLE ranges (k int, i2 smallint, i4 int, i8 bigint, d numeric(5,2), f4 real, f8 float8, m money, v interval)
  WITH (aggregate_key = 'k', sum = 'i2, i4, i8, d, f4, f8, m, v');
INSERT INTO ranges VALUES (1, 32767, 2147483647, 9223372036854775807, 999.99, 1, 1, 1, '1 day');
INSERT INTO ranges (k, i2) VALUES (1, 1);
INSERT INTO ranges (k, i4) VALUES (1, 1);
INSERT INTO ranges (k, i8) VALUES (1, 1);
INSERT INTO ranges (k, d) VALUES (1, 0.01);
INSERT INTO ranges (k, f4) VALUES (2, 3e38), (2, 3e38);
INSERT INTO ranges (k, f8) VALUES (2, 1.5e308), (2, 1.5e308);
INSERT INTO ranges (k, i2, f4, f8, m, v) VALUES (1, -7, 0.5, 0.25, 2.5, '2 hours'), (1, 7, 1, 1, 1, '1 mon');
SELECT * FROM ranges;
SET doris.rows_to_heap = 0;
INSERT INTO ranges (k, i4) SELECT 1, 1 FROM generate_series(1, 5000);
INSERT INTO ranges (k, d) SELECT 3, 1 FROM generate_series(1, 5000);
INSERT INTO ranges (k, f8) SELECT 3, 1e308 FROM generate_series(1, 5000);
INSERT INTO ranges (k, i8) SELECT 3, 1 FROM generate_series(1, 5000);
RESET doris.rows_to_heap;
SELECT k, i8 FROM ranges ORDER BY k;

-- Unions with NULL.
CREATE TABLE unions (k int, u bitmap, h hll, q quantile_state) WITH (aggregate_key = 'k', bitmap_union = 'u', hll_union = 'h', quantile_union = 'q');
INSERT INTO unions VALUES (1, to_bitmap(1), hll_hash('a'), to_quantile_state(1, 2048));
INSERT INTO unions VALUES (1, NULL, NULL, NULL), (2, NULL, NULL, NULL);
INSERT INTO unions VALUES (1, bitmap_from_string('5,1'), hll_hash('b'), to_quantile_state(3, 2048)), (2, to_bitmap(9), hll_empty(), to_quantile_state(9, 2048));
SELECT k, bitmap_to_string(u), hll_cardinality(h), quantile_percent(q, 1) FROM unions ORDER BY k;

-- Transactions and savepoints.
BEGIN;
INSERT INTO loads VALUES (7, 100, 'a', NULL), (8, 1, 'b', NULL);
SAVEPOINT s;
INSERT INTO loads VALUES (7, 1000, 'c', NULL), (9, 1, 'd', NULL);
ROLLBACK TO s;
SELECT * FROM loads ORDER BY k;
ROLLBACK;
SELECT * FROM loads ORDER BY k;

-- Not allowed: UPDATE, ON CONFLICT, DELETE by value columns.
UPDATE loads SET s = 1;
UPDATE loads SET s = 1 WHERE k = 7;
INSERT INTO loads VALUES (7, 1, 'x', 'y') ON CONFLICT DO NOTHING;
INSERT INTO loads VALUES (7, 1, 'x', 'y') ON CONFLICT (k) DO UPDATE SET s = 1;
MERGE INTO loads USING (SELECT 7 AS k) o ON loads.k = o.k WHEN MATCHED THEN UPDATE SET s = 1;
MERGE INTO loads USING (SELECT 7 AS k) o ON loads.k = o.k WHEN MATCHED THEN DELETE;
DELETE FROM loads WHERE s > 1;
DELETE FROM loads WHERE k = 7 AND r = 'x';
DELETE FROM loads WHERE k IN (SELECT 1 WHERE loads.s > 1);
DELETE FROM loads l WHERE l IS NOT NULL;
DELETE FROM loads USING texts WHERE loads.k = texts.k;
WITH gone AS (DELETE FROM loads WHERE n = 'p' RETURNING *) SELECT * FROM gone;
EXPLAIN UPDATE loads SET s = 1;

-- Allowed: MERGE that inserts, DELETE by key columns.
MERGE INTO loads USING (SELECT 8 AS k) o ON loads.k = o.k WHEN NOT MATCHED THEN INSERT VALUES (7, 1, 'merged', NULL);
SELECT * FROM loads;
DELETE FROM loads WHERE k IN (SELECT k FROM nulls) OR k = 7 AND k IS NOT NULL;
SELECT count(*) FROM loads;
INSERT INTO loads VALUES (7, 1, 'new', NULL) RETURNING *;
DELETE FROM loads;

-- Partitions.
CREATE TABLE parted (day date, k int, s int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') WITH (aggregate_key = 'day, k', sum = 's');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') WITH (aggregate_key = 'day, k', sum = 's');
INSERT INTO parted VALUES ('2024-01-05', 1, 1), ('2024-02-05', 1, 1), ('2024-01-05', 1, 2), ('2024-02-05', 1, 3);
SELECT * FROM parted ORDER BY day;
UPDATE parted SET s = 1;
DELETE FROM parted WHERE s = 3;
DELETE FROM parted WHERE day = '2024-01-05';
SELECT * FROM parted;

-- Constraints hold for the folded row.
CREATE TABLE checked (k int, s int CHECK (s <= 10)) WITH (aggregate_key = 'k', sum = 's');
INSERT INTO checked VALUES (1, 10);
INSERT INTO checked VALUES (1, 1);
SET doris.rows_to_heap = 0;
INSERT INTO checked SELECT 2, 1 FROM generate_series(1, 11);
RESET doris.rows_to_heap;
TABLE checked;

-- Columns come and go; an aggregation stays.
ALTER TABLE nulls ADD COLUMN extra int;
ALTER TABLE nulls ADD COLUMN extra int, SET (sum = 's, extra');
ALTER TABLE nulls SET (max = 's, mx', sum = 'extra');
ALTER TABLE nulls RESET (min);
ALTER TABLE nulls SET (aggregate_key = 'k, s');
ALTER TABLE nulls DROP COLUMN k;
ALTER TABLE nulls DROP COLUMN mn;
ALTER TABLE nulls RENAME COLUMN s TO total;
INSERT INTO nulls VALUES (0, 4, 9, 9, 9, 1), (0, 5, 9, 9, 9, 1) RETURNING *;
SELECT reloptions FROM pg_class WHERE oid = 'nulls'::regclass;

-- VACUUM FULL and other rewrites keep the rows.
VACUUM FULL ways;
(TABLE expected EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE expected);
SELECT load(1, 0);
INSERT INTO ways (k, at, s) VALUES (0, '2024-01-01', 1000000);
SELECT w.s - e.s AS added FROM ways w JOIN expected e USING (k, at) WHERE w.s <> e.s;
SELECT count(*) FROM doris.verify('ways');

-- A sum that leaves its partition is an error, in every path.
CREATE TABLE by_sum (k int, v bigint) PARTITION BY RANGE (v);
CREATE TABLE by_sum_1 PARTITION OF by_sum FOR VALUES FROM (0) TO (100) WITH (aggregate_key = 'k', sum = 'v');
INSERT INTO by_sum VALUES (1, 60), (2, 10);
INSERT INTO by_sum VALUES (1, 30);
INSERT INTO by_sum VALUES (1, 60);
SET doris.rows_to_heap = 0;
INSERT INTO by_sum SELECT g, 50 FROM generate_series(2, 3000) g;
INSERT INTO by_sum SELECT g, 50 FROM generate_series(2, 3000) g;
INSERT INTO by_sum SELECT g / 2, 50 FROM generate_series(8000, 12000) g;
RESET doris.rows_to_heap;
SELECT count(*), sum(v), max(v) FROM by_sum;
SELECT count(*) FROM by_sum WHERE v >= 100;
