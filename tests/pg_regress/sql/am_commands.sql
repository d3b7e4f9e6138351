-- Commands beside DML on segment rows: what is kept of constraints, indexes, rules and settings, and what VACUUM notes.
CREATE SCHEMA am_commands;
SET search_path = am_commands, public;
SET doris.rows_to_heap = 0;

-- VACUUM FREEZE takes the table and its TOAST relation to the present.
CREATE TABLE frozen (id int, note text) USING doris;
INSERT INTO frozen SELECT g, g FROM generate_series(1, 3000) g;
DELETE FROM frozen WHERE id <= 10;
SELECT count(*) FROM (SELECT * FROM frozen WHERE id = 11 FOR UPDATE) x;
VACUUM (FREEZE) frozen;
SELECT c.relkind, age(c.relfrozenxid) < 20 AS frozen, mxid_age(c.relminmxid) < 20 AS no_multixacts
FROM pg_class t JOIN pg_class c ON c.oid IN (t.oid, t.reltoastrelid) WHERE t.oid = 'frozen'::regclass ORDER BY 1;
SELECT count(*), sum(id) FROM frozen;

-- SET ACCESS METHOD keeps constraints, indexes and computed columns, both ways.
CREATE TABLE parent (id int PRIMARY KEY) USING doris;
INSERT INTO parent SELECT generate_series(1, 100);
CREATE TABLE moved (
  id int PRIMARY KEY, p int REFERENCES parent, u text UNIQUE DEFERRABLE, doubled int GENERATED ALWAYS AS (id * 2) STORED,
  during int4range, tags int[], CHECK (id > 0), EXCLUDE USING gist (during WITH &&)) USING heap;
CREATE INDEX moved_tags ON moved USING gin (tags);
CREATE INDEX moved_hash ON moved USING hash (u);
CREATE INDEX moved_part ON moved (p) WHERE id % 2 = 0;
CREATE TABLE child (id int REFERENCES moved) USING doris;
INSERT INTO moved (id, p, u, during, tags) SELECT g, g, 'u' || g, int4range(g * 10, g * 10 + 5), ARRAY[g % 7, 1000 + g] FROM generate_series(1, 100) g;
INSERT INTO child SELECT generate_series(1, 50);
CREATE FUNCTION tried(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN integrity_constraint_violation THEN RETURN SQLSTATE || ': ' || SQLERRM; END $$;
CREATE VIEW holds AS SELECT tried(statement) FROM (VALUES
  ('INSERT INTO moved (id) VALUES (5)'), ('INSERT INTO moved (id) VALUES (-5)'), ('INSERT INTO moved (id, p) VALUES (500, 500)'),
  ('INSERT INTO moved (id, u) VALUES (500, ''u7''); SET CONSTRAINTS ALL IMMEDIATE'), ('INSERT INTO moved (id, during) VALUES (500, ''[101,102]'')'),
  ('DELETE FROM moved WHERE id = 7'), ('DELETE FROM parent WHERE id = 7'), ('UPDATE moved SET id = 8 WHERE id = 9')) v(statement);
CREATE VIEW found AS SELECT (SELECT count(*) FROM moved WHERE tags @> '{3}') AS gin, (SELECT id FROM moved WHERE u = 'u42') AS hash,
  (SELECT doubled FROM moved WHERE p = 44 AND id % 2 = 0) AS part, (SELECT id FROM moved WHERE during @> 424) AS gist, (SELECT sum(doubled) FROM moved) AS doubled;
SET enable_seqscan = off;
SELECT * FROM holds;
SELECT * FROM found;
ALTER TABLE moved SET ACCESS METHOD doris;
SELECT * FROM holds;
SELECT * FROM found;
SELECT * FROM doris.verify('moved');
ALTER TABLE moved SET ACCESS METHOD heap;
SELECT * FROM holds;
SELECT * FROM found;
ALTER TABLE moved SET ACCESS METHOD doris;
SELECT * FROM found;
SELECT conname, contype, convalidated FROM pg_constraint WHERE conrelid = 'moved'::regclass AND contype <> 'n' ORDER BY 1;
RESET enable_seqscan;

-- A table with an exclusion constraint gets no segments: the constraint is checked row by row.
CREATE TABLE excluding (id int, during int4range, EXCLUDE USING gist (during WITH &&)) USING doris;
INSERT INTO excluding SELECT g, int4range(g * 10, g * 10 + 5) FROM generate_series(1, 3000) g;
SELECT count(*) AS segments FROM doris.segments_of('excluding');
INSERT INTO excluding VALUES (0, '[1002,1003]');

-- Rules, statistics, constraints that come later, triggers that are off: on segment rows.
CREATE TABLE t (id int, v int, w int) USING doris;
INSERT INTO t SELECT g, g % 10, g % 10 FROM generate_series(1, 3000) g;
CREATE TABLE seen (what text, id int) USING doris;
CREATE RULE noted AS ON DELETE TO t DO ALSO INSERT INTO seen VALUES ('rule', OLD.id);
CREATE RULE kept AS ON UPDATE TO t WHERE OLD.id = 20 DO INSTEAD NOTHING;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES ('trigger', OLD.id); RETURN NULL; END $$;
CREATE TRIGGER told AFTER UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
DELETE FROM t WHERE id = 10;
UPDATE t SET v = 100 WHERE id IN (20, 30);
SELECT what, id FROM seen ORDER BY 1, 2;
SELECT id, v FROM t WHERE id IN (20, 30) ORDER BY 1;
ALTER TABLE t DISABLE TRIGGER told;
UPDATE t SET v = 101 WHERE id = 40;
ALTER TABLE t ENABLE TRIGGER told;
SET session_replication_role = replica;
UPDATE t SET v = 102 WHERE id = 50;
RESET session_replication_role;
ALTER TABLE t ENABLE ALWAYS TRIGGER told;
SET session_replication_role = replica;
UPDATE t SET v = 103 WHERE id = 60;
RESET session_replication_role;
SELECT what, id FROM seen ORDER BY 1, 2;
ALTER TABLE t ADD CONSTRAINT small CHECK (v < 50) NOT VALID;
ALTER TABLE t VALIDATE CONSTRAINT small;
ALTER TABLE t DISABLE RULE kept;
UPDATE t SET v = 1 WHERE v >= 100;
ALTER TABLE t VALIDATE CONSTRAINT small;
SELECT convalidated FROM pg_constraint WHERE conname = 'small' AND conrelid = 't'::regclass;
CREATE STATISTICS vw (dependencies, ndistinct) ON v, w FROM t;
ANALYZE t;
SELECT e.stxname, d.stxdndistinct::text LIKE '%: 1_}' AS ndistinct, d.stxddependencies IS NOT NULL AS dependencies
FROM pg_statistic_ext e JOIN pg_statistic_ext_data d ON d.stxoid = e.oid WHERE e.stxrelid = 't'::regclass;

-- Marks of rows whose numbers lie 33,554,432 apart are filed apart: REINDEX finds no duplicates.
CREATE TABLE apart (k int, v int) USING doris WITH (unique_key = 'k');
CREATE INDEX ON apart (v);
INSERT INTO apart SELECT g, g FROM generate_series(1, 40000) g;
DO $$ BEGIN
  FOR i IN 1..32 LOOP
    BEGIN INSERT INTO apart SELECT g, 1 / (40100 - g) FROM generate_series(40001, 40100) g; EXCEPTION WHEN division_by_zero THEN NULL; END;
  END LOOP;
END $$;
INSERT INTO apart SELECT g, g FROM generate_series(40001, 80000) g;
SELECT max(first_row) - min(first_row) > 33554432 AS apart FROM doris.segments_of('apart');
INSERT INTO apart SELECT g, -g FROM generate_series(1, 80000) g;
SELECT * FROM doris.verify('apart');
REINDEX TABLE apart;
SELECT count(*), sum(v) FROM apart;

DROP SCHEMA am_commands CASCADE;
