-- Views of tables, segments and columns; verification, also of what is damaged.
CREATE SCHEMA am_inspect;
SET search_path = am_inspect, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 0;
CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(10, 2)) WITH (duplicate_key = 'id', bloom_filter = 'name');
INSERT INTO t SELECT g, 'name ' || g % 10, g FROM generate_series(1, 3000) g;
INSERT INTO t SELECT g, 'name ' || g % 10, g FROM generate_series(3001, 5000) g;
DELETE FROM t WHERE id % 100 = 0;
CREATE INDEX ON t (name);
SELECT rows, deleted_rows, bytes > 0 AS has_bytes, level, state FROM doris.segments WHERE "table" = 't'::regclass ORDER BY first_row;
SELECT "column", type, encodings <> '' AS has_encodings, ratio > 2 AS is_smaller FROM doris.columns WHERE "table" = 't'::regclass ORDER BY 1;
SELECT segments, segment_rows, deleted_rows, options FROM doris.tables WHERE "table" = 't'::regclass;
SELECT * FROM doris.verify('t');
-- A load that was rolled back leaves no problem behind.
BEGIN;
INSERT INTO t SELECT g FROM generate_series(6001, 7000) g;
ROLLBACK;
VACUUM t;
SELECT * FROM doris.verify('t');

-- Who may not read a table sees nothing of it.
CREATE ROLE regress_am_inspect;
GRANT USAGE ON SCHEMA am_inspect TO regress_am_inspect;
SET ROLE regress_am_inspect;
SELECT count(*) FROM doris.tables WHERE "table"::text = 't';
SELECT count(*) FROM doris.segments WHERE "table"::text = 't';
SELECT count(*) FROM doris.columns WHERE "table"::text = 't';
SELECT * FROM doris.verify('t');
SELECT * FROM doris.segments_of('t');
RESET ROLE;
DROP OWNED BY regress_am_inspect;
DROP ROLE regress_am_inspect;
CREATE TABLE plain (a int) USING heap;
SELECT * FROM doris.verify('plain');

-- The row store and its index entries are looked at, too.
CREATE TABLE rows_kept (id int, note text, big text);
ALTER TABLE rows_kept ALTER big SET STORAGE EXTERNAL;
CREATE INDEX rows_kept_id ON rows_kept (id);
SET doris.rows_to_heap = 100000;
INSERT INTO rows_kept SELECT g, 'note ' || g, repeat(g::text, 1000) FROM generate_series(1, 1000) g;
UPDATE rows_kept SET note = NULL WHERE id % 3 = 0;
DELETE FROM rows_kept WHERE id % 5 = 0;
ALTER TABLE rows_kept ADD COLUMN later int DEFAULT 7, DROP COLUMN note;
SELECT * FROM doris.verify('rows_kept');
VACUUM (FREEZE) rows_kept;
SELECT * FROM doris.verify('rows_kept');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'rows_kept_id'::regclass;
INSERT INTO rows_kept SELECT g FROM generate_series(2001, 2010) g;
UPDATE pg_index SET indisready = true WHERE indexrelid = 'rows_kept_id'::regclass;
SELECT * FROM doris.verify('rows_kept');
REINDEX INDEX rows_kept_id;
SELECT * FROM doris.verify('rows_kept');

\set VERBOSITY terse
DROP SCHEMA am_inspect CASCADE;
