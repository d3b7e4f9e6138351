-- Doris's functions on arrays, maps, JSON, dates, addresses and vectors.
SET client_min_messages = warning;
SET search_path = doris, public;
SET datestyle = iso;
\set SHOW_CONTEXT never
SET timezone = 'UTC';

-- 38 array_contains
SELECT array_contains(ARRAY[1, NULL], NULL), array_contains(ARRAY[1], 2), array_contains(NULL::int[], 1) IS NULL,
  array_contains('[0:1]={5,6}'::int[], 6);
-- 39 array_position: PostgreSQL's own has the name, so the schema is named
SELECT doris.array_position(ARRAY[5, 6], 6), doris.array_position(ARRAY[5], 7), doris.array_position('[0:1]={5,6}'::int[], 6),
  doris.array_position(NULL::int[], 1) IS NULL, doris.array_position(ARRAY[1, NULL], NULL);
-- 40 element_at
SELECT element_at(ARRAY[7, 8], 3) IS NULL, element_at(ARRAY[7, 8], 1), element_at(ARRAY[7, 8], -1), element_at(ARRAY[7, 8], -3) IS NULL,
  element_at(ARRAY[7], 0) IS NULL, element_at('[0:1]={5,6}'::int[], 1), element_at('{"a": 1}'::jsonb, 'a');
-- 41 array_sort, array_reverse_sort
SELECT doris.array_sort(ARRAY[2, 1, NULL]), array_reverse_sort(ARRAY[2, 1, NULL]), doris.array_sort('{}'::int[]),
  doris.array_sort(NULL::int[]) IS NULL;
-- 42 array_distinct, array_union, array_intersect, array_except
SELECT array_distinct(ARRAY[1, 1, NULL, NULL]), array_distinct(ARRAY['b', 'a', 'b']), array_union(ARRAY[2, 1], ARRAY[1, NULL, 3]),
  array_intersect(ARRAY[3, NULL, 1], ARRAY[1, NULL]), array_except(ARRAY[1, 2, NULL, 2], ARRAY[1]),
  array_intersect(ARRAY[1], ARRAY[2]), array_union(ARRAY[1], NULL) IS NULL;
SELECT array_distinct(ARRAY['1,2', '2,1']::bitmap[]);
-- 43 arrays_overlap
SELECT arrays_overlap(ARRAY[NULL], ARRAY['1', NULL]), arrays_overlap(ARRAY[1], ARRAY[2]), arrays_overlap(ARRAY[1], NULL) IS NULL;
-- 44 array_filter, array_sum, array_avg
SELECT array_filter(ARRAY[1, 2, 3], ARRAY[true, false, true]), array_filter(ARRAY[1, 2, 3], ARRAY[true]),
  array_sum(ARRAY[1, NULL, 2]), array_avg(ARRAY[1, 2]), array_sum(ARRAY[1.5, 2]), array_sum('{}'::int[]) IS NULL,
  array_sum(NULL::int[]) IS NULL, ARRAY(SELECT x + 1 FROM unnest(ARRAY[1, 2]) x) AS as_array_map;
-- 45 array_join
SELECT array_join(ARRAY[1, NULL, 2], '-'), array_join(ARRAY[1, NULL, 2], '-', '0'), array_join(NULL::int[], '-') IS NULL;
-- 46 maps
SELECT (map('a', 1))['b'] IS NULL, (map('a', 1))['a'], map_keys(map('a', 1, 'b', 2)), map_values(map('a', 1)),
  map_contains_key(map('a', 1), 'a'), map_contains_value(map('a', 1), '1'), map_size(map('a', 1));
-- 47 explode
SELECT * FROM explode(ARRAY[1, 2], ARRAY['x']);
SELECT x, explode(a) FROM (VALUES (1, ARRAY[5, 6]), (2, NULL), (3, '{}')) v(x, a);
-- 48 explode_outer, posexplode, posexplode_outer
SELECT explode_outer(ARRAY[1, 2]);
SELECT explode_outer('{}'::int[]) IS NULL AS of_empty, explode_outer(NULL::int[]) IS NULL AS of_null;
SELECT * FROM posexplode(ARRAY['a', 'b']);
SELECT * FROM posexplode(NULL::text[]);
SELECT * FROM posexplode_outer(NULL::text[]);
-- 49 explode_split
SELECT explode_split('a,b', ',');
SELECT count(*), min(p) = '' AS empty FROM explode_split('', ',') p;
SELECT explode_split('abc', '');
SELECT count(*) FROM explode_split(NULL, ',');
-- 50 other explosions
SELECT * FROM explode_map('{"a": 1, "b": null}');
SELECT explode_bitmap('3,1');
SELECT explode_numbers(3);
SELECT explode_json_array_int('[1, "a", 2.7]'), explode_json_array_string('[1, "a", null]'), explode_json_array_double('[1.5, 2, 3]'),
  explode_json_array_json('[{"a": 1}, 2, null]');
SELECT count(*) FROM explode_json_array_int('{"a": 1}');
SELECT count(*) FROM explode_numbers(NULL);
-- 51 json_extract
SELECT json_extract('{"a":"x"}', '$.a'), json_extract('{"a":null}', '$.a'), json_extract('{"a":1}', '$.b') IS NULL AS missing,
  json_extract('{"a":1,"b":[2,3]}', '$.a', '$.b[1]', '$.c'), json_extract(NULL, '$.a') IS NULL;
-- 52 get_json_string, get_json_int, get_json_double
SELECT get_json_string('{"a":1}', '$.a'), get_json_string('{"a":"x"}', '$.a'), get_json_string('{"a":1}', '$.b') IS NULL,
  get_json_int('{"a":1}', '$.a'), get_json_double('{"a":1.5}', '$.a'), get_json_bigint('{"a":"x"}', '$.a') IS NULL;
-- 53 date_trunc
SELECT date_trunc(date '2024-03-20', 'week'), date_trunc('week', date '2024-03-20'), date_trunc(timestamp '2024-03-20 10:11:12.5', 'hour'),
  pg_typeof(date_trunc(date '2024-03-20', 'week')), date_trunc(NULL::date, 'week') IS NULL;
-- 54 arithmetic
SELECT months_add(date '2024-01-31', 1), months_sub(date '2024-03-31', 1), days_add(date '2024-02-28', 2), weeks_add(date '2024-01-01', 1),
  quarters_add(date '2024-11-30', 1), years_add(date '2024-02-29', 1), years_sub(timestamp '2024-02-29 01:00', 4),
  hours_add(timestamp '2024-01-01', 25), months_add(NULL::date, 1) IS NULL;
SELECT months_diff('2024-03-31', '2024-02-29'), days_diff('2024-01-02 00:00', '2024-01-01 01:00'), years_diff('2024-02-28', '2023-02-28'),
  weeks_diff('2024-01-15', '2024-01-01'), hours_diff('2024-01-02', '2024-01-01');
SELECT years_add(date '2024-01-01', 2000000000);
-- 55 date_floor, date_ceil
SELECT date_floor('2023-07-13', interval '5 years'), date_ceil('2023-07-13', interval '5 years'), date_ceil('2021-01-01', interval '5 years'),
  date_floor('2023-07-13 22:28:18', interval '5 minutes'), date_floor('2024-03-20', interval '1 week'), date_floor('2024-03-20', interval '3 months');
SELECT date_floor('2023-07-13', interval '0 days');
SELECT date_floor('2023-07-13', interval '-1 month');
-- 56 from_unixtime, unix_timestamp
SELECT from_unixtime(0), from_unixtime(1196440219, '%Y %D %M'), unix_timestamp('1970-01-01 00:00:01'), unix_timestamp('19700102', '%Y%m%d');
SELECT from_unixtime(-1);
SELECT from_unixtime(253402272000);
SET timezone = 'Asia/Shanghai';
SELECT from_unixtime(0), unix_timestamp(timestamp '1970-01-01 08:00:00');
SET timezone = 'UTC';
-- 57 datediff, timestampdiff
SELECT timestampdiff('DAY', '2024-01-01 23:59:50', '2024-01-02 00:00:05'), datediff('2024-01-02 00:00:05'::timestamp, '2024-01-01 23:59:50'),
  timestampdiff('month', '2023-01-31', '2023-02-28'), timestampdiff('month', '2023-02-28', '2023-01-31'),
  timestampdiff('year', '2020-02-29', '2021-02-28'), timestampdiff('second', '2024-01-01', '2024-01-01 00:01');
SELECT timestampdiff('fortnight', '2024-01-01', '2024-01-02');
-- 58 str_to_date, date_format
SELECT str_to_date('20240102', '%Y%m%d'), str_to_date('2024-1-2 3:4:5.67', '%Y-%m-%d %H:%i:%s.%f'), str_to_date('x', '%Y') IS NULL,
  str_to_date('2023-02-29', '%Y-%m-%d') IS NULL, str_to_date('Jan 5, 99 11 PM', '%b %d, %y %h %p'), str_to_date('2024-01-02 rest', '%Y-%m-%d') IS NULL;
SELECT date_format('2009-10-04 22:23:00', '%W %M %Y'), date_format('2009-10-04 02:03:04.5', '%a %b %e %y %j %H %k %I %l %i %S %f %p %T %r %%'),
  date_format('infinity', '%Y') IS NULL, date_format('0044-03-15 BC', '%d');
SELECT count(*) FILTER (WHERE str_to_date(date_format(d, '%Y-%m-%d %T'), '%Y-%m-%d %T') <> d) AS wrong
FROM generate_series(timestamp '1600-01-01', '2400-12-31', '1 day') d;
-- 59 addresses and numbers
SELECT inet_aton('192.168.0.1'), ipv4_string_to_num('192.168.0.1'), ipv4_num_to_string(3232235521), ipv4_string_to_num_or_null('x') IS NULL,
  ipv4_string_to_num_or_default('x'), ipv4_string_to_num_or_default(NULL), inet_aton('1.2.3') IS NULL, ipv4_num_to_string(-1) IS NULL;
SELECT ipv4_string_to_num('x');
-- 60 ipv4_cidr_to_range
SELECT * FROM ipv4_cidr_to_range('10.0.0.1', 16);
SELECT * FROM ipv4_cidr_to_range('10.0.0.1', 0);
SELECT ipv4_cidr_to_range('10.0.0.1', 33);
-- 61 is_ip_address_in_range
SELECT is_ip_address_in_range('127.0.0.1', '127.0.0.0/8'), is_ip_address_in_range('128.0.0.1', '127.0.0.0/8'),
  is_ip_address_in_range('127.0.0.1', 'nonsense'), is_ip_address_in_range('::ffff', '::/64'), is_ip_address_in_range('1.2.3.4', '0.0.0.0/0'),
  is_ip_address_in_range(NULL, '::/0') IS NULL;
-- 62 distances
SELECT l2_distance('{1,2}', '{2,3}'), l1_distance('{1,2}', '{2,3}'), inner_product('{1,2}', '{2,3}'), cosine_distance('{1,2}', '{2,3}');
SELECT l2_distance('{}', '{}'), cosine_distance('{}', '{}'), cosine_distance('{0}', '{1}') IS NULL, l1_distance(NULL, '{1}') IS NULL,
  l1_distance('{NULL,1}', '{2,1}'), l2_distance(ARRAY[1, 2]::real[], ARRAY[2, 3]::real[]);
SELECT l2_distance('{1}', '{1,2}');
