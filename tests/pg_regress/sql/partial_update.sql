-- Partial updates: an INSERT or COPY of some columns leaves the others as they are.
CREATE SCHEMA partial_update;
SET search_path = partial_update, doris, public;
SET default_table_access_method = doris;

-- Without the setting a missing column gets its default.
CREATE TABLE whole (k int, v1 int, v2 int DEFAULT 7) WITH (unique_key = 'k');
INSERT INTO whole VALUES (1, 1, 1);
INSERT INTO whole (k, v1) VALUES (1, 2);
SELECT * FROM whole;

-- With it, the others stay; a deleted key counts as new.
SET doris.partial_update = on;
CREATE TABLE t (k int, v1 int, v2 int) WITH (unique_key = 'k');
INSERT INTO t VALUES (1, 1, 1);
INSERT INTO t (k, v1) VALUES (1, 5);
SELECT * FROM t;
DELETE FROM t WHERE k = 1;
INSERT INTO t (k, v1) VALUES (1, 2);
SELECT * FROM t;

-- Order of columns, several rows of a key in one statement, expressions, NULL and DEFAULT.
CREATE TABLE wide (a int, b text, c int DEFAULT 9, d text NOT NULL, e int, f jsonb NOT NULL DEFAULT '{}') WITH (unique_key = 'a, b');
INSERT INTO wide VALUES (1, 'x', 1, 'one', 1, '[1]'), (2, 'y', 2, 'two', 2, '[2]');
INSERT INTO wide (e, b, a) VALUES (10, 'x', 1), (11, 'x', 1), (20, 'y', 2);
INSERT INTO wide (a, b, c) VALUES (1, 'x', DEFAULT), (2, 'y', NULL);
INSERT INTO wide (a, b, d) SELECT a, b, d || '!' FROM wide RETURNING *;
SELECT * FROM wide ORDER BY a;
INSERT INTO wide (a, b, c, d) VALUES (3, 'z', 3, 'three');
INSERT INTO wide VALUES (4, 'w');
INSERT INTO wide (a, b, c) VALUES (5, 'v', 5);
INSERT INTO wide (a, c) VALUES (1, 5);
INSERT INTO wide (a, b, d) VALUES (1, 'x', NULL);
SELECT * FROM wide ORDER BY a;

-- COPY.
COPY wide (a, b, e) FROM '/dev/null';
COPY t (v2, k) FROM stdin;
22	1
33	3
\.
SELECT * FROM t ORDER BY k;

-- New keys as errors.
SET doris.partial_update_new_key = error;
INSERT INTO t (k, v1) VALUES (1, 3), (3, 3);
INSERT INTO t (k, v1) VALUES (1, 4), (4, 4);
COPY t (k, v1) FROM stdin;
5	5
\.
INSERT INTO t VALUES (6, 6, 6);
RESET doris.partial_update_new_key;
SELECT * FROM t ORDER BY k;

-- Bulk loads: within the batch, against heap rows and segments.
CREATE TABLE bulk (k int, a int, b text, c int NOT NULL DEFAULT 0) WITH (unique_key = 'k');
SET doris.rows_to_heap = 0;
INSERT INTO bulk SELECT g, g, 'b' || g, g FROM generate_series(1, 3000) g;
RESET doris.rows_to_heap;
INSERT INTO bulk SELECT g, g, 'b' || g, g FROM generate_series(3001, 3100) g;
SET doris.rows_to_heap = 0;
INSERT INTO bulk (k, a) SELECT 1 + g % 4000, -g FROM generate_series(0, 7999) g;
INSERT INTO bulk (k, b) SELECT g, 'new ' || g FROM generate_series(2, 5000, 2) g;
RESET doris.rows_to_heap;
SELECT count(*), sum(a), sum(c), count(b), count(*) FILTER (WHERE b LIKE 'new%') FROM bulk;
SELECT * FROM bulk WHERE k IN (1, 2, 3050, 3999, 4000, 4999, 5000) ORDER BY k;

-- Concurrent batches meet in tests/isolation. In one transaction:
BEGIN;
INSERT INTO t (k, v1) VALUES (7, 1);
SAVEPOINT s;
INSERT INTO t (k, v2) VALUES (7, 2);
SELECT * FROM t WHERE k = 7;
ROLLBACK TO s;
SELECT * FROM t WHERE k = 7;
SET LOCAL doris.partial_update = off;
INSERT INTO t (k, v2) VALUES (7, 3);
SELECT * FROM t WHERE k = 7;
ROLLBACK;

-- Sequences: where it is named it decides, else the old one stays.
CREATE TABLE seqs (k int, v1 int, v2 int, seq int) WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO seqs VALUES (1, 1, 1, 10);
INSERT INTO seqs (k, v1) VALUES (1, 2);
INSERT INTO seqs (k, v2, seq) VALUES (1, 3, 9);
INSERT INTO seqs (k, v2, seq) VALUES (1, 4, 10);
SELECT * FROM seqs;
INSERT INTO seqs (k, v1, seq) VALUES (1, 5, NULL);
INSERT INTO seqs (k, v1, seq) VALUES (1, 6, 11), (1, 7, 8);
SELECT * FROM seqs;

-- Generated columns and constraints see the whole row.
CREATE TABLE computed (k int, a int DEFAULT 1, b int DEFAULT 2, s int GENERATED ALWAYS AS (a + b) STORED, CHECK (a + b < 100)) WITH (unique_key = 'k');
INSERT INTO computed VALUES (1, 10, 20);
INSERT INTO computed (k, a) VALUES (1, 50);
INSERT INTO computed (k, b) VALUES (1, 50);
SELECT * FROM computed;

-- Constraints hold for the row that is stored: a column that is not named has no value before that.
CREATE TYPE phase AS ENUM ('open', 'done');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE bills (id int, status text CHECK (status <> 'lost'), amount numeric NOT NULL CHECK (amount > 0),
  phase phase NOT NULL CHECK (phase < 'done' OR status = 'paid'), n positive NOT NULL, note text DEFAULT 'none', CHECK (note <> 'none' OR n < 5))
  WITH (unique_key = 'id');
SET doris.rows_to_heap = 0;
INSERT INTO bills SELECT g, 'new', g, 'open', 4, 'none' FROM generate_series(1, 3000) g;
RESET doris.rows_to_heap;
INSERT INTO bills VALUES (3001, 'new', 1, 'open', 9, 'some');
INSERT INTO bills (id, status) VALUES (1, 'paid'), (3001, 'paid') RETURNING *;
INSERT INTO bills (id, status) VALUES (2, 'lost');
INSERT INTO bills (id, phase) VALUES (1, 'done');
INSERT INTO bills (id, phase) VALUES (3, 'done');
INSERT INTO bills (id, note) VALUES (3001, 'none');
INSERT INTO bills (id, n) VALUES (4, 0);
INSERT INTO bills (id, amount) VALUES (4, -1);
INSERT INTO bills (id, status) VALUES (3002, 'paid');
INSERT INTO bills (id, amount, n, phase) VALUES (3002, 1, 9, 'open');
INSERT INTO bills (id, amount, n, phase) VALUES (3002, 1, 1, 'open');
SET doris.rows_to_heap = 0;
INSERT INTO bills (id, status) SELECT 1 + g % 3000, 'paid' FROM generate_series(0, 3999) g;
INSERT INTO bills (id, status) SELECT g, CASE g WHEN 2999 THEN 'lost' END FROM generate_series(1, 3000) g;
INSERT INTO bills (id, amount, n, phase) SELECT g, 1, 4 + g / 4999, 'open' FROM generate_series(2500, 5000) g;
INSERT INTO bills (id, amount, n, phase) SELECT g, 1, 4, 'open' FROM generate_series(2500, 5000) g;
RESET doris.rows_to_heap;
SELECT status, phase, n, note, count(*), sum(amount) FROM bills GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
-- A new key has defaults in generated columns and constraints, folded or not.
INSERT INTO computed (k, a) VALUES (2, 99);
INSERT INTO computed (k, a) VALUES (2, 5), (2, 6);
SET doris.rows_to_heap = 0;
INSERT INTO computed (k, b) SELECT 1000 + g % 2000, g / 100 FROM generate_series(0, 3999) g;
INSERT INTO computed (k, b) SELECT 3000 + g % 2000, CASE g WHEN 3999 THEN 99 ELSE 1 END FROM generate_series(0, 3999) g;
RESET doris.rows_to_heap;
SELECT count(*), sum(a), sum(b), sum(s), max(k) FROM computed;
-- Whole rows beside partial ones in a statement are whole.
CREATE TABLE beside (k int, v int, w int DEFAULT 7) WITH (unique_key = 'k');
WITH a AS (INSERT INTO beside VALUES (1, 1, 1)) INSERT INTO beside (k, v) VALUES (2, 2);
WITH a AS (INSERT INTO beside (k, v) VALUES (1, 1)) INSERT INTO beside VALUES (2, 2, 2);
WITH a AS (INSERT INTO beside VALUES (1, 1, 1)) INSERT INTO beside VALUES (2, 2, 2);
SELECT * FROM beside ORDER BY k;

-- Prepared statements follow the setting of the moment.
PREPARE change(int, int) AS INSERT INTO t (k, v1) VALUES ($1, $2);
INSERT INTO t VALUES (8, 8, 8);
EXECUTE change(8, 9);
SELECT * FROM t WHERE k = 8;
SET doris.partial_update = off;
EXECUTE change(8, 10);
SELECT * FROM t WHERE k = 8;
PREPARE required(int, int) AS INSERT INTO wide (a, b, e) VALUES ($1, 'x', $2);
EXECUTE required(1, 5);
SET doris.partial_update = on;
EXECUTE required(1, 5);
SET doris.partial_update = off;
EXECUTE required(1, 6);
SELECT * FROM wide WHERE a = 1;

-- ON CONFLICT and partitioned targets store rows as they are given: a column that must not be null is wanted.
SET doris.partial_update = on;
INSERT INTO wide (a, b, e) VALUES (1, 'x', 7) ON CONFLICT (a, b) DO UPDATE SET e = excluded.e;
INSERT INTO wide (a, b, e) VALUES (30, 'x', 7) ON CONFLICT DO NOTHING;
CREATE TABLE mixed (k int, v int, w text NOT NULL) PARTITION BY RANGE (k);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (100) WITH (unique_key = 'k');
CREATE TABLE mixed_2 PARTITION OF mixed FOR VALUES FROM (100) TO (200) USING heap;
INSERT INTO mixed (k, v) VALUES (1, 1), (101, 1);

-- Triggers see the row that the statement gives, and rows that are not stored.
CREATE TABLE watched (k int, v int, w int DEFAULT 5, gone bool) WITH (unique_key = 'k', delete_sign = 'gone');
CREATE TABLE sums_watched (k int, s int) WITH (aggregate_key = 'k', sum = 's');
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % %', TG_WHEN, TG_TABLE_NAME, NEW; RETURN NEW; END $$;
CREATE TRIGGER before_row BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER INSERT ON sums_watched FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO watched VALUES (1, 1, 1, false);
INSERT INTO watched (k, v) VALUES (1, 2), (2, 2);
INSERT INTO watched (k, gone) VALUES (1, true), (3, true);
INSERT INTO sums_watched VALUES (1, 1), (1, 2);
TABLE watched;
TABLE sums_watched;
INSERT INTO sums_watched VALUES (1, 3) RETURNING *;

-- Other tables know nothing of the setting.
SET doris.partial_update = on;
CREATE TABLE heap_table (k int PRIMARY KEY, v int DEFAULT 1) USING heap;
INSERT INTO heap_table (k) VALUES (1);
CREATE TABLE duplicates (k int, v int DEFAULT 1) WITH (duplicate_key = 'k');
INSERT INTO duplicates (k) VALUES (1), (1);
SELECT * FROM duplicates;
CREATE TABLE sums (k int, s int, m int DEFAULT 5) WITH (aggregate_key = 'k', sum = 's', max = 'm');
INSERT INTO sums VALUES (1, 1, 1);
INSERT INTO sums (k, s) VALUES (1, 2);
SELECT * FROM sums;

-- Partitions, views, two targets in one statement.
CREATE TABLE parted (k int, a int, b int) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100) WITH (unique_key = 'k');
CREATE TABLE parted_2 (b int, k int NOT NULL, a int);
DROP TABLE parted_2;
CREATE TABLE parted_2 (dropped int, k int, b int, a int);
ALTER TABLE parted_2 DROP COLUMN dropped;
DROP TABLE parted_2;
CREATE TABLE parted_2 (k int, b int, a int) WITH (unique_key = 'k');
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (100) TO (200);
INSERT INTO parted VALUES (1, 1, 1), (101, 1, 1);
INSERT INTO parted (k, a) VALUES (1, 2), (101, 2);
SELECT * FROM parted ORDER BY k;
CREATE VIEW seen AS SELECT v2 AS y, k AS x FROM t;
INSERT INTO seen (x, y) VALUES (8, 88);
SELECT * FROM t WHERE k = 8;
WITH first AS (INSERT INTO t (k, v1) VALUES (8, 1)), second AS (INSERT INTO t (k, v2) VALUES (8, 1)) SELECT 1;

-- Each row its own columns.
RESET doris.partial_update;
CREATE TABLE flexible (k int, a int DEFAULT 9, b int NOT NULL, c int) WITH (unique_key = 'k');
INSERT INTO flexible VALUES (1, 1, 1, 1);
SELECT doris.upsert_json('flexible', '[{"k": 1, "a": 5}, {"k": 1, "c": null}, {"k": 2, "b": 7}]');
SELECT * FROM flexible ORDER BY k;
SELECT doris.upsert_json('flexible', '{"k": 3, "a": 1}');
SELECT doris.upsert_json('flexible', E'{"k": 2, "unknown": 1}\n{"k": 1, "__DORIS_DELETE_SIGN__": 1}\n{"k": 1, "b": 8}\n\n{"k": 2, "c": 3, "a": 3}');
SELECT * FROM flexible ORDER BY k;
SELECT doris.upsert_json('flexible', '[{"a": 1}]');
SELECT doris.upsert_json('flexible', '[{"k": 1}, 5]');
SELECT doris.upsert_json('flexible', '{"k": 4, "b": 1, "__DORIS_DELETE_SIGN__": 1}'::jsonb);
SELECT doris.upsert_json('heap_table', '{"k": 4}');
SELECT doris.upsert_json('seqs', '[{"k": 1, "v1": 100, "seq": 5}, {"k": 1, "v2": 100, "seq": null}, {"k": 1, "v1": 9}, {"k": 1, "seq": 12, "v2": 12}]');
SELECT * FROM seqs;
SELECT doris.upsert_json('seqs', '{"k": 1, "seq": 11, "__DORIS_DELETE_SIGN__": 1}');
SELECT * FROM seqs;
SELECT doris.upsert_json('seqs', '{"k": 1, "seq": 12, "__DORIS_DELETE_SIGN__": 1}');
SELECT * FROM seqs;
SHOW doris.partial_update;
CREATE TABLE digits (k numeric, v numeric) WITH (unique_key = 'k');
SELECT doris.upsert_json('digits', '{"k": 12345678901234567890123456789.5, "v": 0.1000000000000000000000000001}');
SELECT * FROM digits;
-- In one load, a delete that is older than the stored row and a row that is newer: there was nothing to delete.
CREATE TABLE partial_reborn (id int, a int, b text, seq int, gone bool) USING doris
  WITH (unique_key = 'id', sequence = 'seq', delete_sign = 'gone');
SET doris.rows_to_heap = 0;
INSERT INTO partial_reborn VALUES (1, 41, 'stored', 30, false), (2, 42, 'stored', 5, false), (3, 43, 'stored', NULL, false), (5, 45, 'stored', 10, false);
SET doris.partial_update = on;
INSERT INTO partial_reborn (id, b, seq, gone) VALUES (1, 'delete', 10, true), (1, 'new', 50, false),
  (2, 'delete', 10, true), (2, 'new', 50, false), (3, 'delete', NULL, true), (3, 'new', 50, false),
  (4, 'delete', 10, true), (4, 'new', 50, false), (5, 'delete', 10, true), (5, 'new', 50, false);
SELECT * FROM partial_reborn ORDER BY id;
RESET doris.partial_update;
RESET doris.rows_to_heap;
DROP TABLE partial_reborn;
