-- Mirrors follow the DDL of their sources: at the next change, or when nothing else is to be applied.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc_ddl;
SET search_path = cdc_ddl;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE t (id int PRIMARY KEY, a varchar(5), b int);
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2);
SELECT doris.sync_table('t', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
-- Columns added, with and without a constant default.
ALTER TABLE t ADD COLUMN c int DEFAULT 42, ADD COLUMN d mood;
INSERT INTO t VALUES (3, 'three', 3, 3, 'glad');
SELECT doris.wait_for_sync('ddl');
SELECT * FROM t_mirror ORDER BY id;
-- A rename, a drop, a wider type: no row was rewritten.
ALTER TABLE t RENAME COLUMN a TO name;
ALTER TABLE t DROP COLUMN b;
ALTER TABLE t ALTER COLUMN name TYPE varchar(20);
UPDATE t SET name = 'a longer name' WHERE id = 1;
SELECT doris.wait_for_sync('ddl');
SELECT * FROM t_mirror ORDER BY id;
SELECT copies FROM doris.sync_tables WHERE sync = 'ddl';
-- DDL and rows in one transaction, in between.
BEGIN;
INSERT INTO t (id, name) VALUES (4, 'before');
ALTER TABLE t ADD COLUMN e text;
INSERT INTO t (id, name, e) VALUES (5, 'after', 'e');
COMMIT;
SELECT doris.wait_for_sync('ddl');
SELECT * FROM t_mirror ORDER BY id;
SELECT copies FROM doris.sync_tables WHERE sync = 'ddl';
-- A rewrite computed values that the stream does not carry: the mirror is filled again.
ALTER TABLE t ALTER COLUMN c TYPE text USING 'c' || c;
UPDATE t SET e = 'x' WHERE id = 2;
SELECT doris.wait_for_sync('ddl');
SELECT * FROM t_mirror ORDER BY id;
SELECT copies FROM doris.sync_tables WHERE sync = 'ddl';
-- A volatile default.
CREATE SEQUENCE s;
ALTER TABLE t ADD COLUMN f int DEFAULT nextval('s');
UPDATE t SET e = 'y' WHERE id = 2;
SELECT doris.wait_for_sync('ddl');
SELECT count(*) FROM (TABLE t EXCEPT TABLE t_mirror) d;
-- A mirror that was dropped pauses; the others go on.
CREATE TABLE u (id int PRIMARY KEY);
SELECT doris.sync_table('u', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
DROP TABLE u_mirror;
INSERT INTO u VALUES (1);
INSERT INTO t (id) VALUES (6);
SELECT doris.wait_for_sync('ddl');
SELECT count(*) FROM t_mirror;
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'ddl' ORDER BY source;
SELECT doris.unsync_table('u');
-- Several changes before the mirror has seen the first: it knows by their numbers which columns are meant.
CREATE TABLE late (id int PRIMARY KEY, a text, b int, c text);
INSERT INTO late SELECT i, 'a' || i, i, 'c' || i FROM generate_series(1, 5) i;
SELECT doris.sync_table('late', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
SELECT doris.pause_sync('ddl');
UPDATE late SET b = -1 WHERE id = 1;
ALTER TABLE late RENAME a TO x;
UPDATE late SET x = 'renamed' WHERE id = 2;
ALTER TABLE late RENAME x TO y;
ALTER TABLE late ADD a text DEFAULT 'new';
UPDATE late SET a = 'newer' WHERE id = 3;
ALTER TABLE late RENAME b TO w;
ALTER TABLE late RENAME c TO b;
ALTER TABLE late RENAME w TO c;
UPDATE late SET b = 'was c', c = -4 WHERE id = 4;
INSERT INTO late (id) VALUES (6);
SELECT doris.resume_sync('ddl');
SELECT doris.wait_for_sync('ddl');
SELECT * FROM late_mirror ORDER BY id;
(TABLE late EXCEPT ALL TABLE late_mirror) UNION ALL (TABLE late_mirror EXCEPT ALL TABLE late);
SELECT copies FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%late%';
-- A column that was dropped and added by the same name is another one.
SELECT doris.pause_sync('ddl');
UPDATE late SET a = 'before' WHERE id IN (1, 2);
ALTER TABLE late DROP a;
ALTER TABLE late ADD a text DEFAULT 'again';
UPDATE late SET a = 'after' WHERE id = 2;
SELECT doris.resume_sync('ddl');
SELECT doris.wait_for_sync('ddl');
(TABLE late EXCEPT ALL TABLE late_mirror) UNION ALL (TABLE late_mirror EXCEPT ALL TABLE late);
SELECT copies FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%late%';
-- One that came and went.
SELECT doris.pause_sync('ddl');
ALTER TABLE late ADD d int DEFAULT 1;
UPDATE late SET d = 2 WHERE id = 1;
ALTER TABLE late DROP d, DROP y;
UPDATE late SET a = 'last' WHERE id = 1;
SELECT doris.resume_sync('ddl');
SELECT doris.wait_for_sync('ddl');
SELECT * FROM late_mirror ORDER BY id;
(TABLE late EXCEPT ALL TABLE late_mirror) UNION ALL (TABLE late_mirror EXCEPT ALL TABLE late);
-- The table has another name.
ALTER TABLE late RENAME TO later;
UPDATE later SET a = 'renamed' WHERE id = 3;
SELECT doris.wait_for_sync('ddl');
SELECT source, target, state FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%late%';
-- Another key: what two rows of the source have in common must not be the key of one row of the mirror.
CREATE TABLE k (id int PRIMARY KEY, day int NOT NULL, v text);
CREATE TABLE kf (id int PRIMARY KEY, v text);
ALTER TABLE kf REPLICA IDENTITY FULL;
CREATE TABLE kn (id int PRIMARY KEY, day int NOT NULL, v text);
INSERT INTO k VALUES (1, 1, 'one');
INSERT INTO kf VALUES (1, 'one');
INSERT INTO kn VALUES (1, 1, 'one');
SELECT doris.sync_table('k', options => '{"sync": "ddl"}');
SELECT doris.sync_table('kf', options => '{"sync": "ddl"}');
SELECT doris.sync_table('kn', options => '{"sync": "ddl", "model": "none"}');
SELECT doris.wait_for_sync('ddl');
UPDATE k SET v = 'changed';
UPDATE kf SET v = 'changed';
UPDATE kn SET v = 'changed';
SELECT doris.wait_for_sync('ddl');
ALTER TABLE k DROP CONSTRAINT k_pkey, ADD PRIMARY KEY (day, id);
ALTER TABLE kf DROP CONSTRAINT kf_pkey;
-- The same key by another constraint.
ALTER TABLE kn DROP CONSTRAINT kn_pkey;
ALTER TABLE kn RENAME id TO number;
ALTER TABLE kn ADD PRIMARY KEY (number);
INSERT INTO k VALUES (1, 2, 'two');
INSERT INTO kf VALUES (1, 'two');
INSERT INTO kn VALUES (2, 2, 'two');
UPDATE kn SET number = 3 WHERE number = 1;
SELECT doris.wait_for_sync('ddl');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%k%' ORDER BY source;
TABLE k_mirror;
TABLE kf_mirror;
SELECT * FROM kn_mirror ORDER BY number;
SELECT doris.resync('ddl', 'kf');
SELECT doris.unsync_table('k');
SELECT doris.sync_table('k', 'k_again', options => '{"sync": "ddl"}');
ALTER TABLE kf ADD PRIMARY KEY (v);
DO $$ BEGIN
  FOR i IN 1..600 LOOP
    EXIT WHEN (SELECT state = 'paused' FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%kf%');
    PERFORM pg_sleep(0.1);
  END LOOP;
END $$;
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%k%' ORDER BY source;
SELECT doris.wait_for_sync('ddl');
SELECT * FROM k_again ORDER BY day;
SELECT doris.unsync_table('kf');
-- A key that is checked when transactions end does not tell rows apart in between.
CREATE TABLE kd (id int PRIMARY KEY DEFERRABLE, v text);
SELECT doris.sync_table('kd', options => '{"sync": "ddl"}');
ALTER TABLE kd REPLICA IDENTITY FULL;
INSERT INTO kd SELECT i, 'v' || i FROM generate_series(1, 5) i;
SELECT doris.sync_table('kd', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
UPDATE kd SET id = id + 1;
SELECT doris.wait_for_sync('ddl');
SELECT * FROM kd_mirror ORDER BY id;
-- No change follows: whoever waits finds the columns that the source has.
CREATE TABLE idle (id int PRIMARY KEY, a varchar(5), b int, c text);
INSERT INTO idle VALUES (1, 'one', 1, 'c'), (2, 'two', 2, 'c');
CREATE TABLE idle_parts (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE idle_0 PARTITION OF idle_parts DEFAULT;
INSERT INTO idle_parts VALUES (1, 1, 'one');
SELECT doris.sync_table('idle', options => '{"sync": "ddl"}');
SELECT doris.sync_table('idle_parts', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
ALTER TABLE idle ADD COLUMN d int DEFAULT 42, DROP COLUMN b;
ALTER TABLE idle RENAME COLUMN a TO e;
ALTER TABLE idle RENAME COLUMN c TO a;
ALTER TABLE idle ALTER COLUMN e TYPE varchar(20);
ALTER TABLE idle_parts ADD COLUMN w int DEFAULT 7, DROP COLUMN v;
SELECT doris.wait_for_sync('ddl');
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'idle_mirror'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname;
SELECT id, a, e, d FROM idle_mirror ORDER BY id;
SELECT id, day, w FROM idle_parts_mirror;
-- A partition that was made since has no rows from before.
SELECT doris.pause_sync('ddl');
ALTER TABLE idle_parts ADD COLUMN x int DEFAULT 8;
CREATE TABLE idle_1 PARTITION OF idle_parts FOR VALUES IN (11);
INSERT INTO idle_parts (id, day, w) VALUES (2, 11, 1);
SELECT doris.resume_sync('ddl');
SELECT doris.wait_for_sync('ddl');
SELECT id, day, w, x FROM idle_parts_mirror ORDER BY id;
-- A domain's default is not what old rows have.
CREATE DOMAIN seven AS int DEFAULT 7;
CREATE TABLE domains (id int PRIMARY KEY);
INSERT INTO domains VALUES (1);
SELECT doris.sync_table('domains', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
ALTER TABLE domains ADD x seven DEFAULT NULL, ADD y seven;
SELECT doris.wait_for_sync('ddl');
(TABLE domains EXCEPT TABLE domains_mirror) UNION ALL (TABLE domains_mirror EXCEPT TABLE domains);
-- Changes and columns, in turn.
INSERT INTO idle (id, a, e, d) VALUES (3, 'was c', 'was a', 3);
ALTER TABLE idle ADD COLUMN f text;
SELECT doris.wait_for_sync('ddl');
UPDATE idle SET f = 'f' WHERE id = 1;
ALTER TABLE idle DROP COLUMN f, DROP COLUMN d;
SELECT doris.wait_for_sync('ddl');
SELECT id, a, e FROM idle_mirror ORDER BY id;
SELECT count(*) FROM pg_attribute WHERE attrelid = 'idle_mirror'::regclass AND attnum > 0 AND NOT attisdropped;
-- What becomes of a key is told by the next change.
ALTER TABLE idle DROP COLUMN id;
SELECT doris.wait_for_sync('ddl');
SELECT id, a, e FROM idle_mirror ORDER BY id;
-- A mirror whose column somebody needs keeps its table back, and no other.
CREATE TABLE needed (id int PRIMARY KEY, a int, b int);
INSERT INTO needed VALUES (1, 1, 1);
SELECT doris.sync_table('needed', options => '{"sync": "ddl"}');
SELECT doris.wait_for_sync('ddl');
CREATE VIEW needs AS SELECT b FROM needed_mirror;
ALTER TABLE needed DROP COLUMN b;
SELECT doris.wait_for_sync('ddl', timeout => '60 s');
SELECT state, split_part(last_error, ';', 1) FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%needed%';
SELECT source, state, copies FROM doris.sync_tables WHERE sync = 'ddl' AND source LIKE '%idle%' ORDER BY source;
SELECT doris.drop_sync('ddl');
DROP SCHEMA cdc_ddl CASCADE;
