-- Parallel plans give the answers of serial ones.
SET client_min_messages = warning;
SET search_path = doris, public;
CREATE TABLE types_parallel AS
  SELECT i, i % 7 AS g, to_bitmap(i % 5000) AS b, hll_hash(i % 5000) AS h, to_quantile_state(i % 5000) AS q,
    timestamp '2024-01-01' + i * interval '1 second' AS at
  FROM generate_series(1, 35000) i;
ANALYZE types_parallel;
CREATE VIEW types_parallel_answers AS
  SELECT g, bitmap_union_count(b) AS union_count, md5(bitmap_to_string(bitmap_union(b))) AS union_text,
    bitmap_count(bitmap_intersect(b | '1')) AS intersection, md5(bitmap_to_string(group_bitmap_xor(b))) AS difference,
    bitmap_count(bitmap_agg(i)) AS agg, intersect_count(b, g, 1, 2) AS intersect_count,
    hll_union_agg(h) AS hll, md5(hll_union(h)::text) AS hll_text, ndv(i % 300) AS ndv, ndv((i % 100)::text) AS ndv_text,
    abs(quantile_percent(quantile_union(q), 0.5) - 2500) < 20 AS quantile_close,
    abs(percentile_approx(i % 5000, 0.5) - 2500) < 20 AS approx_close, percentile(i % 5000, 0.25) AS percentile,
    topn(i % 7, 1) AS topn, length(group_concat(i::text)) AS concat, length(group_concat(i::text, '----')) AS concat_by,
    (SELECT sum(x) FROM unnest(collect_list(i)) x) AS list, (SELECT sum(x) FROM unnest(collect_set(i % 100)) x) AS set,
    cardinality(collect_list(i, 5)) AS list_5, cardinality(collect_set(i::text, 5)) AS set_5,
    map_agg(i % 3, g) AS map, max_by(i::text, i) AS max_by, min_by(i, (i::text || 'x') COLLATE "C") AS min_by,
    group_bit_xor(i) AS xor, sum0(i) AS sum0, sum0(i::numeric) AS sum0_numeric, any_value(g) AS any_value,
    retention(i % 7 = 1, i % 11 = 2, i < 0) AS retention,
    window_funnel(100, 'default', at, i % 7 = g, i % 11 = 2, i % 13 = 1) AS funnel,
    sequence_count('(?1)(?2)', at, i % 2 = 0, i % 2 = 1) AS sequences
  FROM types_parallel GROUP BY g;
SET max_parallel_workers_per_gather = 0;
CREATE TEMP TABLE serial_answers AS SELECT * FROM types_parallel_answers;
SET max_parallel_workers_per_gather = 2;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
EXPLAIN (COSTS OFF) SELECT bitmap_union_count(b), hll_union_agg(h), max_by(i, at), collect_set(i), map_agg(i, g),
  window_funnel(1, 'default', at, true) FROM types_parallel;
CREATE TEMP TABLE parallel_answers AS SELECT * FROM types_parallel_answers;
SELECT count(*) AS groups, count(*) FILTER (WHERE s::text = p::text) AS same FROM serial_answers s JOIN parallel_answers p USING (g);
SELECT union_count, intersection, agg, intersect_count, hll, ndv, ndv_text, quantile_close, approx_close, percentile, topn,
  list, set, list_5, set_5, map, max_by, min_by, xor, sum0, any_value, retention, funnel, sequences
FROM parallel_answers WHERE g = 1;
DROP VIEW types_parallel_answers;
DROP TABLE types_parallel;
