-- Syncs of a user's publication: what that leaves out is told, and such mirrors do not answer for their originals.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc_pub;
SET search_path = cdc_pub, public;
CREATE FUNCTION who(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line ~ 'Answered by' THEN RETURN NEXT trim(line); END IF;
  END LOOP;
END $$;
CREATE TABLE whole (id int PRIMARY KEY, v text);
CREATE TABLE few_rows (id int PRIMARY KEY, v text);
CREATE TABLE few_columns (id int PRIMARY KEY, v text, secret text, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE no_key (id int PRIMARY KEY, v text);
INSERT INTO few_rows SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO few_columns SELECT i, 'v' || i, 'secret' FROM generate_series(1, 3) i;
CREATE TABLE log (id int PRIMARY KEY, v text);
INSERT INTO whole VALUES (1, 'one');
INSERT INTO log VALUES (1, 'one');
CREATE PUBLICATION cdc_pub_all FOR TABLE whole, few_rows WHERE (id > 10), few_columns (id);
CREATE PUBLICATION cdc_pub_log FOR TABLE log WITH (publish = 'insert');
CREATE PUBLICATION cdc_pub_bare FOR TABLE no_key (v) WITH (publish = 'insert');
SELECT doris.create_sync('pub', publication => 'cdc_pub_all');
SELECT doris.create_sync('pub_log', publication => 'cdc_pub_log');
SELECT doris.create_sync('pub_bare', publication => 'cdc_pub_bare');
SELECT doris.wait_for_sync('pub');
SELECT doris.wait_for_sync('pub_log');
SELECT doris.wait_for_sync('pub_bare');
SELECT sync, source, state, leaves_out, last_error FROM doris.sync_tables ORDER BY sync, source;
SELECT doris.drop_sync('pub_bare');
-- Rows that meet the publication's condition, and columns that it names.
SELECT count(*), min(id) FROM few_rows_mirror;
SELECT * FROM few_columns_mirror ORDER BY id;
-- An update that takes a row out of the condition, one that takes one into it, one that does neither.
UPDATE few_rows SET id = -id WHERE id = 15;
UPDATE few_rows SET id = id + 20 WHERE id IN (3, 4);
UPDATE few_rows SET v = 'changed' WHERE id IN (8, 18);
DELETE FROM few_rows WHERE id IN (9, 19);
INSERT INTO few_rows VALUES (0, 'small'), (100, 'large');
UPDATE few_columns SET secret = 'other', v = 'changed' WHERE id = 2;
UPDATE few_columns SET id = 30 WHERE id = 3;
SELECT doris.wait_for_sync('pub');
(TABLE few_rows_mirror EXCEPT ALL SELECT * FROM few_rows WHERE id > 10) UNION ALL
  (SELECT * FROM few_rows WHERE id > 10 EXCEPT ALL TABLE few_rows_mirror);
SELECT * FROM few_columns_mirror ORDER BY id;
-- A large value that did not change comes with a row that comes into the condition: it is not in the stream.
INSERT INTO few_rows SELECT -i, string_agg(md5(i::text || n), '') FROM generate_series(1, 2) i, generate_series(1, 200) n GROUP BY i;
UPDATE few_rows SET id = 1000 - id WHERE id < 0;
SELECT doris.wait_for_sync('pub');
(TABLE few_rows_mirror EXCEPT ALL SELECT * FROM few_rows WHERE id > 10) UNION ALL
  (SELECT * FROM few_rows WHERE id > 10 EXCEPT ALL TABLE few_rows_mirror);
SELECT source, state, copies, last_error FROM doris.sync_tables WHERE source LIKE '%few_rows%';
-- Other conditions and columns.
ALTER PUBLICATION cdc_pub_all SET TABLE whole, few_rows WHERE (id <= 10), few_columns (id, secret);
SELECT doris.wait_for_sync('pub');
(TABLE few_rows_mirror EXCEPT ALL SELECT * FROM few_rows WHERE id <= 10) UNION ALL
  (SELECT * FROM few_rows WHERE id <= 10 EXCEPT ALL TABLE few_rows_mirror);
SELECT * FROM few_columns_mirror ORDER BY id;
SELECT source, state, leaves_out, last_error FROM doris.sync_tables WHERE sync = 'pub' ORDER BY source;
-- A partitioned table, as its root.
CREATE TABLE halves (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE halves_0 PARTITION OF halves FOR VALUES IN (0);
CREATE TABLE halves_1 (v text, day int NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));
ALTER TABLE halves ATTACH PARTITION halves_1 FOR VALUES IN (1);
INSERT INTO halves SELECT i, i % 2, 'v' || i FROM generate_series(1, 10) i;
CREATE PUBLICATION cdc_pub_root FOR TABLE halves (id, day) WHERE (id > 5) WITH (publish_via_partition_root = true);
SELECT doris.create_sync('pub_root', publication => 'cdc_pub_root');
SELECT doris.wait_for_sync('pub_root');
UPDATE halves SET id = id + 100 WHERE id IN (1, 2, 7);
INSERT INTO halves VALUES (3, 0, 'no'), (300, 1, 'yes');
SELECT doris.wait_for_sync('pub_root');
SELECT * FROM halves_mirror ORDER BY id;
SELECT doris.drop_sync('pub_root', true);
DROP PUBLICATION cdc_pub_root;
SET doris.use_mirrors = on;
SELECT who('SELECT count(*) FROM whole');
SELECT who('SELECT count(*) FROM log');
-- Only what is published arrives.
INSERT INTO log VALUES (2, 'two');
UPDATE log SET v = 'changed' WHERE id = 1;
DELETE FROM log WHERE id = 2;
SELECT doris.wait_for_sync('pub_log');
SELECT * FROM log_mirror ORDER BY id;
-- A publication that changes: the mirror is filled again, or paused.
ALTER PUBLICATION cdc_pub_log SET (publish = 'insert, update, delete');
SELECT doris.wait_for_sync('pub_log');
SELECT source, state, leaves_out, copies FROM doris.sync_tables WHERE sync = 'pub_log';
SELECT * FROM log_mirror ORDER BY id;
ALTER PUBLICATION cdc_pub_log SET (publish = 'insert, update, delete, truncate');
SELECT doris.wait_for_sync('pub_log');
SELECT source, state, leaves_out, copies FROM doris.sync_tables WHERE sync = 'pub_log';
SELECT who('SELECT count(*) FROM log');
ALTER PUBLICATION cdc_pub_all SET TABLE whole WHERE (id > 10);
SELECT doris.wait_for_sync('pub');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'pub' ORDER BY source;
ALTER PUBLICATION cdc_pub_all SET TABLE few_rows;
SELECT doris.wait_for_sync('pub');
SELECT doris.resync('pub', 'whole');
SELECT doris.wait_for_sync('pub');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'pub' ORDER BY source;
ALTER PUBLICATION cdc_pub_all ADD TABLE whole;
INSERT INTO whole VALUES (2, 'two');
SELECT doris.resync('pub', 'whole');
SELECT doris.wait_for_sync('pub');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'pub' ORDER BY source;
TABLE whole_mirror;
SELECT doris.drop_sync('pub');
SELECT doris.drop_sync('pub_log');
-- A sync's own publication, changed by hand.
SELECT doris.sync_table('whole', 'own', '{"sync": "own"}');
SELECT doris.wait_for_sync('own');
SELECT who('SELECT count(*) FROM whole');
DO $$ BEGIN
  EXECUTE (SELECT format('ALTER PUBLICATION %I SET (publish = ''insert'')', pubname) FROM pg_publication WHERE pubname LIKE 'pg\_doris\_%');
END $$;
SELECT doris.wait_for_sync('own');
SELECT state, leaves_out FROM doris.sync_tables WHERE sync = 'own';
SELECT who('SELECT count(*) FROM whole');
DO $$ BEGIN
  EXECUTE (SELECT format('ALTER PUBLICATION %I DROP TABLE whole', pubname) FROM pg_publication WHERE pubname LIKE 'pg\_doris\_%');
END $$;
SELECT doris.wait_for_sync('own');
SELECT state, last_error FROM doris.sync_tables WHERE sync = 'own';
SELECT who('SELECT count(*) FROM whole');
SELECT doris.drop_sync('own');
-- What is read of the catalogue on the way to an answer is not read with operators of the session's.
SELECT doris.sync_table('whole', 'own', '{"sync": "own", "overwrite": true}');
CREATE ROLE cdc_pub_reader;
CREATE SCHEMA evil AUTHORIZATION cdc_pub_reader;
GRANT USAGE ON SCHEMA cdc_pub TO cdc_pub_reader;
GRANT SELECT ON whole TO cdc_pub_reader;
SELECT doris.wait_for_sync('own');
SET ROLE cdc_pub_reader;
CREATE FUNCTION evil.differs(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN
  RAISE EXCEPTION 'called with the rights of %', current_user;
END$$;
CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.differs);
SET search_path = evil, pg_catalog;
SELECT count(*) FROM cdc_pub.whole;
RESET ROLE;
SET search_path = cdc_pub, public;
SELECT doris.drop_sync('own');
RESET doris.use_mirrors;
DROP PUBLICATION cdc_pub_all, cdc_pub_log, cdc_pub_bare;
DROP SCHEMA cdc_pub, evil CASCADE;
DROP ROLE cdc_pub_reader;
