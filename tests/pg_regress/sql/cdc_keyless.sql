-- Mirrors of tables without a key: bags of rows. And keys that are not the first columns.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc_keyless;
SET search_path = cdc_keyless, public;
-- Rows of the two that differ in how they look.
CREATE FUNCTION differ(source regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  PERFORM doris.wait_for_sync('keyless', timeout => '60 s');
  EXECUTE format('SELECT count(*) FROM ((SELECT s::text FROM %1$s s EXCEPT ALL SELECT m::text FROM %1$s_mirror m) '
    'UNION ALL (SELECT m::text FROM %1$s_mirror m EXCEPT ALL SELECT s::text FROM %1$s s)) d', source) INTO n;
  RETURN n;
END $$;
CREATE TABLE bag (id int, n numeric, f float8, v text, doc json, arr numeric[], c char(4));
ALTER TABLE bag REPLICA IDENTITY FULL;
INSERT INTO bag SELECT i % 50, i % 7, i % 3, 'v' || i % 10, '{"a": 1}', ARRAY[i % 5, NULL], 'c' FROM generate_series(1, 1000) i;
SELECT doris.sync_table('bag', options => '{"sync": "keyless"}');
SELECT differ('bag');
-- So many of equal rows, and those that look as they should.
DELETE FROM bag WHERE ctid IN (SELECT min(ctid) FROM bag GROUP BY id, n);
UPDATE bag SET v = 'changed' WHERE ctid IN (SELECT max(ctid) FROM bag GROUP BY id);
SELECT differ('bag');
INSERT INTO bag (id, n, f, v) VALUES (100, 1.0, 0, NULL), (100, 1.00, '-0', NULL), (100, 1.000, 'NaN', NULL), (100, NULL, NULL, 'x ');
SELECT differ('bag');
DELETE FROM bag WHERE id = 100 AND n::text = '1.00';
UPDATE bag SET n = 1.0000 WHERE id = 100 AND n::text = '1.0';
SELECT differ('bag');
SELECT n, f FROM bag_mirror WHERE id = 100 ORDER BY f, n::text;
-- Within a batch: rows that come and go, again and again; documents that are equal to nothing but themselves.
BEGIN;
INSERT INTO bag SELECT 200, i FROM generate_series(1, 100) i;
UPDATE bag SET n = n + 1 WHERE id = 200;
UPDATE bag SET n = n + 1 WHERE id = 200;
DELETE FROM bag WHERE id = 200 AND n > 50;
INSERT INTO bag (id, doc) SELECT 201, format('{"i": %s}', i % 2)::json FROM generate_series(1, 10) i;
DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE id = 201 AND doc->>'i' = '1' LIMIT 3);
COMMIT;
DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE id = 201 LIMIT 1);
SELECT differ('bag');
-- Large values that did not change.
INSERT INTO bag (id, n, v) SELECT 300 + i, 1, string_agg(md5(i::text || k), '') FROM generate_series(1, 5) i, generate_series(1, 200) k GROUP BY i;
SELECT differ('bag');
UPDATE bag SET n = 2 WHERE id > 300;
DELETE FROM bag WHERE id = 303;
SELECT differ('bag');
-- Small batches, one after the other.
DO $$ BEGIN
  FOR i IN 1..50 LOOP
    UPDATE bag SET n = n + 1 WHERE id = i % 10;
    DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE id = i % 9 LIMIT 1);
    INSERT INTO bag SELECT * FROM bag WHERE id = i % 5 LIMIT 2;
    COMMIT;
  END LOOP;
END $$;
SELECT differ('bag');
-- Columns that come and go.
ALTER TABLE bag DROP COLUMN f, ADD COLUMN late int DEFAULT 5;
UPDATE bag SET n = 0 WHERE id < 5;
DELETE FROM bag WHERE id = 6;
SELECT differ('bag');
TRUNCATE bag;
INSERT INTO bag (id) VALUES (1), (1), (NULL);
SELECT differ('bag');
SELECT state, copies, last_error FROM doris.sync_tables WHERE sync = 'keyless';
-- A generated column of the mirror is its own.
CREATE TABLE made (v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
ALTER TABLE made REPLICA IDENTITY FULL;
INSERT INTO made SELECT i % 3 FROM generate_series(1, 10) i;
SELECT doris.sync_table('made', options => '{"sync": "keyless"}');
SELECT doris.wait_for_sync('keyless');
DELETE FROM made WHERE ctid IN (SELECT ctid FROM made WHERE v = 1 LIMIT 2);
UPDATE made SET v = 7 WHERE v = 2;
SELECT differ('made');
-- The unique key model for a key that is not first: its columns come first in the mirror.
CREATE TABLE lines (v text, n int, o int, PRIMARY KEY (o, n));
INSERT INTO lines SELECT 'v' || i, i, i / 3 FROM generate_series(1, 100) i;
SELECT doris.sync_table('lines', options => '{"sync": "keyless", "model": "unique_key"}');
SELECT doris.wait_for_sync('keyless');
UPDATE lines SET v = 'changed', n = -n WHERE o = 5;
DELETE FROM lines WHERE o = 6;
SELECT doris.wait_for_sync('keyless');
SELECT count(*) FROM ((TABLE lines EXCEPT ALL SELECT v, n, o FROM lines_mirror) UNION ALL (SELECT v, n, o FROM lines_mirror EXCEPT ALL TABLE lines)) d;
SELECT attname FROM pg_attribute WHERE attrelid = 'lines_mirror'::regclass AND attnum > 0 ORDER BY attnum;
SELECT reloptions FROM pg_class WHERE oid = 'lines_mirror'::regclass;
SELECT doris.drop_sync('keyless', true);
DROP SCHEMA cdc_keyless CASCADE;
