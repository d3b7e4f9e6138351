-- CALL doris.compact: heap rows move into segments, segments are merged; nothing else changes.
SET client_min_messages = warning;
SET default_table_access_method = doris;
CREATE TABLE pack (id int, grp int, name text, amount numeric(12, 2)) WITH (duplicate_key = 'id');
ALTER TABLE pack ADD PRIMARY KEY (id);
CREATE INDEX pack_name ON pack (lower(name)) WHERE grp < 5;
INSERT INTO pack SELECT g, g % 10, 'Name ' || g % 100, g / 4.0 FROM generate_series(1000, 1, -1) g;
CREATE VIEW state AS SELECT (SELECT count(*) FROM pack) AS rows, (SELECT sum(id) FROM pack) AS ids, (SELECT sum(amount) FROM pack) AS amounts,
    (SELECT string_agg(format('%s-%s:%s', rows, deleted_rows, level), ' ' ORDER BY first_row) FROM doris.segments_of('pack')) AS segments;
TABLE state;
CALL doris.compact('pack');
TABLE state;
-- Rows are in the order of the key now.
SELECT ctid, id FROM pack ORDER BY ctid LIMIT 3;
SET enable_seqscan = off;
SELECT count(*) FROM pack WHERE lower(name) = 'name 3' AND grp < 5;
SELECT * FROM pack WHERE id = 77;
INSERT INTO pack VALUES (77);
RESET enable_seqscan;
-- A column that older segments lack, one that they have and the table has not, rows deleted and updated, a load.
ALTER TABLE pack ADD extra int DEFAULT 42;
ALTER TABLE pack DROP grp CASCADE;
UPDATE pack SET amount = amount + 1 WHERE id <= 10;
DELETE FROM pack WHERE id BETWEEN 501 AND 600;
SET doris.rows_to_heap = 0;
INSERT INTO pack SELECT g, 'loaded', 0 FROM generate_series(1001, 3000) g;
RESET doris.rows_to_heap;
TABLE state;
CALL doris.compact('pack', 'cumulative');
TABLE state;
CALL doris.compact('pack', 'base');
TABLE state;
SELECT count(*) FILTER (WHERE extra = 42), count(*) FILTER (WHERE extra IS NULL) FROM pack;
CALL doris.compact('pack');
TABLE state;
SELECT * FROM doris.verify('pack');
-- All rows deleted.
DELETE FROM pack WHERE id > 20;
CALL doris.compact('pack');
TABLE state;
DELETE FROM pack;
CALL doris.compact('pack');
TABLE state;
INSERT INTO pack VALUES (1, 'one', 1);
TABLE state;
SELECT * FROM doris.verify('pack');
-- Long values leave the heap with their rows.
CREATE TABLE wide (id int, v text);
INSERT INTO wide SELECT g, repeat(md5(g::text), 1000) FROM generate_series(1, 20) g;
CREATE TEMP TABLE before AS SELECT id, md5(v) AS sum FROM wide;
CALL doris.compact('wide');
SELECT count(*) FROM wide JOIN before USING (id) WHERE md5(v) = sum;
-- A table without rows; temporary and unlogged tables; an owner's functions run with the owner's rights.
CREATE TABLE bare ();
CALL doris.compact('bare');
CREATE TEMP TABLE passing AS SELECT generate_series(1, 10) AS v;
CALL doris.compact('passing');
SELECT count(*), sum(v) FROM passing;
CREATE UNLOGGED TABLE light AS SELECT generate_series(1, 10) AS v;
CALL doris.compact('light');
SELECT count(*), sum(v) FROM light;
-- Exclusion constraints keep rows in the heap.
CREATE TABLE apart (v int4range, EXCLUDE USING gist (v WITH &&));
INSERT INTO apart SELECT int4range(g, g + 1) FROM generate_series(1, 10) g;
CALL doris.compact('apart');
SELECT count(*) FROM doris.segments_of('apart');
-- What has run is shown to those who may read the table.
SELECT DISTINCT kind, state, error FROM doris.compactions WHERE "table" = 'pack'::regclass ORDER BY 1;
SELECT output_segments, output_rows > 0 AS rows, duration > interval '0' AS timed FROM doris.compactions WHERE "table" = 'wide'::regclass;
-- Refused.
CALL doris.compact('pack', 'some');
CALL doris.compact('pack', NULL);
CALL doris.compact('state');
CALL doris.compact('pg_class');
BEGIN;
CALL doris.compact('pack');
ROLLBACK;
CREATE ROLE visitor;
GRANT USAGE ON SCHEMA doris TO visitor;
SET ROLE visitor;
CALL doris.compact('public.pack');
SELECT count(*) FROM doris.compactions;
RESET ROLE;
DROP OWNED BY visitor;
DROP ROLE visitor;
DROP TABLE pack, wide, bare, passing, light, apart CASCADE;
