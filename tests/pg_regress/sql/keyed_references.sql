-- Foreign keys on keyed tables and of them.
CREATE SCHEMA keyed_references;
SET search_path = keyed_references, doris, public;
SET default_table_access_method = doris;

-- A delete sign does not delete what foreign keys may refer to: no trigger would run.
CREATE TABLE par (id int PRIMARY KEY, v text, gone bool) WITH (unique_key = 'id', delete_sign = 'gone');
CREATE TABLE chi (id int REFERENCES par);
CREATE TABLE cas (id int REFERENCES par ON DELETE CASCADE) USING heap;
INSERT INTO par VALUES (1, 'a', false), (2, 'b', false), (3, 'c', false);
INSERT INTO chi VALUES (1), (2);
INSERT INTO cas VALUES (3);
INSERT INTO par VALUES (1, 'x', true);
INSERT INTO par VALUES (3, 'x', true);
SELECT upsert_json('par', '{"id": 1, "gone": true}');
SET doris.rows_to_heap = 0;
INSERT INTO par SELECT g, 'x', g = 1 FROM generate_series(1, 3000) g;
-- In segments, too.
INSERT INTO par SELECT g, 'y', false FROM generate_series(1, 3000) g;
CALL compact('par');
INSERT INTO par SELECT g, 'x', g = 2 FROM generate_series(1, 3000) g;
RESET doris.rows_to_heap;
INSERT INTO par VALUES (2, 'x', true);
INSERT INTO par VALUES (2, 'x', false), (9999, 'never stored', true);
-- DELETE checks and follows.
DELETE FROM par WHERE id = 1;
DELETE FROM par WHERE id = 3;
SELECT upsert_json('par', '{"id": 2, "__DORIS_DELETE_SIGN__": 1}');
TABLE chi;
TABLE cas;
-- Where no trigger would run anyway, and once nobody refers to the table.
SET session_replication_role = replica;
INSERT INTO par VALUES (4, 'x', true);
RESET session_replication_role;
INSERT INTO par VALUES (5, 'x', true);
DROP TABLE chi, cas;
INSERT INTO par VALUES (5, 'x', true);
SELECT count(*), min(id) FROM par;

-- Deferred foreign keys of rows that are replaced, kept, deleted by a sign, folded.
CREATE TABLE target (id int PRIMARY KEY);
INSERT INTO target VALUES (1), (2);
CREATE TABLE source (k int, f int REFERENCES target DEFERRABLE INITIALLY DEFERRED, s int, gone bool)
  WITH (unique_key = 'k', sequence = 's', delete_sign = 'gone');
BEGIN;
INSERT INTO source VALUES (1, 9, 1);
INSERT INTO source VALUES (1, 1, 2);
COMMIT;
INSERT INTO source VALUES (1, 9, 1);
INSERT INTO source VALUES (1, 9, 3);
BEGIN;
INSERT INTO source VALUES (1, 9, 4);
INSERT INTO source VALUES (1, NULL, 5, true);
COMMIT;
BEGIN;
INSERT INTO source VALUES (2, 2, 10);
INSERT INTO source VALUES (2, 9, 5) RETURNING *;
SAVEPOINT s;
INSERT INTO source VALUES (2, 9, 6);
ROLLBACK TO s;
DELETE FROM source WHERE k = 2;
COMMIT;
SELECT * FROM source ORDER BY k;
CREATE TABLE folded (k int, s int REFERENCES target DEFERRABLE INITIALLY DEFERRED) WITH (aggregate_key = 'k', sum = 's');
BEGIN;
INSERT INTO folded VALUES (1, 9);
INSERT INTO folded VALUES (1, -8);
COMMIT;
INSERT INTO folded VALUES (1, 2);
TABLE folded;
