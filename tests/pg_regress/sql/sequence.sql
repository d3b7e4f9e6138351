-- The sequence column: the larger sequence stays, whatever the order of arrival; the later of two equals; NULL is
-- the smallest. And the delete sign of loaded rows.
CREATE SCHEMA sequence;
SET search_path = sequence, doris, public;
SET default_table_access_method = doris;

-- Arrivals one by one.
CREATE TABLE arrivals (k int, v text, seq int) WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO arrivals VALUES (1, 'a', NULL);
INSERT INTO arrivals VALUES (1, 'b', 100);
INSERT INTO arrivals VALUES (1, 'c', NULL);
INSERT INTO arrivals VALUES (2, 'a', NULL);
INSERT INTO arrivals VALUES (2, 'b', -10);
INSERT INTO arrivals VALUES (2, 'c', 110);
INSERT INTO arrivals VALUES (2, 'd', 100);
INSERT INTO arrivals VALUES (3, 'a', NULL);
INSERT INTO arrivals VALUES (3, 'b', 0);
INSERT INTO arrivals VALUES (3, 'c', NULL);
INSERT INTO arrivals VALUES (4, 'a', NULL);
INSERT INTO arrivals VALUES (4, 'b', NULL);
SELECT * FROM arrivals ORDER BY k;

-- The same in one statement, and through a bulk load.
TRUNCATE arrivals;
INSERT INTO arrivals VALUES (1, 'a', NULL), (1, 'b', 100), (1, 'c', NULL), (2, 'a', NULL), (2, 'b', -10), (2, 'c', 110),
  (2, 'd', 100), (3, 'a', NULL), (3, 'b', 0), (3, 'c', NULL), (4, 'a', NULL), (4, 'b', NULL);
SELECT * FROM arrivals ORDER BY k;
TRUNCATE arrivals;
SET doris.rows_to_heap = 0;
INSERT INTO arrivals VALUES (1, 'a', NULL), (1, 'b', 100), (1, 'c', NULL), (2, 'a', NULL), (2, 'b', -10), (2, 'c', 110),
  (2, 'd', 100), (3, 'a', NULL), (3, 'b', 0), (3, 'c', NULL), (4, 'a', NULL), (4, 'b', NULL);
SELECT * FROM arrivals ORDER BY k;
-- Against segments: older, equal, newer.
COPY arrivals FROM stdin;
1	older	99
2	equal	110
3	newer	1
4	\N	\N
5	new	\N
\.
SELECT * FROM arrivals ORDER BY k;
RESET doris.rows_to_heap;
INSERT INTO arrivals VALUES (1, 'older', 99), (2, 'newer', 111), (3, 'equal', 1) RETURNING *;
SELECT * FROM arrivals ORDER BY k;

-- A load must give the sequence.
INSERT INTO arrivals (k, v) VALUES (9, 'x');
COPY arrivals (k, v) FROM stdin;
9	x
\.
SET doris.require_sequence_in_insert = off;
INSERT INTO arrivals (k, v) VALUES (9, 'x'), (1, 'loses');
SELECT * FROM arrivals WHERE k IN (1, 9) ORDER BY k;
RESET doris.require_sequence_in_insert;
CREATE TABLE stamped (k int, v text, at timestamp DEFAULT current_timestamp) WITH (unique_key = 'k', sequence = 'at');
INSERT INTO stamped (k, v) VALUES (1, 'now');
INSERT INTO stamped VALUES (1, 'old', '2000-01-01');
INSERT INTO stamped VALUES (1, 'future', '2999-01-01');
INSERT INTO stamped (k, v) VALUES (1, 'now');
SELECT * FROM stamped;

-- UPDATE and DELETE change and delete what they find. A DELETE is remembered with the sequence of its row.
UPDATE arrivals SET seq = 1 WHERE k = 1;
INSERT INTO arrivals VALUES (1, 'after', 2);
DELETE FROM arrivals WHERE k = 2;
INSERT INTO arrivals VALUES (2, 'late', 110);
SELECT * FROM arrivals ORDER BY k;
INSERT INTO arrivals VALUES (2, 'equal', 111);
SELECT * FROM arrivals ORDER BY k;

-- A delete sign deletes what its sequence is not below.
CREATE TABLE signs (k int, v text, seq int, gone boolean DEFAULT false) WITH (unique_key = 'k', sequence = 'seq', delete_sign = 'gone');
INSERT INTO signs VALUES (1, 'a', 5), (1, 'b', 5), (1, 'c', 4);
INSERT INTO signs VALUES (1, '', 4, true);
SELECT * FROM signs;
INSERT INTO signs VALUES (1, '', 5, true) RETURNING *;
SELECT * FROM signs;
SET doris.rows_to_heap = 0;
COPY signs FROM stdin;
1	a	5	f
1	b	5	f
1	c	4	f
1		4	t
2	a	1	f
2		2	t
2	late	1	f
3		1	t
3	a	1	f
4	a	1	f
4		1	t
\.
SELECT * FROM signs ORDER BY k;
COPY signs FROM stdin;
1		5	t
3	a2	0	f
5		9	t
\.
SELECT * FROM signs ORDER BY k;
RESET doris.rows_to_heap;
CREATE TABLE plain_signs (k int, v text, gone smallint) WITH (unique_key = 'k', delete_sign = 'gone');
INSERT INTO plain_signs VALUES (1, 'a', 0), (2, 'b', NULL), (3, 'c', 0);
INSERT INTO plain_signs VALUES (1, NULL, 1), (4, NULL, 1), (3, 'c2', 0);
SELECT * FROM plain_signs ORDER BY k;

-- Types of sequences.
CREATE TABLE big (k int, seq bigint) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE small (k int, seq smallint) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE days (k int, seq date) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE times (k int, seq timestamptz) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE decimals (k int, seq numeric(20,3)) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE numerics (k int, seq numeric) WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO big VALUES (1, 9000000000), (1, 8000000000); INSERT INTO big VALUES (1, 8500000000);
INSERT INTO small VALUES (1, 3), (1, -2); INSERT INTO small VALUES (1, 2);
INSERT INTO days VALUES (1, '2024-03-01'), (1, '2024-02-01'); INSERT INTO days VALUES (1, '-infinity');
INSERT INTO times VALUES (1, '2024-03-01 00:00+00'), (1, '2024-02-01 00:00+00'); INSERT INTO times VALUES (1, '-infinity');
INSERT INTO decimals VALUES (1, 10.5), (1, 9.999); INSERT INTO decimals VALUES (1, 10.499);
INSERT INTO numerics VALUES (1, 1e30), (1, 9e29); INSERT INTO numerics VALUES (1, 'NaN'), (1, 1e31);
SELECT big.seq, small.seq, days.seq, decimals.seq, numerics.seq FROM big, small, days, decimals, numerics;
SELECT seq = '2024-03-01 00:00+00' FROM times;

-- A deleted key keeps its sequence, in later statements too: an older row stays away, another comes.
CREATE TABLE late (k int, t text, v text, seq int, gone boolean DEFAULT false)
  WITH (unique_key = 'k, t', sequence = 'seq', delete_sign = 'gone');
INSERT INTO late VALUES (1, 'a', 'stored', 20), (2, 'a', 'stored', 20), (3, NULL, 'stored', 20);
INSERT INTO late VALUES (1, 'a', '', 25, true), (2, 'a', '', 25, true), (3, NULL, '', 25, true), (4, 'a', '', 25, true);
INSERT INTO late VALUES (1, 'a', 'late', 24), (2, 'a', 'equal', 25), (3, NULL, 'late', NULL), (4, 'a', 'late', 1) RETURNING k, v;
SELECT * FROM late ORDER BY k;
-- What came is not remembered as deleted, until it is deleted itself.
INSERT INTO late VALUES (2, 'a', 'newer', 27);
DELETE FROM late WHERE k = 2;
INSERT INTO late VALUES (2, 'a', 'late', 26);
INSERT INTO late VALUES (2, 'a', 'again', 27);
-- The later delete counts, and only with its sequence.
INSERT INTO late VALUES (1, 'a', '', 24, true);
INSERT INTO late VALUES (1, 'a', 'late', 24);
INSERT INTO late VALUES (1, 'a', '', 30, true);
INSERT INTO late VALUES (1, 'a', 'late', 29);
SELECT * FROM late ORDER BY k;
-- Rollback, savepoints and exception blocks.
BEGIN;
INSERT INTO late VALUES (9, 'a', '', 25, true);
SAVEPOINT s;
INSERT INTO late VALUES (9, 'a', '', 35, true);
INSERT INTO late VALUES (9, 'a', 'late', 30);
ROLLBACK TO s;
INSERT INTO late VALUES (9, 'a', 'late', 24);
SELECT * FROM late WHERE k = 9;
INSERT INTO late VALUES (9, 'a', 'new', 30);
SELECT * FROM late WHERE k = 9;
ROLLBACK;
INSERT INTO late VALUES (9, 'a', 'first', 1);
SELECT * FROM late WHERE k = 9;
-- In bulk, against deletes of single rows and the other way round.
SET doris.rows_to_heap = 0;
INSERT INTO late SELECT g, 'a', 'late', 24 FROM generate_series(1, 4) g;
INSERT INTO late SELECT g, 'b', '', g, true FROM generate_series(1, 5000) g;
INSERT INTO late SELECT g, 'b', 'half', 2500 FROM generate_series(1, 5000) g;
RESET doris.rows_to_heap;
INSERT INTO late VALUES (3000, 'b', 'late', 2999), (3001, 'b', 'single', 3001), (5000, 'b', 'late', 4999);
SELECT count(*), min(k), max(k), count(*) FILTER (WHERE v = 'half') AS half FROM late WHERE t = 'b';
-- A partial update without the sequence does not ask; one with it does.
SET doris.partial_update = on;
INSERT INTO late (k, t, v) VALUES (4001, 'b', 'unasked');
INSERT INTO late (k, t, v, seq) VALUES (4002, 'b', 'late', 4001), (4003, 'b', 'equal', 4003);
SET doris.partial_update_new_key = error;
INSERT INTO late (k, t, seq) VALUES (4004, 'b', 4003);
INSERT INTO late (k, t, seq) VALUES (4004, 'b', 4005);
RESET doris.partial_update_new_key;
RESET doris.partial_update;
SELECT * FROM late WHERE k BETWEEN 4000 AND 4010 ORDER BY k;
-- VACUUM FULL keeps it, in rows and in segments; cumulative compaction too; base compaction forgets.
VACUUM FULL late;
INSERT INTO late VALUES (4500, 'b', 'late', 4499);
CALL doris.compact('late', 'cumulative');
VACUUM late;
INSERT INTO late VALUES (4500, 'b', 'late', 4499);
SELECT * FROM late WHERE k = 4500;
CALL doris.compact('late', 'base');
INSERT INTO late VALUES (4500, 'b', 'forgotten', 0);
SELECT * FROM late WHERE k = 4500;
INSERT INTO late VALUES (1, 'a', '', 25, true);
TRUNCATE late;
INSERT INTO late VALUES (1, 'a', 'first', 1);
TABLE late;
SELECT * FROM doris.verify('late');
-- Deletes by statements: rows of the row store, of segments one by one and in bulk, by MERGE and by a foreign key.
CREATE TABLE statements (k numeric, t text, seq numeric, PRIMARY KEY (k, t)) WITH (unique_key = 'k, t', sequence = 'seq');
CREATE TABLE parents (id numeric PRIMARY KEY) USING heap;
INSERT INTO parents SELECT generate_series(1, 6);
ALTER TABLE statements ADD FOREIGN KEY (k) REFERENCES parents ON DELETE CASCADE;
INSERT INTO statements SELECT g, 'heap', 10.5 FROM generate_series(1, 5) g;
SET doris.rows_to_heap = 0;
ALTER TABLE statements DROP CONSTRAINT statements_k_fkey;
INSERT INTO statements SELECT g, 'segment', 10.5 FROM generate_series(1, 6000) g;
RESET doris.rows_to_heap;
ALTER TABLE statements ADD FOREIGN KEY (k) REFERENCES parents ON DELETE CASCADE NOT VALID;
DELETE FROM statements WHERE k = 1;
MERGE INTO statements s USING (VALUES (2.0)) v (k) ON s.k = v.k WHEN MATCHED THEN DELETE;
DELETE FROM parents WHERE id = 3;
SET doris.bulk_delete_rows = 100;
DELETE FROM statements WHERE k > 5000;
RESET doris.bulk_delete_rows;
DELETE FROM statements WHERE k = 4 RETURNING *;
ALTER TABLE statements DROP CONSTRAINT statements_k_fkey;
INSERT INTO statements SELECT g, t, 10.499 FROM generate_series(1, 6000) g, unnest(ARRAY['heap', 'segment']) t;
SELECT t, count(*), count(*) FILTER (WHERE seq = 10.5) AS stayed, min(k), max(k) FROM statements GROUP BY t ORDER BY t;
DELETE FROM statements WHERE seq < 10.5;
INSERT INTO statements VALUES (1.00, 'heap', 10.50), (5001, 'segment', 10.5), (5002, 'segment', 10.4), (3000, 'heap', 10.499),
  (3001, 'heap', 10.49) RETURNING *;
SELECT t, count(*) FROM statements GROUP BY t ORDER BY t;
-- Also in the transaction that deletes; what is rolled back was not deleted.
BEGIN;
DELETE FROM statements WHERE k = 1;
SAVEPOINT s;
INSERT INTO statements VALUES (1, 'heap', 10.4);
SELECT * FROM statements WHERE k = 1;
ROLLBACK TO s;
WITH gone AS (DELETE FROM statements WHERE k = 5001 RETURNING *) INSERT INTO statements SELECT * FROM gone;
SELECT * FROM statements WHERE k IN (1, 5001);
ROLLBACK;
SELECT * FROM statements WHERE k IN (1, 5001) ORDER BY k;
-- A row without a sequence leaves nothing behind, nor does the old key of an UPDATE. ON CONFLICT does not ask.
INSERT INTO statements VALUES (7000, 'heap', NULL), (7001, 'heap', 10), (7002, 'heap', 10);
DELETE FROM statements WHERE k IN (7000, 7002);
UPDATE statements SET k = 7003 WHERE k = 7001;
INSERT INTO statements VALUES (7000, 'heap', NULL), (7001, 'heap', 9);
INSERT INTO statements VALUES (7002, 'heap', 9) ON CONFLICT DO NOTHING;
SELECT * FROM statements WHERE k >= 7000 ORDER BY k;
-- Cumulative compaction and VACUUM FULL keep it, base compaction does not.
DELETE FROM statements WHERE k >= 7000;
CALL doris.compact('statements', 'cumulative');
VACUUM FULL statements;
INSERT INTO statements VALUES (7000, 'heap', NULL), (7001, 'heap', 8), (7002, 'heap', 9), (7003, 'heap', 9);
SELECT * FROM statements WHERE k >= 7000 ORDER BY k;
DELETE FROM statements WHERE k >= 7000;
CALL doris.compact('statements', 'base');
INSERT INTO statements VALUES (7001, 'heap', 1), (7003, 'heap', 1), (5100, 'segment', 1);
SELECT * FROM statements WHERE k >= 5100 ORDER BY k;
-- So do deletes of doris.upsert_json, with the sequence that they give, also of keys that are not there.
SELECT doris.upsert_json('statements', '[{"k": 7001, "t": "heap", "seq": 5, "__DORIS_DELETE_SIGN__": 1},
  {"k": 7003, "t": "heap", "__DORIS_DELETE_SIGN__": 1}, {"k": 8000, "t": "a", "seq": 5, "__DORIS_DELETE_SIGN__": 1},
  {"k": 8000, "t": "a", "seq": 4, "__DORIS_DELETE_SIGN__": 1}, {"k": 5100, "t": "segment", "seq": 0.5, "__DORIS_DELETE_SIGN__": 1},
  {"k": 8001, "t": "a", "seq": null, "__DORIS_DELETE_SIGN__": 1}, {"k": 8002, "t": "a", "__DORIS_DELETE_SIGN__": 1}]');
SELECT * FROM statements WHERE k >= 5100 ORDER BY k;
INSERT INTO statements SELECT k, t, 4.9 FROM (VALUES (7001, 'heap'), (8000, 'a'), (8001, 'a'), (8002, 'a')) x (k, t);
INSERT INTO statements VALUES (7003, 'heap', 0.5), (5100, 'segment', 0.9);
SELECT * FROM statements WHERE k >= 5100 ORDER BY k;
SELECT doris.upsert_json('statements', '[{"k": 8000, "t": "a", "seq": 5}, {"k": 7003, "t": "heap", "seq": 0.9}]');
SELECT * FROM statements WHERE k >= 7000 ORDER BY k;
-- Who may not see all rows decides about those that there are.
CREATE ROLE sequence_writer;
GRANT USAGE ON SCHEMA sequence, doris TO sequence_writer;
GRANT ALL ON statements TO sequence_writer;
ALTER TABLE statements ENABLE ROW LEVEL SECURITY;
CREATE POLICY writers ON statements USING (t = 'a');
SET ROLE sequence_writer;
SELECT doris.upsert_json('statements', '[{"k": 8000, "t": "a", "seq": 6, "__DORIS_DELETE_SIGN__": 1},
  {"k": 5100, "t": "segment", "seq": 6, "__DORIS_DELETE_SIGN__": 1}, {"k": 9000, "t": "a", "seq": 6, "__DORIS_DELETE_SIGN__": 1}]');
INSERT INTO statements VALUES (8000, 'a', 4), (9000, 'a', 4);
SELECT * FROM statements WHERE k >= 5100 ORDER BY k;
RESET ROLE;
SELECT * FROM statements WHERE k >= 5100 ORDER BY k;
SELECT * FROM doris.verify('statements');
DROP TABLE statements;
REVOKE USAGE ON SCHEMA sequence, doris FROM sequence_writer;
DROP ROLE sequence_writer;

-- What is remembered of a key outlasts a partial update without the sequence, which brings the key back, and a row that
-- comes after a delete in one statement meets it on every path.
CREATE TABLE reborn (k int, v text, seq int, gone bool DEFAULT false)
  WITH (unique_key = 'k', sequence = 'seq', delete_sign = 'gone');
CREATE FUNCTION back(first int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO reborn SELECT g, 'deleted', 10, true FROM generate_series(first, first + 9) g;
  SET LOCAL doris.partial_update = on;
  INSERT INTO reborn (k, v) SELECT g, 'back' FROM generate_series(first, first + 9) g;
  SET LOCAL doris.partial_update = off;
END $$;
CREATE FUNCTION load(first int) RETURNS void LANGUAGE sql
  AS $$ INSERT INTO reborn SELECT g, 'row', CASE WHEN g % 2 = 0 THEN 9 ELSE 10 END, sign
          FROM generate_series(first, first + 9) g, (VALUES (true), (false)) s (sign) ORDER BY sign DESC, g $$;
SELECT back(0), load(0);
SET doris.enable_bulk_load = off;
SELECT back(10), load(10);
RESET doris.enable_bulk_load;
SET doris.rows_to_heap = 0;
SELECT back(20), load(20);
-- Stored rows in segments.
SELECT back(30);
CALL doris.compact('reborn', 'cumulative');
SELECT load(30);
SELECT back(40);
CALL doris.compact('reborn', 'cumulative');
SET doris.enable_bulk_load = off;
SELECT load(40);
RESET doris.enable_bulk_load;
RESET doris.rows_to_heap;
SELECT k / 10 AS path, v, seq, count(*), sum(k % 10) FROM reborn GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
INSERT INTO reborn SELECT g, 'late', 9 FROM generate_series(0, 49) g;
INSERT INTO reborn SELECT g, 'equal', 10 FROM generate_series(0, 49) g;
SELECT k / 10 AS path, v, seq, count(*) FROM reborn GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
DROP FUNCTION load, back;

-- Keys and sequences of other types: equal numerics are one key.
CREATE TABLE late_types (k numeric, at numeric, gone boolean DEFAULT false)
  WITH (unique_key = 'k', sequence = 'at', delete_sign = 'gone');
INSERT INTO late_types VALUES (1.0, 1e30, true), (NULL, 5.5, true), (2, 'NaN', true);
INSERT INTO late_types VALUES (1.000, 9e29), (NULL, 5.4), (2, 1e100);
TABLE late_types;
INSERT INTO late_types VALUES (1.000, 1e30), (NULL, 5.50), (2, 'NaN');
SELECT * FROM late_types ORDER BY k;
CREATE TABLE late_stamps (k date, at timestamptz, gone smallint DEFAULT 0)
  WITH (unique_key = 'k', sequence = 'at', delete_sign = 'gone');
SET timezone = 'UTC';
INSERT INTO late_stamps VALUES ('2024-01-01', '2024-03-01 00:00', 1);
SET datestyle = 'German';
SET timezone = 'Asia/Tokyo';
INSERT INTO late_stamps VALUES ('01.01.2024', '01.03.2024 08:59');
RESET datestyle;
RESET timezone;
SELECT count(*) FROM late_stamps;

-- A partial update without the sequence brings a key back; what is remembered of it stays. In bulk and row by row.
CREATE TABLE revived (k int, v text, seq int, gone boolean DEFAULT false)
  WITH (unique_key = 'k', sequence = 'seq', delete_sign = 'gone');
SET doris.rows_to_heap = 0;
INSERT INTO revived SELECT k, 'deleted', 10, true FROM generate_series(1, 6) k;
SET doris.partial_update = on;
INSERT INTO revived (k, v) SELECT k, 'back' FROM generate_series(1, 6) k;
RESET doris.partial_update;
SELECT * FROM revived ORDER BY k;
INSERT INTO revived VALUES (1, 'deleted', 5, true), (1, 'late', 7, false), (2, 'deleted', 5, true), (2, 'new', 11, false),
  (3, 'deleted', 12, true), (3, 'newer', 13, false);
SET doris.enable_bulk_load = off;
INSERT INTO revived VALUES (4, 'deleted', 5, true), (4, 'late', 7, false), (5, 'deleted', 5, true), (5, 'new', 11, false),
  (6, 'deleted', 12, true), (6, 'newer', 13, false);
SELECT * FROM revived ORDER BY k;
INSERT INTO revived SELECT k, 'late', 9 FROM generate_series(1, 6) k;
SELECT * FROM revived ORDER BY k;
RESET doris.enable_bulk_load;
INSERT INTO revived SELECT k, 'newest', 14 FROM generate_series(1, 6) k;
SELECT * FROM revived ORDER BY k;
RESET doris.rows_to_heap;
SELECT * FROM doris.verify('revived');

-- The options are fixed.
ALTER TABLE arrivals RESET (sequence);
ALTER TABLE arrivals DROP COLUMN seq;
ALTER TABLE signs SET (delete_sign = 'v');
ALTER TABLE arrivals RENAME COLUMN seq TO version;
SELECT reloptions FROM pg_class WHERE oid = 'arrivals'::regclass;
INSERT INTO arrivals VALUES (1, 'older', 1);
SELECT * FROM arrivals WHERE k = 1;

-- A sequence column that changes its type in a transaction that has deleted before.
CREATE TABLE retyped (k int, s numeric, gone boolean DEFAULT false)
  WITH (unique_key = 'k', sequence = 's', delete_sign = 'gone');
INSERT INTO retyped VALUES (1, 1), (2, 2);
BEGIN;
DELETE FROM retyped WHERE k = 1;
ALTER TABLE retyped ALTER s TYPE bigint;
SELECT doris.upsert_json('retyped', '[{"k": 9, "s": 5, "__DORIS_DELETE_SIGN__": 1}]');
SELECT doris.upsert_json('retyped', '[{"k": 9, "s": 6, "__DORIS_DELETE_SIGN__": 1}]');
COMMIT;
INSERT INTO retyped VALUES (9, 5);
SELECT * FROM retyped ORDER BY k;
INSERT INTO retyped VALUES (9, 6);
SELECT * FROM retyped ORDER BY k;
DROP TABLE retyped;

-- A sequence column that the server fills: generated, identity.
CREATE TABLE generated (k int, v int, w int, x int DEFAULT 5, seq int GENERATED ALWAYS AS (v + w) STORED) WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO generated VALUES (1, 20, 0), (2, 20, 0), (3, 20, 0);
INSERT INTO generated VALUES (1, 19, 0);
SET doris.partial_update = on;
INSERT INTO generated (k, v, w) VALUES (1, 3, 1), (2, 21, 1), (4, 1, 1);
INSERT INTO generated (k, x) VALUES (3, 6);
INSERT INTO generated (k, v) VALUES (3, 100);
SELECT * FROM generated ORDER BY k;
SET doris.rows_to_heap = 0;
INSERT INTO generated (k, v, w) SELECT g, 22 - g, 0 FROM generate_series(1, 3000) g;
INSERT INTO generated (k, x) SELECT g, 7 FROM generate_series(1, 3) g;
RESET doris.rows_to_heap;
RESET doris.partial_update;
SELECT * FROM generated WHERE k < 5 ORDER BY k;
CREATE TABLE counted (k int, v int, seq int GENERATED BY DEFAULT AS IDENTITY) WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO counted (k, v) VALUES (1, 1), (1, 2);
INSERT INTO counted VALUES (1, 3, 1);
COPY counted (k, v) FROM stdin;
1	4
\.
TABLE counted;
-- Rows of one load that are older than others of it: the row that stays has its index entries.
CREATE TABLE batch (k int, a int, seq int) WITH (unique_key = 'k', sequence = 'seq');
CREATE INDEX ON batch (a);
CREATE INDEX ON batch (a, seq) WHERE a > 1;
COPY batch FROM stdin;
1	10	5
2	20	5
1	11	4
3	30	1
2	21	6
2	22	4
3	31	2
3	32	3
1	12	5
1	13	1
\.
SET enable_seqscan = off;
SELECT * FROM batch WHERE a > 0 ORDER BY a;
SELECT a, seq FROM batch WHERE a > 1 ORDER BY a, seq;
RESET enable_seqscan;
SELECT * FROM doris.verify('batch');
