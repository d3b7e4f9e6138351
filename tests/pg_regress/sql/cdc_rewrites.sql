-- Sources that are written anew: what the stream does not tell of fills the mirror again, the rest does not.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc_rewrites;
SET search_path = cdc_rewrites, public;
-- After waiting: how often the mirror was filled since the last call, and how its rows differ from the source's.
CREATE TABLE seen (source text PRIMARY KEY, copies int);
CREATE PROCEDURE look(source regclass, INOUT filled int DEFAULT 0, INOUT differ bigint DEFAULT 0) LANGUAGE plpgsql AS $$
DECLARE now int;
BEGIN
  PERFORM doris.wait_for_sync('rewrites', timeout => '60 s');
  SELECT t.copies INTO now FROM doris.sync_tables t WHERE t.sync = 'rewrites' AND to_regclass(t.source) = look.source;
  filled := now - COALESCE((SELECT s.copies FROM seen s WHERE s.source = look.source::text), 0);
  INSERT INTO seen VALUES (source::text, now) ON CONFLICT ON CONSTRAINT seen_pkey DO UPDATE SET copies = now;
  COMMIT;
  EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL TABLE %1$s_mirror) UNION ALL (TABLE %1$s_mirror EXCEPT ALL TABLE %1$s)) d', source) INTO differ;
END $$;
CREATE TABLE t (id int PRIMARY KEY, c int NOT NULL, v text);
INSERT INTO t SELECT i, i, 'v' || i FROM generate_series(1, 1000) i;
SELECT doris.sync_table('t', options => '{"sync": "rewrites"}');
CALL look('t');
-- Other values in columns that look as before, and no change after it.
ALTER TABLE t ALTER c TYPE int USING c + 1;
CALL look('t');
-- The same with changes after it, before it in its transaction, and by a session that skips triggers.
BEGIN;
UPDATE t SET v = 'before' WHERE id = 1;
ALTER TABLE t ALTER c TYPE int USING c + 1, ALTER v TYPE text USING upper(v);
INSERT INTO t VALUES (1001, 1, 'after');
COMMIT;
INSERT INTO t VALUES (1002, 1, 'later');
CALL look('t');
SET session_replication_role = replica;
ALTER TABLE t ALTER c TYPE int USING -c;
RESET session_replication_role;
CALL look('t');
-- A column with a volatile default.
CREATE SEQUENCE s;
ALTER TABLE t ADD COLUMN n bigint DEFAULT nextval('s');
CALL look('t');
-- What changes no value, or is in the stream, fills nothing.
ALTER TABLE t ALTER n SET NOT NULL, ALTER c SET DEFAULT 7;
CALL look('t');
VACUUM FULL t;
CALL look('t');
CLUSTER t USING t_pkey;
UPDATE t SET c = 0 WHERE id < 10;
CALL look('t');
TRUNCATE t;
INSERT INTO t (id) SELECT generate_series(1, 500);
CALL look('t');
BEGIN;
ALTER TABLE t ALTER c TYPE int USING c + 1;
ROLLBACK;
CALL look('t');
REINDEX TABLE t;
ALTER TABLE t RENAME v TO w;
CALL look('t');
VACUUM FULL t;
CALL look('t');
-- Partitions that are created where they are bring nothing that is not told.
CREATE TABLE p (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE p_0 PARTITION OF p FOR VALUES IN (0);
CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
INSERT INTO p SELECT i, i % 2, 'v' || i FROM generate_series(1, 1000) i;
SELECT doris.sync_table('p', options => '{"sync": "rewrites"}');
CALL look('p');
BEGIN;
CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2);
INSERT INTO p VALUES (1, 2, 'born');
COMMIT;
CREATE TABLE p_3 PARTITION OF p FOR VALUES IN (3) PARTITION BY LIST (id);
CREATE TABLE p_3_1 PARTITION OF p_3 FOR VALUES IN (1);
INSERT INTO p VALUES (1, 3, 'born');
CALL look('p');
-- Those that are attached do, whether with their table or in its transaction.
CREATE TABLE a (id int NOT NULL, day int NOT NULL, v text, PRIMARY KEY (id, day));
INSERT INTO a VALUES (1, 4, 'attached');
ALTER TABLE p ATTACH PARTITION a FOR VALUES IN (4);
CALL look('p');
BEGIN;
CREATE TABLE b (LIKE p INCLUDING INDEXES);
INSERT INTO b VALUES (1, 5, 'attached');
ALTER TABLE p ATTACH PARTITION b FOR VALUES IN (5);
COMMIT;
CALL look('p');
CREATE TABLE c (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (id);
CREATE TABLE c_1 PARTITION OF c FOR VALUES IN (1);
INSERT INTO c VALUES (1, 6, 'attached');
ALTER TABLE p ATTACH PARTITION c FOR VALUES IN (6);
CALL look('p');
-- One that is empty does not, whatever is written to it then.
CREATE TABLE e (LIKE p INCLUDING INDEXES);
ALTER TABLE p ATTACH PARTITION e FOR VALUES IN (7);
CALL look('p');
INSERT INTO p VALUES (1, 7, 'later');
CALL look('p');
-- Those that go take rows along: they are deleted, up to the last one written.
BEGIN;
INSERT INTO p SELECT i, 4, 'before it goes' FROM generate_series(100, 200) i;
ALTER TABLE p DETACH PARTITION a;
COMMIT;
CALL look('p');
DROP TABLE b;
CALL look('p');
-- With all that is below them.
DROP TABLE c;
CALL look('p');
-- One that goes as another comes.
BEGIN;
DROP TABLE e;
CREATE TABLE p_8 PARTITION OF p FOR VALUES IN (8);
INSERT INTO p VALUES (1, 8, 'in its stead');
COMMIT;
CALL look('p');
-- One that takes its place has rows that are not told from its own.
BEGIN;
DROP TABLE p_8;
CREATE TABLE p_8 PARTITION OF p FOR VALUES IN (8);
INSERT INTO p VALUES (2, 8, 'in its place');
COMMIT;
CALL look('p');
-- One that came and went between two looks has left rows in the stream.
BEGIN;
CREATE TABLE p_9 PARTITION OF p FOR VALUES IN (9);
INSERT INTO p SELECT i, 9, 'passing' FROM generate_series(1, 100) i;
DROP TABLE p_9;
COMMIT;
CALL look('p');
-- What is written to one while it is detached is not in the stream.
BEGIN;
ALTER TABLE p DETACH PARTITION p_8;
UPDATE p_8 SET v = 'written apart';
ALTER TABLE p ATTACH PARTITION p_8 FOR VALUES IN (8);
COMMIT;
CALL look('p');
-- The condition of one that goes is by the names its columns have.
ALTER TABLE p RENAME v TO w;
ALTER TABLE p RENAME id TO v;
ALTER TABLE p RENAME w TO id;
INSERT INTO p VALUES (3, 8, 'renamed');
CALL look('p');
CREATE TABLE p_10 PARTITION OF p FOR VALUES IN (10);
INSERT INTO p VALUES (1, 10, 'short-lived');
CALL look('p');
DROP TABLE p_10;
CALL look('p');
ALTER TABLE p RENAME id TO w;
ALTER TABLE p RENAME v TO id;
ALTER TABLE p RENAME w TO v;
INSERT INTO p VALUES (4, 8, 'renamed');
CALL look('p');
-- A partition that is emptied by itself, and one that is written anew, look the same.
TRUNCATE p_1;
CALL look('p');
VACUUM FULL p_0;
CALL look('p');
ALTER TABLE p ALTER v TYPE text USING v || '!';
CALL look('p');
TRUNCATE p;
INSERT INTO p VALUES (5, 1, 'again');
CALL look('p');
-- Rows of one that goes may be in the default partition by then.
CREATE TABLE p_d PARTITION OF p DEFAULT;
INSERT INTO p VALUES (6, 60, 'default');
CALL look('p');
BEGIN;
DROP TABLE p_8;
INSERT INTO p VALUES (7, 8, 'in the default partition');
COMMIT;
CALL look('p');
-- Ranges, of dates and of text, with partitions of partitions.
CREATE TABLE r (id int, at date, place text COLLATE "C", v text, PRIMARY KEY (at, place, id)) PARTITION BY RANGE (at);
CREATE TABLE r_1 PARTITION OF r FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') PARTITION BY RANGE (place);
CREATE TABLE r_1_a PARTITION OF r_1 FOR VALUES FROM (MINVALUE) TO ('m');
CREATE TABLE r_1_z PARTITION OF r_1 FOR VALUES FROM ('m') TO (MAXVALUE);
CREATE TABLE r_2 PARTITION OF r FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO r SELECT i, date '2024-01-01' + i % 60, chr(97 + i % 26), 'v' || i FROM generate_series(1, 5000) i;
SELECT doris.sync_table('r', options => '{"sync": "rewrites"}');
CALL look('r');
DROP TABLE r_1_a;
CALL look('r');
ALTER TABLE r DETACH PARTITION r_1;
CALL look('r');
DELETE FROM r_2 WHERE id % 2 = 0;
DROP TABLE r_2;
CALL look('r');
INSERT INTO r_1 VALUES (1, '2024-01-01', 'z', 'apart');
CALL look('r');
ALTER TABLE r ATTACH PARTITION r_1 FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CALL look('r');
-- Partitions that come with rows, of which the stream tells something before anyone has looked.
CREATE TABLE w (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE w_1 PARTITION OF w FOR VALUES IN (1);
INSERT INTO w SELECT i, 1, repeat('v' || i, 10) FROM generate_series(1, 3000) i;
SELECT doris.sync_table('w', options => '{"sync": "rewrites"}');
CREATE TABLE wf (id int, day int, v text) PARTITION BY RANGE (day);
ALTER TABLE wf REPLICA IDENTITY FULL;
CREATE TABLE wf_1 PARTITION OF wf FOR VALUES FROM (0) TO (10);
ALTER TABLE wf_1 REPLICA IDENTITY FULL;
INSERT INTO wf SELECT i, i % 10, repeat('v' || i, 10) FROM generate_series(1, 3000) i;
SELECT doris.sync_table('wf', options => '{"sync": "rewrites"}');
CALL look('w');
CALL look('wf');
SELECT doris.pause_sync('rewrites');
CREATE TABLE w_2 (LIKE w INCLUDING INDEXES);
INSERT INTO w_2 SELECT i, 2, repeat('w' || i, 10) FROM generate_series(1, 20) i;
DELETE FROM w_2 WHERE id = 20;
ALTER TABLE w ATTACH PARTITION w_2 FOR VALUES IN (2);
INSERT INTO w VALUES (100, 2, 'later'), (101, 2, 'later'), (5000, 1, 'later');
DELETE FROM w WHERE day = 2 AND id IN (1, 101);
UPDATE w SET v = 'changed' WHERE day = 2 AND id = 2;
UPDATE w SET id = 103 WHERE day = 2 AND id = 3;
UPDATE w SET day = 1, id = 9004 WHERE day = 2 AND id = 4;
UPDATE w SET day = 2 WHERE day = 1 AND id BETWEEN 2000 AND 2010;
ALTER TABLE w DETACH PARTITION w_2;
-- Not told by the stream.
UPDATE w_2 SET v = 'apart' WHERE id IN (5, 100, 2003);
DELETE FROM w_2 WHERE id IN (6, 103, 2004);
INSERT INTO w_2 VALUES (3, 2, 'apart');
ALTER TABLE w ATTACH PARTITION w_2 FOR VALUES IN (2);
DELETE FROM w WHERE id IN (7, 2005);
CREATE TABLE wf_2 (id int, day int, v text);
INSERT INTO wf_2 SELECT i % 5, 10, 'equal' FROM generate_series(1, 20) i;
ALTER TABLE wf_2 REPLICA IDENTITY FULL;
ALTER TABLE wf ATTACH PARTITION wf_2 FOR VALUES FROM (10) TO (20);
DELETE FROM wf WHERE ctid IN (SELECT ctid FROM wf_2 WHERE id = 1 LIMIT 2) AND day = 10;
UPDATE wf SET day = 11 WHERE day = 3 AND id < 1000;
INSERT INTO wf VALUES (1, 10, 'equal');
SELECT doris.resume_sync('rewrites');
CALL look('w');
CALL look('wf');
INSERT INTO w VALUES (200, 2, 'after');
UPDATE w SET v = v || '!' WHERE day = 2;
DELETE FROM wf WHERE day = 10 AND id = 2;
CALL look('w');
CALL look('wf');
-- Also where mirrors are published themselves, which their workers may change nevertheless.
CREATE PUBLICATION cdc_rewrites_all FOR ALL TABLES;
DROP TABLE w_2;
CALL look('w');
DROP PUBLICATION cdc_rewrites_all;
ALTER TABLE wf DETACH PARTITION wf_2;
CALL look('wf');
ALTER TABLE wf ATTACH PARTITION wf_2 FOR VALUES FROM (10) TO (20);
CALL look('wf');
-- Large values that the stream leaves out, as they did not change: of rows that the mirror does not have yet.
CREATE TABLE w_4 (LIKE w INCLUDING INDEXES);
INSERT INTO w_4 SELECT i, 4, (SELECT string_agg(md5(i::text || n), '') FROM generate_series(1, 200) n) FROM generate_series(1, 9) i;
SELECT doris.pause_sync('rewrites');
ALTER TABLE w ATTACH PARTITION w_4 FOR VALUES IN (4);
UPDATE w SET id = id + 100 WHERE day = 4;
SELECT doris.resume_sync('rewrites');
CALL look('w');
-- One that is larger than the others fills the mirror.
CREATE TABLE w_3 (LIKE w INCLUDING INDEXES);
INSERT INTO w_3 SELECT i, 3, repeat('v' || i, 10) FROM generate_series(1, 9000) i;
ALTER TABLE w ATTACH PARTITION w_3 FOR VALUES IN (3);
CALL look('w');
-- The condition of one whose key is an expression might call a user's function: it is not used.
CREATE TABLE x (id int, day int) PARTITION BY LIST (abs(day));
ALTER TABLE x REPLICA IDENTITY FULL;
CREATE TABLE x_1 PARTITION OF x FOR VALUES IN (1);
CREATE TABLE x_2 PARTITION OF x FOR VALUES IN (2);
INSERT INTO x VALUES (1, 1), (2, -2);
SELECT doris.sync_table('x', options => '{"sync": "rewrites"}');
CALL look('x');
DROP TABLE x_2;
CALL look('x');
-- A foreign table's rows are not in the WAL.
CREATE FOREIGN DATA WRAPPER cdc_rewrites;
CREATE SERVER cdc_rewrites FOREIGN DATA WRAPPER cdc_rewrites;
CREATE TABLE f (id int, day int) PARTITION BY LIST (day);
ALTER TABLE f REPLICA IDENTITY FULL;
CREATE FOREIGN TABLE f_1 PARTITION OF f FOR VALUES IN (1) SERVER cdc_rewrites;
SELECT doris.sync_table('f', options => '{"sync": "rewrites"}');
DROP FOREIGN DATA WRAPPER cdc_rewrites CASCADE;
-- Generated columns are computed by the mirror: other ones are not followed.
CREATE TABLE g (id int PRIMARY KEY, c int, twice int GENERATED ALWAYS AS (c * 2) STORED);
INSERT INTO g (id, c) VALUES (1, 1);
SELECT doris.sync_table('g', options => '{"sync": "rewrites"}');
CALL look('g');
ALTER TABLE g DROP COLUMN twice;
ALTER TABLE g ADD COLUMN twice int GENERATED ALWAYS AS (c * 3) STORED;
SELECT doris.wait_for_sync('rewrites');
SELECT source, state, last_error FROM doris.sync_tables WHERE state <> 'streaming';
SELECT doris.resync('rewrites', 'g');
SELECT doris.wait_for_sync('rewrites');
SELECT source, state, last_error FROM doris.sync_tables WHERE state <> 'streaming';
SELECT doris.unsync_table('g');
DROP TABLE g_mirror;
SELECT doris.sync_table('g', options => '{"sync": "rewrites"}');
DELETE FROM seen WHERE source = 'g';
CALL look('g');
ALTER TABLE g ALTER twice DROP EXPRESSION;
SELECT doris.wait_for_sync('rewrites');
SELECT source, state, last_error FROM doris.sync_tables WHERE state <> 'streaming';
SELECT doris.drop_sync('rewrites');
DROP SCHEMA cdc_rewrites CASCADE;
