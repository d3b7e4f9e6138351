-- Mirrors follow the DDL of their sources at the next change.
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
SELECT doris.drop_sync('ddl');
DROP SCHEMA cdc_ddl CASCADE;
