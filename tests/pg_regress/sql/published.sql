-- Tables that are published: logical decoding sees the row store only.
CREATE SCHEMA published;
SET search_path = published;
SET doris.rows_to_heap = 0;
SET doris.compaction = off;
SHOW wal_level;
CREATE TABLE t (id int PRIMARY KEY, v int) USING doris;
INSERT INTO t SELECT g, g FROM generate_series(1, 10000) g;
CREATE TABLE k (id int, v int) USING doris WITH (unique_key = 'id');
INSERT INTO k SELECT g, g FROM generate_series(1, 10000) g;
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Changes of rows that nobody would be told of are refused, one by one and many at once.
CREATE PUBLICATION published_all FOR TABLE t, k;
ALTER TABLE k REPLICA IDENTITY FULL;
SELECT s, refused(s) FROM (VALUES
  ('DELETE FROM t WHERE id = 5'),
  ('DELETE FROM t'),
  ('UPDATE t SET v = v + 1 WHERE id = 5'),
  ('UPDATE t SET v = v + 1'),
  ('UPDATE t SET id = -id WHERE id = 5'),
  ('MERGE INTO t USING (VALUES (5)) s(id) ON s.id = t.id WHEN MATCHED THEN DELETE'),
  ('INSERT INTO t VALUES (5, 0) ON CONFLICT (id) DO UPDATE SET v = 0'),
  ('INSERT INTO k VALUES (5, 0)'),
  ('DELETE FROM k WHERE id = 5'),
  ('DELETE FROM t WHERE id > 10000')
) v(s);
DELETE FROM t WHERE id = 5;
-- Rows that come now stay in the row store, bulk loads too.
INSERT INTO t SELECT g, g FROM generate_series(10001, 20000) g;
SELECT segment_rows FROM doris.tables WHERE "table" = 't'::regclass;
SELECT s, refused(s) FROM (VALUES
  ('DELETE FROM t WHERE id > 15000'),
  ('UPDATE t SET v = v + 1 WHERE id > 10000'),
  ('INSERT INTO k VALUES (20000, 0)'),
  ('INSERT INTO k VALUES (20000, 1)')
) v(s);
SELECT count(*), sum(v) FROM t;
SELECT * FROM k WHERE id >= 10000 ORDER BY id;

-- Publications of inserts are not told of deletes; an update would look like an insert to them.
ALTER PUBLICATION published_all SET (publish = 'insert');
SELECT s, refused(s) FROM (VALUES
  ('DELETE FROM t WHERE id = 5'),
  ('UPDATE t SET v = v + 1 WHERE id = 6')
) v(s);
DROP PUBLICATION published_all;
SELECT refused('UPDATE t SET v = v + 1 WHERE id = 6');
SELECT count(*), sum(v) FROM t;
SET client_min_messages = warning;
DROP SCHEMA published CASCADE;
