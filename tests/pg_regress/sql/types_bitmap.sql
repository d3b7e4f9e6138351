-- Type bitmap: text, casts, functions with their NULL rules, aggregates.
SET client_min_messages = warning;
SET search_path = doris, public;

-- Text form: blanks are allowed, anything else is not.
SELECT '3,1,2'::bitmap, ' 7 , 5 '::bitmap, ''::bitmap AS empty, '18446744073709551615'::bitmap;
SELECT '-1'::bitmap;
SELECT '1,a'::bitmap;
SELECT '18446744073709551616'::bitmap;

-- Casts, and what they refuse.
SELECT ARRAY[3,1,3]::bigint[]::bitmap, '1,2'::text::bitmap, '1,2'::bitmap::bigint[], '5,4'::bitmap::text;
SELECT ARRAY[1,-1]::bigint[]::bitmap;
SELECT '9223372036854775808'::bitmap::bigint[];

-- Binary form goes through COPY and refuses damage.
CREATE TEMP TABLE bitmaps (id int, b bitmap);
INSERT INTO bitmaps VALUES (1, '1,2,3'), (2, NULL), (3, '4294967296,18446744073709551615'), (4, '');
INSERT INTO bitmaps SELECT 5, bitmap_agg(i * 3) FROM generate_series(1, 100000) i;
INSERT INTO bitmaps SELECT 6, bitmap_agg(i) FROM generate_series(1, 100000) i;
SELECT encode(bitmap_send('5'), 'hex') AS one, encode(bitmap_send(''), 'hex') AS none;
SELECT id, bitmap_count(b), length(bitmap_send(b)) FROM bitmaps ORDER BY id;

-- 1 to_bitmap
SELECT bitmap_count(to_bitmap(-1)), bitmap_count(to_bitmap(NULL::bigint)), bitmap_count(to_bitmap('abc')),
  bitmap_count(to_bitmap('-1')), bitmap_count(to_bitmap(NULL)), to_bitmap(5), to_bitmap('18446744073709551615');
-- 2 bitmap_from_string
SELECT bitmap_from_string('a') IS NULL, bitmap_from_string('1,-1') IS NULL, bitmap_from_string('1,2'),
  bitmap_from_string(NULL) IS NULL;
-- 3 bitmap_from_array
SELECT bitmap_from_array('{3,1,3}'), bitmap_from_array('{1,-1}') IS NULL, bitmap_from_array('{1,NULL}'),
  bitmap_from_array('{}') = bitmap_empty() AS none;
-- 4 bitmap_to_string, bitmap_to_array
SELECT bitmap_to_string(bitmap_from_string('0, 1, 2')), bitmap_to_string(NULL) IS NULL, bitmap_to_array('3,1'),
  bitmap_to_array(NULL) IS NULL, bitmap_to_array('');
-- 5 bitmap_count
SELECT bitmap_count(NULL), bitmap_count(''), bitmap_count('7,8');
-- 6 bitmap_and
SELECT bitmap_and('1,2,3', '1,2', '1,2,3,4,5'), bitmap_and('1', NULL) IS NULL, bitmap_and('1', NULL, '1') IS NULL,
  bitmap_and(VARIADIC NULL) IS NULL;
-- 7 bitmap_or
SELECT bitmap_or('1', NULL), bitmap_or(NULL, '1', '2'), bitmap_or(NULL, NULL) IS NULL, bitmap_or(NULL, NULL, NULL) IS NULL;
-- 8 bitmap_xor
SELECT bitmap_xor('2,3', '1,2,3,4'), bitmap_xor('1', NULL) IS NULL, bitmap_xor('1,2', '2,3', '3,4');
-- 9 bitmap_not, bitmap_and_not
SELECT bitmap_not('1,2,3', '2'), bitmap_and_not('1,2,3', '2'), bitmap_and_not('1', NULL) IS NULL;
-- 10 counts are never NULL
SELECT bitmap_or_count('1,2,3', NULL), bitmap_and_count('1', NULL), bitmap_xor_count('1', NULL),
  bitmap_and_not_count('1', NULL), bitmap_and_count('1,2', '2,3'), bitmap_xor_count('1,2', '2,3'),
  bitmap_and_not_count('1,2', '2,3'), bitmap_or_count(NULL, NULL);
-- 11 membership
SELECT bitmap_contains('1,2', 2), bitmap_contains('1,2', 3), bitmap_contains('1', -1), bitmap_contains(NULL, 1) IS NULL,
  bitmap_has_any('1,2', '2,3'), bitmap_has_any('1', '2'), bitmap_has_all('', '1') AS all_of_empty,
  bitmap_has_all('1,2', '1'), bitmap_has_all('1', NULL) IS NULL;
-- 12 sub_bitmap
SELECT sub_bitmap('0,1,2,3,5', -3, 2), sub_bitmap('0,1,2,3,5', 3, 9), sub_bitmap('1', 5, 1) IS NULL,
  sub_bitmap('1', -2, 1) IS NULL, sub_bitmap('1', 0, 0) IS NULL, sub_bitmap(NULL, 0, 1) IS NULL;
-- 13 bitmap_subset_in_range, bitmap_subset_limit
SELECT bitmap_subset_in_range('1,2,3,4,5', 2, 4), bitmap_subset_in_range('1', 3, 2) IS NULL,
  bitmap_subset_in_range('1', -1, 2) IS NULL, bitmap_count(bitmap_subset_in_range('1', 5, 9)),
  bitmap_subset_limit('1,2,3,5', 2, 2);
-- 14 bitmap_hash, bitmap_hash64
SELECT bitmap_hash('hello'), bitmap_hash64('hello'), bitmap_count(bitmap_hash(NULL)), bitmap_count(bitmap_hash64(NULL)),
  bitmap_hash(5) = bitmap_hash('5') AS by_text;
-- minimum, maximum, removal
SELECT bitmap_min('7,3'), bitmap_max('7,3'), bitmap_min('') IS NULL, bitmap_remove('1,2', 2), bitmap_remove('1', -1);

-- Operators
SELECT '1,2'::bitmap & '2,3', '1,2'::bitmap | '2,3', '1,2'::bitmap # '2,3', '1,2'::bitmap - '2,3', '1'::bitmap | NULL;
SELECT '1,2'::bitmap = '2,1', '1'::bitmap <> '2', '1,2'::bitmap @> '1', '1,2'::bitmap @> 2, '1'::bitmap <@ '1,2',
  '1'::bitmap && '2';
SELECT b, count(*) FROM (VALUES ('1,2'::bitmap), ('2,1'), ('3')) v(b) GROUP BY b ORDER BY b::text;
SELECT count(*) FROM (SELECT b FROM bitmaps INTERSECT SELECT b FROM bitmaps) i;

-- 15 bitmap_union
SELECT bitmap_count(bitmap_union(to_bitmap(x))), bitmap_to_string(bitmap_union(to_bitmap(x)))
FROM (VALUES (1), (2), (1), (NULL)) v(x);
SELECT bitmap_to_string(bitmap_union(b)) = '' AS no_rows FROM bitmaps WHERE false;
SELECT bitmap_to_string(bitmap_union(b)) = '' AS only_null FROM bitmaps WHERE id = 2;
-- 16 bitmap_union_count
SELECT bitmap_union_count(to_bitmap(x)) FROM (VALUES (1), (2), (1)) v(x);
SELECT bitmap_union_count(b) AS no_rows FROM bitmaps WHERE false;
SELECT bitmap_union_count(b) FROM bitmaps;
-- 17 bitmap_intersect
SELECT bitmap_intersect(b) FROM (VALUES ('1,2'::bitmap), ('2,3'), (NULL)) v(b);
SELECT bitmap_count(bitmap_intersect(b)) AS no_rows FROM bitmaps WHERE false;
SELECT bitmap_count(bitmap_intersect(b)) FROM bitmaps WHERE id >= 5;
-- 18 intersect_count
CREATE TEMP TABLE visits (day int, users bitmap);
INSERT INTO visits VALUES (1, '1,2'), (2, '2'), (3, '2,3'), (NULL, '9'), (1, NULL);
SELECT intersect_count(users, day, 1, 2), intersect_count(users, day, 1), intersect_count(users, day, 4),
  intersect_count(users, day, 1, 2, 3) FROM visits;
SELECT intersect_count(users, day::text, '1', '2') FROM visits;
SELECT intersect_count(users, day, 1, 2) AS no_rows FROM visits WHERE false;
-- 19 group_bitmap_xor
SELECT group_bitmap_xor(b) FROM (VALUES ('1,2'::bitmap), ('2,3'), (NULL)) v(b);
SELECT bitmap_count(group_bitmap_xor(b)) AS no_rows FROM bitmaps WHERE false;
-- bitmap_agg
SELECT bitmap_agg(x) FROM (VALUES (1::bigint), (2), (NULL), (-1), (1)) v(x);

-- As a window function the state stays usable between results.
SELECT x, bitmap_union_count(to_bitmap(x)) OVER (ORDER BY x), bitmap_union(to_bitmap(x)) OVER (ORDER BY x)
FROM generate_series(1, 4) x;

