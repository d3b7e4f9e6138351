-- Doris's aggregates on ordinary values.
SET client_min_messages = warning;
SET search_path = doris, public;
SET datestyle = iso;

-- 25 topn
SELECT topn(x, 1), topn(x, 2, 100), topn(x, 5) FROM (VALUES ('a'), ('a'), ('b'), (NULL)) v(x);
SELECT topn(x, 1) AS of_numbers FROM (VALUES (7), (7), (8)) v(x);
SELECT topn(x, 1) IS NULL AS no_rows FROM (VALUES ('a')) v(x) WHERE false;
SELECT topn('say "hi"', 1);
SELECT topn('a', 0);
-- 26 group_concat
SELECT group_concat(x ORDER BY x), group_concat(x, '-' ORDER BY x), group_concat(DISTINCT x, ',' ORDER BY x DESC),
  group_concat(x, NULL) IS NULL AS null_separator FROM (VALUES ('a'), ('b'), (NULL), ('a')) v(x);
SELECT group_concat(x) IS NULL AS no_rows FROM (VALUES ('a')) v(x) WHERE false;
SELECT group_concat(x) IS NULL AS only_null FROM (VALUES (NULL)) v(x);
SELECT group_concat(x, s ORDER BY x) AS separators_of_rows FROM (VALUES ('a', '1'), ('b', '2'), ('c', '3')) v(x, s);
-- 27 collect_list, group_array
SELECT collect_list(x), group_array(x), collect_list(x, 1) FROM (VALUES (1), (NULL), (1)) v(x);
SELECT collect_list(x), collect_list(x, 1) FROM (VALUES (1)) v(x) WHERE false;
SELECT collect_list(x) FROM (VALUES ('a'), ('b,c'), (repeat('x', 20))) v(x);
SELECT collect_list(x) FROM (VALUES (1.5), (2.25)) v(x);
SELECT collect_list(x::uuid) FROM (VALUES ('00000000-0000-0000-0000-000000000001')) v(x);
SELECT collect_list('a'), pg_typeof(collect_list('a'));
-- 28 collect_set
SELECT collect_set(x ORDER BY x), collect_set(x, 1) FROM (VALUES (1), (1), (2), (NULL)) v(x);
SELECT collect_set(x) AS by_value FROM (VALUES (1.0), (1.00), (2)) v(x);
SELECT collect_set(x) FROM (VALUES ('a'), ('b'), ('a')) v(x);
SELECT cardinality(collect_set(x % 1000)) FROM generate_series(1, 20000) x;
SELECT collect_set(x) FROM (VALUES (1)) v(x) WHERE false;
-- 29 array_agg is PostgreSQL's own
SELECT array_agg(x) FROM (VALUES (1), (NULL)) v(x);
-- 30 map_agg
SELECT map_agg(k, v) FROM (VALUES (1, 'a')) t(k, v);
SELECT map_agg(k, v ORDER BY v) AS first_of_key FROM (VALUES ('k', 1), ('k', 2), ('l', NULL), (NULL, 3)) t(k, v);
SELECT map_agg(k, v) FROM (VALUES (1, 'a')) t(k, v) WHERE false;
SELECT map_agg(k, v) FROM (VALUES ('q"\', '{"j": [1]}'::jsonb), ('d', '[]')) t(k, v);
SELECT map_agg(k, v) FROM (VALUES (date '2024-01-02', timestamp '2024-01-02 03:04:05')) t(k, v);
-- 31 max_by, min_by
SELECT max_by(x, y), min_by(x, y) FROM (VALUES ('p', 1), ('q', 2), ('r', NULL)) v(x, y);
SELECT max_by(x, y) IS NULL AS null_value, min_by(x, y) FROM (VALUES (1, 'a'), (NULL, 'b')) v(x, y);
SELECT max_by(x, y), min_by(x, y) FROM (VALUES (1, 2)) v(x, y) WHERE false;
SELECT max_by(x, y) AS first_of_equals FROM (VALUES (1, 5), (2, 5)) v(x, y);
SELECT max_by(x, y) FROM (VALUES (ARRAY[1, 2], 1.5), (ARRAY[3], 2.5)) v(x, y);
SELECT max_by(1, '{}'::json);
-- 32 any_value
SELECT any_value(x), doris.any_value(x) FROM (VALUES (NULL), (3)) v(x);
SELECT doris.any_value(x) IS NULL AS no_rows FROM (VALUES (3)) v(x) WHERE false;
-- 33 group_bit_and, group_bit_or, group_bit_xor
SELECT group_bit_xor(x), group_bit_and(x), group_bit_or(x) FROM (VALUES (3), (1), (2), (4), (NULL)) v(x);
SELECT group_bit_xor(x) IS NULL AS no_rows, group_bit_and(x) IS NULL AS no_rows FROM (VALUES (3)) v(x) WHERE false;
-- 34 sum0
SELECT sum0(x), sum0(x::bigint), sum0(x::numeric), sum0(x::float8), sum0(x::smallint) FROM (VALUES (1)) v(x) WHERE false;
SELECT sum0(x), sum0(x * 1.5), pg_typeof(sum0(x)) FROM (VALUES (1), (NULL), (2)) v(x);
SELECT sum0(x) FROM (VALUES (9223372036854775807), (1)) v(x);
-- 35 retention
CREATE TEMP TABLE logins (uid int, day date);
INSERT INTO logins VALUES (0, '2022-10-12'), (0, '2022-10-13'), (0, '2022-10-14'), (1, '2022-10-12'), (1, '2022-10-13'),
  (2, '2022-10-14'), (3, NULL);
SELECT uid, retention(day = '2022-10-12', day = '2022-10-13', day = '2022-10-14') FROM logins GROUP BY uid ORDER BY uid;
SELECT retention(true, NULL) IS NULL AS only_null;
SELECT retention(x) IS NULL AS no_rows FROM (VALUES (true)) v(x) WHERE false;
-- 36 window_funnel
CREATE TEMP TABLE events (uid int, event text, at timestamp);
INSERT INTO events VALUES (1, 'login', '2024-01-01 00:00:00'), (1, 'pay', '2024-01-01 00:10:00');
SELECT window_funnel(300, 'default', at, event = 'login', event = 'pay') AS too_late,
  window_funnel(600, 'default', at, event = 'login', event = 'pay') AS at_the_end,
  window_funnel(600, 'default', at::timestamptz, event = 'login', event = 'pay') AS with_zone FROM events;
CREATE TEMP VIEW chains AS
  SELECT chain, substr(chain, i, 1) AS e, timestamp '2024-01-01' + i * interval '1 second' AS at
  FROM (VALUES ('ABCBD'), ('ABDC'), ('AB~CD'), ('BCD')) v(chain), generate_series(1, length(chain)) i;
SELECT chain, window_funnel(100, 'default', at, e = 'A', e = 'B', e = 'C', e = 'D') AS "default",
  window_funnel(100, 'deduplication', at, e = 'A', e = 'B', e = 'C', e = 'D') AS deduplication,
  window_funnel(100, 'fixed', at, e = 'A', e = 'B', e = 'C', e = 'D') AS fixed,
  window_funnel(100, 'increase', date_trunc('minute', at), e = 'A', e = 'B', e = 'C', e = 'D') AS increase
FROM chains GROUP BY chain ORDER BY chain;
SELECT window_funnel(1, 'sideways', at, true) FROM events;
SELECT window_funnel(1, 'default', at, true) AS no_rows FROM events WHERE false;
-- 37 sequence_match, sequence_count
CREATE TEMP VIEW numbers AS
  SELECT n, timestamp '2024-01-01' + i * interval '1 second' AS at
  FROM unnest(ARRAY[1, 2, 1, 2, 3]) WITH ORDINALITY u(n, i);
SELECT sequence_count('(?1)(?2)', at, n = 1, n = 2) AS adjacent, sequence_count('(?1)(?2)', at, n = 1, n = 3) AS skipping,
  sequence_match('(?1)(?2)', at, n = 1, n = 2) AS found, sequence_match('(?2)(?1)(?1)', at, n = 1, n = 2) AS absent,
  sequence_match('(?1)(?t<=1)(?2)', at, n = 1, n = 3) AS in_time, sequence_match('(?1)(?t>=2)(?2)', at, n = 1, n = 3) AS late,
  sequence_count('(?1).*(?2)', at, n = 1, n = 3) AS any_between FROM numbers;
SELECT sequence_match('(?3)', at, n = 1, n = 2) FROM numbers;
SELECT sequence_match('x', at, n = 1) FROM numbers;
SELECT sequence_match('(?1)', at, n = 1), sequence_count('(?1)', at, n = 1) FROM numbers WHERE false;
