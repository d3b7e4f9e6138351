-- Types hll and quantile_state, approximate distinct counts and percentiles.
SET client_min_messages = warning;
SET search_path = doris, public;

-- 20 approx_count_distinct, ndv
SELECT approx_count_distinct(x), ndv(x) FROM (VALUES ('a'), ('a'), (NULL), ('b')) v(x);
SELECT approx_count_distinct(x), ndv(x) FROM (VALUES (1)) v(x) WHERE false;
SELECT ndv(x) AS numbers_by_value FROM (VALUES (1.0), (1.00), (2)) v(x);
SELECT ndv(x) AS floats FROM (VALUES ('0'::float8), ('-0'), ('NaN'), ('NaN')) v(x);
SELECT ndv(x::char(5)) AS padded FROM (VALUES ('a'), ('a  '), ('b')) v(x);
SELECT ndv(x::date), ndv(x::timestamptz), ndv(x::uuid::text) FROM (VALUES (NULL)) v(x);
SELECT ndv(ROW(x, 1)), ndv(ARRAY[x]) FROM generate_series(1, 3) x;
SELECT ndv('{}'::json);
SELECT abs(ndv(x) - 1000000) < 20000 AS within_two_percent FROM generate_series(1, 1000000) x;
SELECT abs(ndv(md5(x::text)) - 100000) < 2000 AS within_two_percent FROM generate_series(1, 100000) x;

-- 21 hll_hash, hll_union_agg, hll_cardinality
SELECT hll_union_agg(hll_hash(x)), hll_cardinality(hll_union(hll_hash(x))), hll_cardinality(hll_raw_agg(hll_hash(x)))
FROM (VALUES ('a'), ('b'), (NULL)) v(x);
SELECT hll_cardinality(hll_empty()), hll_cardinality(hll_hash(NULL)), hll_cardinality(NULL);
SELECT hll_union_agg(h), hll_cardinality(hll_union(h)) FROM (SELECT hll_empty() AS h) v WHERE false;
SELECT hll_hash(5)::text = hll_hash('5')::text AS by_text;
SELECT abs(hll_union_agg(hll_hash(x)) - 100000) < 2000 AS within_two_percent FROM generate_series(1, 100000) x;
-- Text and binary forms round-trip.
SELECT hll_empty(), hll_hash('hello'), hll_send(hll_hash('hello'));
SELECT n, hll_cardinality(h::text::hll) = hll_cardinality(h) AS same, length(hll_send(h))
FROM (SELECT n, hll_union(hll_hash(x)) AS h FROM (VALUES (100), (2000), (20000)) v(n), generate_series(1, n) x
      GROUP BY n) s ORDER BY n;
SELECT 'abc'::hll;
SELECT '\x0100ff'::hll;
SELECT '\x0500'::hll;

-- 22 percentile_approx
SELECT percentile_approx(x, 0.5) AS one FROM (VALUES (7)) v(x);
SELECT percentile_approx(x, 0.5), percentile_approx(x, 0.5, 2048), percentile_approx(x, 0.5, 5)
FROM (VALUES (1), (2), (NULL), (3)) v(x);
SELECT percentile_approx(x, 0.5) IS NULL AS no_rows FROM (VALUES (1)) v(x) WHERE false;
SELECT percentile_approx(x, 0.5) IS NULL AS only_null FROM (VALUES (NULL::float8)) v(x);
SELECT percentile_approx(x, 1.5) FROM (VALUES (1)) v(x);
SELECT abs(percentile_approx(x, 0.99, 2048) - 99000) < 100 AS close, abs(percentile_approx(x, 0.5) - 50000) < 100 AS close
FROM generate_series(1, 100000) x;
-- 23 percentile
SELECT percentile(x, 0.75), percentile(x, 0), percentile(x, 1) FROM (VALUES (1), (2), (3), (4), (NULL)) v(x);
SELECT percentile(x, 0.5) IS NULL AS no_rows FROM (VALUES (1)) v(x) WHERE false;
SELECT percentile(x, 0.9) = percentile_cont(0.9) WITHIN GROUP (ORDER BY x) AS as_percentile_cont
FROM generate_series(1, 1001) x;
SELECT percentile(x, 0.5), percentile(x, 1) FROM (VALUES ('NaN'::float8), ('-Infinity'), ('Infinity'), (1), (2)) v(x);
SELECT percentile(1, -0.1);
-- 24 to_quantile_state, quantile_union, quantile_percent
SELECT quantile_percent(quantile_union(to_quantile_state(x, 2048)), 0.5)
FROM (VALUES (20.1), (30.3), (40.2), (50.4), (NULL)) v(x);
SELECT quantile_percent(to_quantile_state(NULL), 0.5) IS NULL AS empty, quantile_percent(to_quantile_state(3), 0.5);
SELECT quantile_percent(quantile_union(q), 0.5) IS NULL AS no_rows FROM (SELECT to_quantile_state(1) q) v WHERE false;
SELECT quantile_percent(q::text::quantile_state, 0.5) = quantile_percent(q, 0.5) AS same,
  abs(quantile_percent(q, 0.9) - 90000) < 200 AS close
FROM (SELECT quantile_union(to_quantile_state(x)) q FROM generate_series(1, 100000) x) s;
SELECT '\x0109000800'::quantile_state;
SELECT 'x'::quantile_state;
