-- Key models and privileges: what INSERT allows, row security, views with a check option.
CREATE SCHEMA keyed_privileges;
SET search_path = keyed_privileges, doris, public;
SET default_table_access_method = doris;
CREATE ROLE keyed_alice;
CREATE ROLE keyed_bob;
GRANT USAGE ON SCHEMA keyed_privileges, doris TO keyed_alice, keyed_bob;

-- INSERT is the privilege to upsert, delete signs too; it lets nobody read, update or delete by statements.
CREATE TABLE loaded (k int, a text, b text, at int, gone bool DEFAULT false)
  WITH (unique_key = 'k', sequence = 'at', delete_sign = 'gone');
INSERT INTO loaded VALUES (1, 'a', 'secret', 1), (2, 'a', 'secret', 1);
GRANT INSERT ON loaded TO keyed_bob;
SET ROLE keyed_bob;
INSERT INTO loaded (k, a, b, at) VALUES (1, 'b', 'c', 2), (3, 'b', 'c', 2);
INSERT INTO loaded VALUES (2, 'b', 'c', 2, true);
SET doris.partial_update = on;
INSERT INTO loaded (k, a) VALUES (1, 'd');
INSERT INTO loaded (k, a) VALUES (1, 'd') RETURNING b;
RESET doris.partial_update;
INSERT INTO loaded VALUES (1, 'b', 'c', 2) ON CONFLICT (k) DO UPDATE SET a = 'e';
UPDATE loaded SET a = 'e';
DELETE FROM loaded;
TABLE loaded;
SELECT doris.upsert_json('loaded', '[{"k": 1, "a": "json"}]');
SELECT doris.upsert_json('loaded', '[{"k": 1, "__DORIS_DELETE_SIGN__": 1}]');
RESET ROLE;
TABLE loaded;
-- Of some columns: the others are kept by a partial update, and defaults without it.
REVOKE INSERT ON loaded FROM keyed_bob;
GRANT INSERT (k, a) ON loaded TO keyed_bob;
SET ROLE keyed_bob;
SET doris.partial_update = on;
INSERT INTO loaded (k, a) VALUES (1, 'column');
INSERT INTO loaded (k, b) VALUES (1, 'column');
COPY loaded (k, a) FROM stdin;
1	copied
\.
\copy loaded (k, b) from /dev/null
RESET doris.partial_update;
RESET ROLE;
TABLE loaded;

-- Row security: INSERT neither replaces, nor deletes, nor shows a stored row; keys without one are inserted.
CREATE TABLE notes (id int, owner text, body text DEFAULT '-', gone bool DEFAULT false)
  WITH (unique_key = 'id', delete_sign = 'gone');
SET doris.rows_to_heap = 0;
INSERT INTO notes SELECT g, 'keyed_alice', 'secret ' || g FROM generate_series(1, 5000) g;
RESET doris.rows_to_heap;
INSERT INTO notes VALUES (0, 'keyed_alice', 'secret 0'), (6000, 'keyed_bob', 'own');
SELECT sum(rows) AS in_segments FROM doris.segments WHERE "table" = 'notes'::regclass;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO keyed_bob;
SET ROLE keyed_bob;
TABLE notes;
INSERT INTO notes VALUES (0, 'keyed_bob', 'taken');
INSERT INTO notes VALUES (1, 'keyed_bob', 'taken');
INSERT INTO notes VALUES (0, 'keyed_bob', '', true);
INSERT INTO notes VALUES (1, 'keyed_bob', '', true);
INSERT INTO notes SELECT g, 'keyed_bob', 'taken' FROM generate_series(4900, 9000) g;
SET doris.partial_update = on;
INSERT INTO notes (id, owner) VALUES (0, 'keyed_bob') RETURNING body;
INSERT INTO notes (id, owner) VALUES (1, 'keyed_bob') RETURNING body;
SELECT doris.upsert_json('notes', '[{"id": 1, "owner": "keyed_bob"}]');
SELECT doris.upsert_json('notes', '[{"id": 1, "__DORIS_DELETE_SIGN__": 1}]');
RESET doris.partial_update;
MERGE INTO notes n USING (VALUES (1)) v (id) ON n.id = v.id
  WHEN NOT MATCHED THEN INSERT (id, owner, body) VALUES (v.id, 'keyed_bob', 'taken');
WITH i AS (INSERT INTO notes VALUES (1, 'keyed_bob', 'taken') RETURNING *) SELECT 1;
\copy notes from /dev/null
-- A row of one's own has to be updated, too.
INSERT INTO notes VALUES (6000, 'keyed_bob', 'again');
INSERT INTO notes VALUES (6000, 'keyed_bob', 'conflict') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO notes VALUES (1, 'keyed_bob', 'conflict') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO notes VALUES (1, 'keyed_bob', 'conflict') ON CONFLICT DO NOTHING;
-- New keys.
INSERT INTO notes VALUES (6001, 'keyed_bob', 'new') RETURNING *;
INSERT INTO notes SELECT g, 'keyed_bob', 'many' FROM generate_series(7000, 9999) g;
INSERT INTO notes VALUES (6002, 'keyed_alice', 'not mine');
SELECT owner, count(*) FROM notes GROUP BY owner;
DELETE FROM notes WHERE id >= 7000;
-- Twice in a statement, and after a savepoint.
INSERT INTO notes VALUES (6003, 'keyed_bob', 'one'), (6003, 'keyed_bob', 'two');
BEGIN;
SAVEPOINT s;
INSERT INTO notes VALUES (6003, 'keyed_bob', 'one');
ROLLBACK TO s;
INSERT INTO notes VALUES (1, 'keyed_bob', 'taken');
ROLLBACK;
PREPARE put(int) AS INSERT INTO notes VALUES ($1, 'keyed_bob', 'prepared');
RESET ROLE;
SELECT owner, count(*), min(body), max(body) FROM notes GROUP BY owner ORDER BY owner;
-- The table's owner is not held back; nor is the plan of another user. A function of the owner's may write for others.
EXECUTE put(1);
SELECT * FROM notes WHERE id = 1;
CREATE FUNCTION put_note(int) RETURNS void LANGUAGE sql SECURITY DEFINER
  AS $$ INSERT INTO keyed_privileges.notes VALUES ($1, 'keyed_alice', 'by function') $$;
SET ROLE keyed_bob;
SELECT put_note(1);
EXECUTE put(2);
RESET ROLE;
SELECT * FROM notes WHERE id IN (1, 2) ORDER BY id;
ALTER TABLE notes OWNER TO keyed_alice;
SET ROLE keyed_alice;
INSERT INTO notes VALUES (2, 'keyed_alice', 'by owner');
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
INSERT INTO notes VALUES (2, 'keyed_alice', 'forced');
RESET ROLE;
SELECT * FROM notes WHERE id = 2;
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
SET ROLE keyed_bob;
INSERT INTO notes VALUES (2, 'keyed_bob', 'no row security');
RESET ROLE;
SELECT * FROM notes WHERE id = 2;

-- A policy that lets everything in.
CREATE TABLE open (k int, v bigint) WITH (aggregate_key = 'k', sum = 'v');
INSERT INTO open VALUES (1, 100);
ALTER TABLE open ENABLE ROW LEVEL SECURITY;
CREATE POLICY blind ON open FOR SELECT USING (false);
CREATE POLICY all_in ON open FOR INSERT WITH CHECK (true);
GRANT SELECT, INSERT ON open TO keyed_bob;
SET ROLE keyed_bob;
INSERT INTO open VALUES (1, 1);
INSERT INTO open VALUES (2, 2);
RESET ROLE;
SELECT * FROM open ORDER BY k;

-- Through a partitioned table, whose policies count.
CREATE TABLE parts (k int, owner text, body text) PARTITION BY RANGE (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100) WITH (unique_key = 'k');
INSERT INTO parts VALUES (1, 'keyed_alice', 'secret');
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parts USING (owner = current_user);
GRANT SELECT, INSERT ON parts, parts_1 TO keyed_bob;
SET ROLE keyed_bob;
INSERT INTO parts VALUES (1, 'keyed_bob', 'taken');
INSERT INTO parts VALUES (2, 'keyed_bob', 'new');
TABLE parts;
RESET ROLE;

-- Views: their owner's rights and policies count, and the check option holds for the row that is stored.
CREATE TABLE tickets (id int, owner text, status text, gone bool DEFAULT false)
  WITH (unique_key = 'id', delete_sign = 'gone');
CREATE VIEW of_bob AS SELECT * FROM tickets WHERE owner = 'keyed_bob' WITH CHECK OPTION;
GRANT SELECT, INSERT ON of_bob TO keyed_bob;
INSERT INTO tickets VALUES (1, 'keyed_alice', 'new'), (2, 'keyed_bob', 'new');
SET doris.rows_to_heap = 0;
INSERT INTO tickets SELECT g, 'keyed_alice', 'new' FROM generate_series(100, 3000) g;
SET ROLE keyed_bob;
INSERT INTO tickets VALUES (3, 'keyed_bob', 'direct');
INSERT INTO of_bob VALUES (3, 'keyed_alice', 'other');
SET doris.partial_update = on;
INSERT INTO of_bob (id, status) VALUES (2, 'changed') RETURNING *;
INSERT INTO of_bob (id, status) VALUES (1, 'changed');
INSERT INTO of_bob (id, status) SELECT g, 'changed' FROM generate_series(100, 3000) g;
INSERT INTO of_bob (id, status) VALUES (4, 'changed');
RESET doris.partial_update;
RESET doris.rows_to_heap;
RESET ROLE;
SELECT owner, status, count(*) FROM tickets GROUP BY owner, status ORDER BY owner, status;
CREATE TABLE totals (k int, v bigint) WITH (aggregate_key = 'k', sum = 'v');
CREATE VIEW small AS SELECT * FROM totals WHERE v < 100 WITH CHECK OPTION;
INSERT INTO totals VALUES (1, 90);
INSERT INTO small VALUES (1, 5);
INSERT INTO small VALUES (1, 50);
SET doris.rows_to_heap = 0;
INSERT INTO small SELECT g % 3, 1 FROM generate_series(1, 5000) g;
RESET doris.rows_to_heap;
TABLE totals;

-- Row security on a table below a view: for the view's owner, or for who uses it.
ALTER VIEW of_bob OWNER TO keyed_alice;
GRANT SELECT, INSERT ON tickets TO keyed_alice, keyed_bob;
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON tickets USING (owner = 'keyed_bob');
SET ROLE keyed_bob;
INSERT INTO of_bob VALUES (1, 'keyed_bob', 'by view');
INSERT INTO of_bob VALUES (5, 'keyed_bob', 'by view');
RESET ROLE;
ALTER VIEW of_bob OWNER TO postgres;
SET ROLE keyed_bob;
INSERT INTO of_bob VALUES (1, 'keyed_bob', 'by view');
RESET ROLE;
SELECT * FROM tickets WHERE id < 10 ORDER BY id;

-- What is not one's own is refused.
SET ROLE keyed_bob;
CREATE UNIQUE INDEX mine ON loaded (k) NULLS NOT DISTINCT;
DROP INDEX loaded_key_idx;
ALTER TABLE loaded ALTER k TYPE bigint;
RESET ROLE;

-- Who may not write a table locks nothing by rows as JSON.
CREATE TABLE closed (k int, v int) PARTITION BY LIST (k);
CREATE TABLE closed_1 PARTITION OF closed FOR VALUES IN (1) WITH (unique_key = 'k');
SET ROLE keyed_bob;
BEGIN;
SAVEPOINT s;
SELECT doris.upsert_json('closed', '[]');
ROLLBACK TO s;
SELECT doris.upsert_json('closed_1', '{"k": 1}');
ROLLBACK;
RESET ROLE;
GRANT DELETE ON closed TO keyed_bob;
SET ROLE keyed_bob;
SELECT doris.upsert_json('closed', '[]');
SELECT doris.upsert_json('closed', '{"k": 1, "v": 1}');
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA keyed_privileges CASCADE;
REVOKE USAGE ON SCHEMA doris FROM keyed_alice, keyed_bob;
DROP ROLE keyed_alice, keyed_bob;
