-- VACUUM removes index entries of segment rows that are dead to everybody.
CREATE SCHEMA vacuum_indexes;
SET search_path = vacuum_indexes, doris, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 0;
SET doris.compaction = off;
SET doris.enable_vectorization = off;

CREATE TABLE t (id int, v int, note text);
CREATE INDEX t_v ON t (v);
CREATE INDEX t_note ON t USING hash (note);
CREATE INDEX t_gin ON t USING gin ((ARRAY[v]));
INSERT INTO t SELECT g, g, 'n' || g % 100 FROM generate_series(1, 5000) g;
VACUUM t;
CREATE TABLE sizes AS SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE relname IN ('t_v', 't_note', 't_gin');
-- Each round moves every row twice: by an update, and by compaction.
SELECT unnest(ARRAY['UPDATE t SET v = v + 1', 'CALL doris.compact(''t'')', 'VACUUM t', 'VACUUM t']) FROM generate_series(1, 6) \gexec
SELECT relname, pg_relation_size(relname::regclass) <= 8 * bytes AS bounded FROM sizes ORDER BY 1;
SELECT * FROM doris.verify('t');
CREATE FUNCTION entries(regclass) RETURNS bigint LANGUAGE c VOLATILE AS 'pg_doris', 'test_entries_wrapper';
SELECT entries('t_v');
-- Answers by index are those by scan.
SET enable_seqscan = off;
SELECT count(*), sum(v) FROM t WHERE v BETWEEN 100 AND 300;
SELECT count(*), sum(v) FROM t WHERE note = 'n7';
SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off;
SELECT count(*), sum(v) FROM t WHERE v BETWEEN 100 AND 300;
SELECT count(*), sum(v) FROM t WHERE note = 'n7';
RESET enable_indexscan; RESET enable_bitmapscan;

-- How many entries an index has: a load that was rolled back, deleted rows of a segment.
CREATE TABLE d (id int, v int);
CREATE INDEX d_v ON d (v);
INSERT INTO d SELECT g, g FROM generate_series(1, 5000) g;
BEGIN;
INSERT INTO d SELECT g, g FROM generate_series(1, 5000) g;
ROLLBACK;
DELETE FROM d WHERE id <= 1000;
VACUUM (INDEX_CLEANUP off) d;
SELECT * FROM doris.verify('d');
VACUUM d;
SELECT * FROM doris.verify('d');
SELECT entries('d_v');
-- Few dead rows are left until there are more, or somebody insists.
DELETE FROM d WHERE id = 2000;
VACUUM d;
SELECT entries('d_v');
VACUUM (INDEX_CLEANUP on) d;
SELECT entries('d_v');
-- What was cleaned is not cleaned again; new rows find their place.
INSERT INTO d SELECT g, g FROM generate_series(6001, 7000) g;
VACUUM d;
SELECT entries('d_v');
SET enable_seqscan = off;
SELECT count(*) FROM d WHERE v > 0;
SELECT id FROM d WHERE v IN (1000, 1001, 2000, 6500) ORDER BY id;
RESET enable_seqscan;
SELECT * FROM doris.verify('d');

-- A keyed table: its key index has no entries of segment rows, the others have.
CREATE TABLE k (id int, v int) WITH (unique_key = 'id');
CREATE INDEX k_v ON k (v);
INSERT INTO k SELECT g, g FROM generate_series(1, 5000) g;
INSERT INTO k SELECT g, -g FROM generate_series(1, 5000) g;
VACUUM k;
SELECT entries('k_v');
CALL doris.compact('k');
VACUUM k; VACUUM k;
SELECT entries('k_v');
SELECT * FROM doris.verify('k');
-- VACUUM counts heap rows and segment rows, each once, however often it runs.
CREATE TABLE counted (id int, v int);
INSERT INTO counted SELECT g, g FROM generate_series(1, 5000) g;
SET doris.rows_to_heap = 1000000;
INSERT INTO counted SELECT g, g FROM generate_series(1, 3000) g;
VACUUM counted;
VACUUM counted;
VACUUM counted;
SELECT reltuples FROM pg_class WHERE oid = 'counted'::regclass;
-- Nor are deleted segment rows taken for heap rows.
DELETE FROM counted WHERE id > 3000;
VACUUM counted;
VACUUM counted;
SELECT reltuples BETWEEN 5900 AND 6100 AS counted FROM pg_class WHERE oid = 'counted'::regclass;
RESET doris.rows_to_heap;
-- What VACUUM cuts off the end of the column store, no session that looked there before looks for again.
SET doris.rows_to_heap = 0;
CREATE TABLE cut (id int, s text);
INSERT INTO cut SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
SELECT count(s), min(s) FROM cut;
BEGIN;
INSERT INTO cut SELECT g, md5(g::text) FROM generate_series(1, 50000) g;
SELECT count(s), min(s) FROM cut;
ROLLBACK;
SELECT count(s), min(s) FROM cut;
SELECT pg_relation_size(reltoastrelid) AS before FROM pg_class WHERE oid = 'cut'::regclass \gset
VACUUM cut;
SELECT pg_relation_size(reltoastrelid) < :before AS shorter FROM pg_class WHERE oid = 'cut'::regclass;
SELECT count(s), min(s) FROM cut;
INSERT INTO cut SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
SELECT count(s), min(s) FROM cut;
RESET doris.rows_to_heap;

SET client_min_messages = warning;
DROP SCHEMA vacuum_indexes CASCADE;
