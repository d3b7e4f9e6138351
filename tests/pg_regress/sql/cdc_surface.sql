-- Registering, watching and ending mirrors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA cdc;
SET search_path = cdc;
CREATE TABLE orders (id int PRIMARY KEY, item text, price numeric(10,2), twice numeric GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO orders VALUES (1, 'a', 1.50), (2, 'b', 2.50);
-- What cannot be mirrored, and why.
CREATE TABLE no_identity (id int);
SELECT doris.sync_table('no_identity');
CREATE TABLE nothing (id int PRIMARY KEY);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
SELECT doris.sync_table('nothing');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
SELECT doris.sync_table('unlogged');
CREATE VIEW a_view AS SELECT 1 AS id;
SELECT doris.sync_table('a_view');
SELECT doris.sync_table('orders', 'orders');
SELECT doris.sync_table('orders', options => '{"unknown": 1}');
CREATE TABLE narrow (id int PRIMARY KEY, item text);
SELECT doris.sync_table('orders', 'narrow');
CREATE TABLE taken (LIKE orders INCLUDING ALL);
INSERT INTO taken VALUES (9, 'z', 9);
SELECT doris.sync_table('orders', 'taken');
CREATE TABLE no_key (LIKE orders INCLUDING GENERATED);
SELECT doris.sync_table('orders', 'no_key');
CREATE TABLE other_key (LIKE orders INCLUDING GENERATED, PRIMARY KEY (id, item));
SELECT doris.sync_table('orders', 'other_key');
-- Nothing happens before the commit, and nothing after a rollback.
BEGIN;
SELECT doris.sync_table('orders');
SELECT doris.wait_for_sync('main');
ROLLBACK;
SELECT count(*) FROM doris.syncs;
SELECT to_regclass('orders_mirror');
-- A mirror.
SELECT doris.sync_table('orders');
SELECT doris.wait_for_sync('main');
SELECT * FROM orders_mirror ORDER BY id;
SELECT doris.sync_table('orders', 'orders_again');
INSERT INTO orders VALUES (3, 'c', 3.50);
UPDATE orders SET price = 4.00 WHERE id = 1;
UPDATE orders SET id = 20 WHERE id = 2;
SELECT doris.wait_for_sync('main');
SELECT * FROM orders_mirror ORDER BY id;
-- A second table joins the running sync.
CREATE TABLE lines (o int, n int, v float8, PRIMARY KEY (n, o));
INSERT INTO lines SELECT i / 3, i, i FROM generate_series(1, 10) i;
SELECT doris.sync_table('lines', 'cdc.line_columns');
SELECT doris.wait_for_sync('main');
DELETE FROM lines WHERE n < 8;
TRUNCATE orders;
INSERT INTO orders VALUES (7, 'g', 7);
SELECT doris.wait_for_sync('main');
SELECT * FROM line_columns ORDER BY n;
SELECT * FROM orders_mirror;
SELECT sync, source, target, state, rows_copied, copies, key_columns, last_error FROM doris.sync_tables ORDER BY source;
SELECT name, local, wanted, state, worker_pid IS NOT NULL AS runs, rows_applied > 0 AS applied, last_error FROM doris.syncs;
-- Paused, and on again from where it was.
SELECT doris.pause_sync('main');
SELECT doris.wait_for_sync('main');
INSERT INTO orders VALUES (8, 'h', 8);
SELECT doris.resume_sync('main');
SELECT doris.wait_for_sync('main');
SELECT count(*) FROM orders_mirror;
-- A mirror that was tampered with is filled again.
DELETE FROM orders_mirror;
SELECT doris.resync('main', 'orders');
SELECT doris.wait_for_sync('main');
SELECT count(*) FROM orders_mirror;
-- A source that is dropped leaves its mirror, with all that it held; one that is made again may take it over.
CREATE TABLE short (id int PRIMARY KEY);
SELECT doris.sync_table('short');
SELECT doris.wait_for_sync('main');
BEGIN;
INSERT INTO short SELECT generate_series(1, 5000);
COMMIT;
DROP TABLE short;
SELECT doris.wait_for_sync('main');
SELECT source, target, state, last_error FROM doris.sync_tables WHERE state <> 'streaming';
SELECT count(*) FROM short_mirror;
CREATE TABLE short (id int PRIMARY KEY);
INSERT INTO short VALUES (7);
SELECT doris.sync_table('short');
SELECT doris.sync_table('short', options => '{"overwrite": true}');
SELECT doris.wait_for_sync('main');
SELECT source, target, state, last_error FROM doris.sync_tables WHERE target = 'short_mirror'::regclass;
TABLE short_mirror;
CREATE TABLE other_short (id int PRIMARY KEY);
SELECT doris.sync_table('other_short', 'cdc.short_mirror', '{"sync": "second", "overwrite": true}');
SELECT doris.unsync_table('short');
-- Roles: another one neither sees nor changes it.
CREATE ROLE cdc_other;
GRANT USAGE ON SCHEMA cdc TO cdc_other;
SET ROLE cdc_other;
SELECT count(*) FROM doris.syncs;
SELECT count(*) FROM doris.sync_tables;
SELECT count(*) FROM doris.sync;
SELECT doris.drop_sync('main');
SELECT doris.sync_table('cdc.lines');
RESET ROLE;
GRANT EXECUTE ON FUNCTION doris.sync_table(regclass, text, jsonb) TO cdc_other;
SET ROLE cdc_other;
SELECT doris.sync_table('cdc.lines');
-- What went wrong with a sync may quote rows, which are not for everybody who waits for it.
RESET ROLE;
BEGIN;
UPDATE doris.sync SET last_error = 'duplicate key: secret', state = 'failing' WHERE name = 'main';
CREATE FUNCTION pg_temp.hint() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  hint text;
BEGIN
  PERFORM doris.wait_for_sync('main', 'FFFFFFF/0', '0 s');
EXCEPTION WHEN query_canceled THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  RETURN hint;
END $$;
SELECT pg_temp.hint() LIKE '%secret%' AS told;
SET LOCAL ROLE cdc_other;
SELECT pg_temp.hint() LIKE '%secret%' AS told;
ROLLBACK;
-- Nor does a sync become somebody's by its name.
CREATE TABLE bait (id int PRIMARY KEY);
SELECT doris.sync_table('bait', options => '{"sync": "main_cdc_other"}');
GRANT CREATE ON SCHEMA cdc TO cdc_other;
SET ROLE cdc_other;
CREATE TABLE cdc.theirs (id int PRIMARY KEY);
SELECT doris.sync_table('cdc.theirs');
SELECT doris.sync_table('cdc.theirs', options => '{"sync": "theirs"}');
SELECT name, owner FROM doris.syncs;
SELECT doris.drop_sync('theirs', true);
DROP TABLE cdc.theirs;
RESET ROLE;
SELECT doris.drop_sync('main_cdc_other', true);
REVOKE EXECUTE ON FUNCTION doris.sync_table(regclass, text, jsonb) FROM cdc_other;
-- A partitioned table is mirrored as one; a part of it by itself, in another sync.
CREATE TABLE whole (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE part PARTITION OF whole FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part DEFAULT;
SELECT doris.sync_table('part', options => '{"sync": "main"}');
SELECT doris.sync_table('whole');
SELECT doris.sync_table('part_1');
SELECT doris.sync_table('whole', options => '{"sync": "second"}');
SELECT doris.wait_for_sync('main');
SELECT doris.wait_for_sync('second');
INSERT INTO whole SELECT i, 1 FROM generate_series(1, 10) i;
SELECT doris.wait_for_sync('main');
SELECT doris.wait_for_sync('second');
SELECT (SELECT count(*) FROM part_mirror) AS part, (SELECT count(*) FROM whole_mirror) AS whole;
SELECT doris.drop_sync('second', true);
-- How much there is to copy is known from statistics.
ANALYZE whole;
SELECT doris.resync('main', 'part');
SELECT doris.wait_for_sync('main');
SELECT rows_copied, rows_expected FROM doris.sync_tables WHERE source LIKE '%part%';
SELECT doris.unsync_table('part');
-- A paused mirror whose source is dropped holds up nobody who waits; the source's number ends its entry.
CREATE TABLE brief (id int PRIMARY KEY);
SELECT oid AS brief FROM pg_class WHERE oid = 'brief'::regclass \gset
SELECT doris.sync_table('brief', options => '{"sync": "brief"}');
SELECT doris.sync_table('other_short', options => '{"sync": "brief"}');
SELECT doris.wait_for_sync('brief');
DROP TABLE brief_mirror;
INSERT INTO brief VALUES (1);
SELECT doris.wait_for_sync('brief');
DROP TABLE brief;
SELECT doris.wait_for_sync('brief');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'brief' ORDER BY source;
SELECT doris.unsync_table(:brief);
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'brief' ORDER BY source;
SELECT doris.unsync_table(4000000000);
SELECT doris.drop_sync('brief', drop_targets => true);
-- The end of one table, then of all.
SELECT doris.unsync_table('lines');
SELECT doris.drop_sync('main');
SELECT count(*) FROM doris.syncs;
-- What a worker was about to make when its sync went is removed a moment later.
DO $$ BEGIN
  FOR i IN 1..300 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_publication WHERE pubname LIKE 'pg\_doris\_%');
    PERFORM pg_sleep(0.1);
  END LOOP;
END $$;
SELECT count(*) FROM pg_publication WHERE pubname LIKE 'pg\_doris\_%';
SELECT count(*) FROM orders_mirror;
DO $$
BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%');
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%';
SELECT doris.wait_for_sync('main');
DROP SCHEMA cdc CASCADE;
REVOKE ALL ON SCHEMA public FROM cdc_other;
DROP ROLE cdc_other;
