-- Distinct counts by bitmaps and sketches are native, and give what PostgreSQL's executor gives.
CREATE SCHEMA distinct_counts;
SET search_path = distinct_counts, doris, public;
SET default_table_access_method = doris;
CREATE TABLE visits (g int, u bigint, i int, s smallint, t text, v varchar(20), n numeric(10,2));
SET doris.rows_to_heap = 0;
INSERT INTO visits SELECT x % 7, CASE WHEN x % 11 > 0 THEN x * 7919 % 20011 - 100 END, x % 3001 - 5, x % 300, 'user ' || x % 4001,
  'v' || x % 77, x % 500 FROM generate_series(1, 40000) x;
INSERT INTO visits SELECT 8, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 10);
INSERT INTO visits SELECT 9, -1, -1, -1, '', '', 0 FROM generate_series(1, 10);
CREATE VIEW counts AS
  SELECT g, bitmap_union_count(to_bitmap(u)) AS bu, bitmap_union_count(to_bitmap(i)) FILTER (WHERE s < 100) AS bi,
         hll_union_agg(hll_hash(u)) AS hu, hll_union_agg(hll_hash(t)) AS ht, hll_union_agg(hll_hash(i)) AS hi, hll_union_agg(hll_hash(s)) AS hs,
         ndv(u) AS nu, ndv(i) AS ni, approx_count_distinct(t) AS nt, approx_count_distinct(v) AS nv, ndv(s) FILTER (WHERE u > 0) AS ns
  FROM visits GROUP BY g;
EXPLAIN (COSTS OFF) SELECT * FROM counts;
CREATE TABLE native USING heap AS SELECT * FROM counts;
CREATE TABLE native_all USING heap AS
  SELECT bitmap_union_count(to_bitmap(u)) AS a, bitmap_union_count(to_bitmap(i)) AS b, hll_union_agg(hll_hash(u)) AS c, hll_union_agg(hll_hash(v)) AS d,
    ndv(t) AS e, ndv(u) AS f FROM visits;
CREATE TABLE native_none USING heap AS
  SELECT bitmap_union_count(to_bitmap(u)) AS a, hll_union_agg(hll_hash(u)) AS b, ndv(t) AS c FROM visits WHERE g = 1000;
SET doris.enable_vectorization = off;
(TABLE native EXCEPT SELECT * FROM counts) UNION ALL (SELECT * FROM counts EXCEPT TABLE native);
TABLE native_all EXCEPT
  SELECT bitmap_union_count(to_bitmap(u)) AS a, bitmap_union_count(to_bitmap(i)) AS b, hll_union_agg(hll_hash(u)) AS c, hll_union_agg(hll_hash(v)) AS d,
    ndv(t) AS e, ndv(u) AS f FROM visits;
RESET doris.enable_vectorization;
TABLE native_none;
SELECT * FROM counts WHERE g > 7 ORDER BY g;
-- Exact where it must be.
SELECT g FROM counts JOIN (SELECT g, count(DISTINCT u) FILTER (WHERE u >= 0) AS exact FROM visits GROUP BY g) x USING (g) WHERE bu <> exact;
-- What is not native is PostgreSQL's.
SELECT ndv(n), bitmap_union_count(to_bitmap(u::text)), hll_union_agg(hll_hash(n)) FROM visits;
-- Unions of stored bitmaps and hll values are native, too: small and large ones, empty ones, NULLs.
CREATE TABLE stored (g int, part int, b bitmap, h hll) WITH (aggregate_key = 'g, part', bitmap_union = 'b', hll_union = 'h');
INSERT INTO stored SELECT g, s % 13, to_bitmap(u), hll_hash(u) FROM visits;
INSERT INTO stored VALUES (10, 1, bitmap_empty(), hll_empty()), (10, 2, NULL, NULL), (11, 1, NULL, NULL);
CALL doris.compact('stored');
CREATE VIEW unions AS
  SELECT g, bitmap_union_count(b) AS bc, bitmap_union_count(b) FILTER (WHERE part < 5) AS bf, hll_union_agg(h) AS hc,
         bitmap_union(b)::text AS bs, hll_union(h)::text AS hs, hll_raw_agg(h)::text AS hr, count(*) AS n
  FROM stored GROUP BY g;
EXPLAIN (COSTS OFF) SELECT g, bitmap_union_count(b), hll_union_agg(h), bitmap_union(b), hll_union(h) FROM stored GROUP BY g;
CREATE TABLE native_unions USING heap AS SELECT * FROM unions;
CREATE TABLE native_union USING heap AS SELECT bitmap_union_count(b) AS a, hll_union_agg(h) AS c, bitmap_union(b)::text AS s FROM stored;
CREATE TABLE no_union USING heap AS
  SELECT bitmap_union_count(b) AS a, hll_union_agg(h) AS c, bitmap_union(b)::text AS s, hll_union(h)::text AS t FROM stored WHERE g = 1000;
SET doris.enable_vectorization = off;
(TABLE native_unions EXCEPT SELECT * FROM unions) UNION ALL (SELECT * FROM unions EXCEPT TABLE native_unions);
TABLE native_union EXCEPT SELECT bitmap_union_count(b), hll_union_agg(h), bitmap_union(b)::text FROM stored;
TABLE no_union EXCEPT SELECT bitmap_union_count(b), hll_union_agg(h), bitmap_union(b)::text, hll_union(h)::text FROM stored WHERE g = 1000;
RESET doris.enable_vectorization;
SELECT count(*), sum(bc), sum(n) FROM native_unions;
SELECT g, bc, bf, hc, bs, n FROM native_unions WHERE g > 7 ORDER BY g;
TABLE no_union;
-- Within a memory that holds no group.
SET doris.work_mem = '64kB';
SET doris.threads = 2;
TABLE native_unions EXCEPT SELECT * FROM unions;
RESET doris.work_mem;
RESET doris.threads;
