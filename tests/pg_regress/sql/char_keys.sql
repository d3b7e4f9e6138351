-- Keys of blank-padded text: blanks at the end do not count.
CREATE SCHEMA char_keys;
SET search_path = char_keys, doris, public;
SET default_table_access_method = doris;
CREATE DOMAIN code AS char(4);
CREATE TABLE c (k char(8), v int) WITH (unique_key = 'k');
CREATE TABLE d (k code, b bpchar, v int) WITH (aggregate_key = 'k, b', sum = 'v');
INSERT INTO c VALUES ('a', 1), ('a   ', 2), ('b', 3), ('', 4), (NULL, 5), (NULL, 6);
INSERT INTO c VALUES ('b    ', 7) RETURNING k, v;
INSERT INTO d VALUES ('a', 'x', 1), ('a  ', 'x    ', 2), ('a', '', 4), ('a', '   ', 8);
SELECT *, length(k) FROM c ORDER BY k;
SELECT k, b, v FROM d ORDER BY k, b;
-- Bulk loads, against the row store and segments.
SET doris.rows_to_heap = 0;
INSERT INTO c SELECT 'k' || g % 2000 || repeat(' ', g % 3), g FROM generate_series(1, 4000) g;
INSERT INTO d SELECT 'k' || g % 500, repeat(' ', g % 5), 1 FROM generate_series(1, 4000) g;
COPY c FROM stdin;
a       	10
b	11
k5  	12
\.
RESET doris.rows_to_heap;
INSERT INTO c VALUES ('k6 ', 13);
SELECT count(*), count(DISTINCT k), sum(v) FROM c;
SELECT count(*), count(DISTINCT (k, b)), sum(v) FROM d;
-- Look-ups.
SELECT k, v FROM c WHERE k IN ('a', 'b  ', 'k5', 'k6') ORDER BY k;
SELECT v FROM c WHERE k = 'k7'::bpchar;
UPDATE c SET v = 20 WHERE k = 'k5  ';
DELETE FROM c WHERE k = 'k6';
INSERT INTO c VALUES ('k5', 21) ON CONFLICT (k) DO UPDATE SET v = c.v + 1 RETURNING k, v;
SELECT k, v FROM c WHERE k IN ('k5', 'k6');
-- The key stays when the table is altered.
ALTER TABLE c ADD COLUMN w int;
ALTER TABLE c ALTER k TYPE char(9);
ALTER TABLE c ADD PRIMARY KEY (k);
DELETE FROM c WHERE k IS NULL;
ALTER TABLE c ADD PRIMARY KEY (k);
INSERT INTO c VALUES ('a', 30, 1);
SELECT * FROM c WHERE k = 'a';
VACUUM FULL c;
INSERT INTO c VALUES ('a ', 31, 1);
SELECT * FROM c WHERE k = 'a';
SELECT count(*) FROM verify('c');
-- The longest keys: with their blanks.
CREATE TABLE wide (k char(3000), v int) WITH (unique_key = 'k');
CREATE TABLE unbounded (k bpchar, v int) WITH (unique_key = 'k');
SET doris.rows_to_heap = 0;
INSERT INTO wide SELECT md5(g::text), g FROM generate_series(1, 2000) g;
INSERT INTO unbounded SELECT md5(g::text) || repeat(' ', 3000), g FROM generate_series(1, 2000) g;
INSERT INTO unbounded SELECT string_agg(md5(g || '.' || h), ''), 1 FROM generate_series(1, 2000) g, generate_series(1, 300) h GROUP BY g;
RESET doris.rows_to_heap;
SELECT count(*) FROM wide;
SELECT count(*) FROM unbounded;
