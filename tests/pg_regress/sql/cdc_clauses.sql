-- Clauses of what is followed, one by one.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc_clauses;
SET search_path = cdc_clauses, public;
-- A column of the target's own keeps its value when a row is updated, few rows or many, in a mirror that replaces rows by
-- key and in one that does not.
CREATE TABLE own_keyed (id int PRIMARY KEY, v int);
CREATE TABLE own_keyed_mirror (id int PRIMARY KEY, v int, mine text) USING doris WITH (unique_key = 'id');
CREATE TABLE own_plain (id int PRIMARY KEY, v int);
CREATE TABLE own_plain_mirror (id int PRIMARY KEY, v int, mine text) USING doris;
INSERT INTO own_keyed SELECT n, n FROM generate_series(1, 300) n;
INSERT INTO own_plain SELECT n, n FROM generate_series(1, 300) n;
SELECT doris.sync_table('own_keyed', options => '{"sync": "clauses"}');
SELECT doris.sync_table('own_plain', options => '{"sync": "clauses"}');
SELECT doris.wait_for_sync('clauses');
UPDATE own_keyed_mirror SET mine = 'kept';
UPDATE own_plain_mirror SET mine = 'kept';
UPDATE own_keyed SET v = -1 WHERE id = 1;
UPDATE own_plain SET v = -1 WHERE id = 1;
SELECT doris.wait_for_sync('clauses');
UPDATE own_keyed SET v = v + 1000 WHERE id > 1;
UPDATE own_plain SET v = v + 1000 WHERE id > 1;
SELECT doris.wait_for_sync('clauses');
SELECT mine, count(*), sum(v) FROM own_keyed_mirror GROUP BY mine;
SELECT mine, count(*), sum(v) FROM own_plain_mirror GROUP BY mine;
-- TRUNCATE ... CASCADE empties the mirrors of both tables.
CREATE TABLE cut (id int PRIMARY KEY);
CREATE TABLE cut_too (id int PRIMARY KEY, cut int REFERENCES cut);
INSERT INTO cut VALUES (1), (2);
INSERT INTO cut_too VALUES (1, 1), (2, 2);
SELECT doris.sync_table('cut', options => '{"sync": "clauses"}');
SELECT doris.sync_table('cut_too', options => '{"sync": "clauses"}');
SELECT doris.wait_for_sync('clauses');
BEGIN;
INSERT INTO cut VALUES (3);
TRUNCATE cut CASCADE;
INSERT INTO cut VALUES (4);
INSERT INTO cut_too VALUES (4, 4);
COMMIT;
SELECT doris.wait_for_sync('clauses');
SELECT * FROM cut_mirror;
SELECT * FROM cut_too_mirror;
-- REPLICA IDENTITY USING INDEX: the key of the mirror changes, and large values that an update leaves alone stay.
CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL, v int, large text);
ALTER TABLE by_index ALTER large SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX by_code ON by_index (code);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code;
INSERT INTO by_index SELECT n, 'c' || n, n, repeat(chr(96 + n), 10000) FROM generate_series(1, 5) n;
SELECT doris.sync_table('by_index', options => '{"sync": "clauses"}');
SELECT doris.wait_for_sync('clauses');
SELECT key_columns FROM doris.sync_tables WHERE source LIKE '%by_index%';
UPDATE by_index SET v = -v WHERE id = 1;
UPDATE by_index SET code = 'd2' WHERE id = 2;
UPDATE by_index SET id = 30, code = 'd3', v = 0 WHERE id = 3;
DELETE FROM by_index WHERE code = 'c4';
INSERT INTO by_index VALUES (4, 'c4', 44, repeat('z', 10000));
-- Two rows change places.
BEGIN;
UPDATE by_index SET code = 'x' WHERE id = 1;
UPDATE by_index SET code = 'c1' WHERE id = 5;
UPDATE by_index SET code = 'c5' WHERE id = 1;
COMMIT;
SELECT doris.wait_for_sync('clauses');
SELECT id, code, v, length(large), left(large, 1) FROM by_index_mirror ORDER BY id;
SELECT count(*) FROM (TABLE by_index EXCEPT ALL TABLE by_index_mirror) d;
SELECT doris.drop_sync('clauses');
DROP SCHEMA cdc_clauses CASCADE;
