-- Syncs of many tables by pattern, of this database and of another one over a connection.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA shop;
CREATE SCHEMA shop_tmp;
CREATE TABLE shop.orders (id int PRIMARY KEY, item text NOT NULL, price numeric(10,2));
CREATE TABLE shop.lines (o int, n int, v float8, PRIMARY KEY (n, o));
CREATE TABLE shop.scratch (id int PRIMARY KEY);
CREATE TABLE shop.keyless (id int);
CREATE TABLE shop_tmp.orders (id int PRIMARY KEY);
INSERT INTO shop.orders SELECT i, 'item ' || i, i / 4.0 FROM generate_series(1, 1000) i;
INSERT INTO shop.lines SELECT i / 3, i, i FROM generate_series(1, 100) i;
-- What is refused.
SELECT doris.create_sync('bad', tables => '{a.b.c}');
SELECT doris.create_sync('bad', options => '{"unknown": 1}');
SELECT doris.create_sync('bad', overrides => '{"shop.orders": {"colour": 1}}');
SELECT doris.create_sync('bad', connection => 'no connection string');
SELECT doris.create_sync('bad', connection => 'host=/nonexistent port=5432 dbname=x');
SELECT count(*) FROM doris.syncs;
-- A schema, but for one table; targets in a schema of their own.
SELECT doris.create_sync('shop', tables => '{shop.*,!shop.scr*}', target_schema => '{schema}_columns',
    overrides => '{"shop.lines": {"target": "shop_columns.order_lines"}}');
SELECT doris.create_sync('shop');
SELECT doris.wait_for_sync('shop');
SELECT source, target, state, rows_copied, key_columns, last_error FROM doris.sync_tables WHERE sync = 'shop' ORDER BY source;
SELECT count(*), sum(price) FROM shop_columns.orders;
-- Tables that match later join by themselves; one that was refused joins when it can.
CREATE TABLE shop.later (id int PRIMARY KEY, v text);
INSERT INTO shop.later VALUES (1, 'one');
ALTER TABLE shop.keyless REPLICA IDENTITY FULL;
INSERT INTO shop.keyless VALUES (1), (1);
UPDATE shop.orders SET price = 0 WHERE id <= 10;
SELECT doris.wait_for_sync('shop');
SELECT * FROM shop_columns.later;
SELECT * FROM shop_columns.keyless;
SELECT count(*) FROM shop_columns.orders WHERE price = 0;
-- A constraint that the source drops does not stop its mirror.
ALTER TABLE shop.orders ALTER COLUMN item DROP NOT NULL;
INSERT INTO shop.orders VALUES (2000, NULL, 1);
-- A table that is made again takes over its mirror.
DROP TABLE shop.later;
CREATE TABLE shop.later (id int PRIMARY KEY, v text);
INSERT INTO shop.later VALUES (2, 'two');
-- One that is dropped leaves its mirror.
DROP TABLE shop.keyless;
SELECT doris.wait_for_sync('shop');
SELECT doris.wait_for_sync('shop');
SELECT * FROM shop_columns.orders WHERE id = 2000;
SELECT * FROM shop_columns.later;
-- With other columns.
DROP TABLE shop.later;
CREATE TABLE shop.later (id int PRIMARY KEY, v int, more text DEFAULT 'more', twice int GENERATED ALWAYS AS (v * 2) STORED);
INSERT INTO shop.later VALUES (3, 3);
SELECT doris.wait_for_sync('shop');
SELECT doris.wait_for_sync('shop');
SELECT * FROM shop_columns.later;
SELECT source, target, state, last_error FROM doris.sync_tables WHERE sync = 'shop' ORDER BY source;
SELECT doris.resync('shop', 'shop.orders');
SELECT doris.wait_for_sync('shop');
SELECT doris.resync('shop', 'shop.nothing');
SELECT count(*) FROM shop_columns.orders;
SELECT source, copies FROM doris.sync_tables WHERE sync = 'shop' AND source LIKE '%orders%';
SELECT doris.drop_sync('shop', drop_targets => true);
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'shop_columns' AND relkind = 'r';
-- Another database over a connection; its types are its own, of the same names.
SELECT format('host=%s port=%s user=%s password=secret dbname=cdc_source', current_setting('unix_socket_directories'),
    current_setting('port'), current_user) AS conninfo \gset
SELECT current_database() AS here \gset
CREATE DATABASE cdc_source;
\c cdc_source
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2), mood mood, moods mood[], pair pair, big text,
    twice numeric GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO item SELECT i, 'item ' || i, i / 4.0, 'glad', '{sad,glad}', ROW(i, 'x,"y"')::pair, repeat('x', 10)
    FROM generate_series(1, 1000) i;
CREATE TABLE plain (id bigint PRIMARY KEY, at timestamptz, d date, b bytea, j jsonb, f float8, u uuid, a int[]);
INSERT INTO plain SELECT i, '2024-01-01 UTC'::timestamptz + i * interval '1 hour', date '2024-01-01' + i, decode('00ff', 'hex'),
    '{"k": [1, null]}', i / 7.0, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{1,NULL,3}' FROM generate_series(1, 100) i;
CREATE TABLE alien (id int PRIMARY KEY, x pair[]);
CREATE TABLE part (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO part SELECT i, i % 2 + 1 FROM generate_series(1, 10) i;
\c :here
SET client_min_messages = warning;
CREATE SCHEMA far;
CREATE TYPE public.mood AS ENUM ('sad', 'glad');
SELECT doris.create_sync('far', connection => :'conninfo', target_schema => 'far');
SELECT doris.wait_for_sync('far');
SELECT source, target, state, rows_copied, last_error FROM doris.sync_tables WHERE sync = 'far' ORDER BY source;
-- The type it lacked.
CREATE TYPE public.pair AS (a int, b text);
SELECT doris.wait_for_sync('far');
SELECT source, target, state, rows_copied, last_error FROM doris.sync_tables WHERE sync = 'far' ORDER BY source;
SELECT * FROM far.item WHERE id = 17;
SELECT * FROM far.plain WHERE id = 17;
SELECT count(*), sum(price), sum(twice) FROM far.item;
SELECT count(*), sum(day) FROM far.part;
\c cdc_source
UPDATE item SET price = price + 1 WHERE id <= 500;
UPDATE item SET pair = (7, 'seven'), moods = '{}' WHERE id = 17;
DELETE FROM item WHERE id > 900;
UPDATE plain SET a = '{4}', j = '"new"', at = at + interval '1 day' WHERE id = 17;
UPDATE part SET day = 3 - day;
ALTER TABLE plain ADD COLUMN extra text DEFAULT 'default';
INSERT INTO plain (id, extra) VALUES (1000, 'given');
CREATE TABLE fresh (id int PRIMARY KEY);
INSERT INTO fresh VALUES (1), (2);
\c :here
SET client_min_messages = warning;
SELECT doris.wait_for_sync('far');
SELECT count(*), sum(price), sum(twice) FROM far.item;
SELECT * FROM far.item WHERE id = 17;
SELECT * FROM far.plain WHERE id IN (17, 1000) ORDER BY id;
SELECT count(*), sum(day) FROM far.part;
SELECT count(*) FROM far.fresh;
-- The password is nowhere to be seen.
SELECT name, local, state, lag_bytes IS NOT NULL AS lag, last_error FROM doris.syncs WHERE name = 'far';
SELECT count(*) FROM doris.syncs s WHERE s::text LIKE '%secret%';
-- Only a superuser may make the server connect somewhere.
CREATE ROLE cdc_joe;
GRANT EXECUTE ON FUNCTION doris.create_sync(text, text, text[], text[], text, text, jsonb, jsonb) TO cdc_joe;
SET ROLE cdc_joe;
SELECT doris.create_sync('joe', connection => 'dbname=cdc_source');
SELECT doris.wait_for_sync('far');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION doris.create_sync(text, text, text[], text[], text, text, jsonb, jsonb) FROM cdc_joe;
DROP ROLE cdc_joe;
-- A slot that is gone is told, and a new one is made on demand.
SELECT doris.pause_sync('far');
DO $$
BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%' AND active);
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE database = 'cdc_source';
SELECT doris.resume_sync('far');
DO $$
BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN EXISTS (SELECT FROM doris.syncs WHERE name = 'far' AND state = 'lost');
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT state, regexp_replace(last_error, '"[^"]*"', '"..."') AS last_error FROM doris.syncs WHERE name = 'far';
SELECT doris.resync('far');
SELECT doris.wait_for_sync('far');
SELECT state FROM doris.syncs WHERE name = 'far';
SELECT source, state, copies FROM doris.sync_tables WHERE sync = 'far' ORDER BY source;
-- The end: slot and publication go from the source.
SELECT doris.drop_sync('far', drop_targets => true);
DO $$
BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM doris.syncs) AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%');
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT name, state, last_error FROM doris.syncs;
SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%';
\c cdc_source
SELECT count(*) FROM pg_publication;
\c :here
SET client_min_messages = warning;
DROP DATABASE cdc_source;
DROP TYPE public.mood, public.pair;
DROP SCHEMA shop, shop_tmp, shop_columns, far CASCADE;
