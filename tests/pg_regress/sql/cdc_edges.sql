-- Columns of a mirror's own, keys that are computed, tables that are taken out, an owner that is gone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA edges;
SET search_path = edges;
-- A mirror's own columns get their defaults in new rows, of the copy and of the stream, and keep what they hold.
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, 'copied');
CREATE SEQUENCE numbers;
CREATE FUNCTION price(int, int DEFAULT 5) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 * $2;
CREATE TABLE t_keyed (id int PRIMARY KEY, v text, since date DEFAULT '2020-01-01', note text, price int DEFAULT edges.price(2),
  twice int GENERATED ALWAYS AS (price * 2) STORED) USING doris WITH (unique_key = 'id');
CREATE TABLE t_plain (note text, n int DEFAULT nextval('edges.numbers'), v text, id int PRIMARY KEY) USING doris;
SELECT doris.sync_table('t', 't_keyed', '{"sync": "keyed"}');
SELECT doris.sync_table('t', 't_plain', '{"sync": "plain"}');
SELECT doris.wait_for_sync('keyed'), doris.wait_for_sync('plain');
INSERT INTO t VALUES (2, 'streamed');
SELECT doris.wait_for_sync('keyed'), doris.wait_for_sync('plain');
UPDATE t_keyed SET note = 'mine', since = '2021-01-01' WHERE id = 1;
UPDATE t_plain SET note = 'mine', n = 100 WHERE id = 1;
UPDATE t SET v = 'changed';
SELECT doris.wait_for_sync('keyed'), doris.wait_for_sync('plain');
SELECT * FROM t_keyed ORDER BY id;
SELECT * FROM t_plain ORDER BY id;
-- Many at once.
INSERT INTO t SELECT i, 'many' FROM generate_series(3, 2000) i;
UPDATE t SET v = 'more' WHERE id < 1000;
SELECT doris.wait_for_sync('keyed'), doris.wait_for_sync('plain');
SELECT v, count(*), min(since), max(since), sum(price), sum(twice), count(note) FROM t_keyed GROUP BY v ORDER BY v;
SELECT v, count(*), count(n), count(note) FROM t_plain GROUP BY v ORDER BY v;
SELECT doris.drop_sync('keyed'), doris.drop_sync('plain');
-- A key that is computed is not in the stream.
CREATE TABLE computed (a int, b int NOT NULL UNIQUE, id int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY);
INSERT INTO computed VALUES (1, 1), (2, 2);
SELECT doris.sync_table('computed', options => '{"sync": "computed"}');
ALTER TABLE computed REPLICA IDENTITY USING INDEX computed_b_key;
SELECT doris.sync_table('computed', options => '{"sync": "computed"}');
SELECT doris.wait_for_sync('computed');
UPDATE computed SET a = a + 10 WHERE b = 2;
SELECT doris.wait_for_sync('computed');
SELECT * FROM computed_mirror ORDER BY a;
SELECT doris.drop_sync('computed', drop_targets => true);
-- With all columns as identity the mirror has no key. From 18 on PostgreSQL would refuse the changes: the table is refused.
ALTER TABLE computed REPLICA IDENTITY FULL;
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN
    PERFORM doris.sync_table('computed', options => '{"sync": "full"}');
    RAISE EXCEPTION 'a table is mirrored whose changes would be refused';
  END IF;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END $$;
DO $$
BEGIN
  IF current_setting('server_version_num')::int < 180000 THEN
    PERFORM doris.sync_table('computed', options => '{"sync": "full"}');
    COMMIT;
    PERFORM doris.wait_for_sync('full');
    UPDATE computed SET a = a + 10 WHERE b = 1;
    DELETE FROM computed WHERE b = 2;
    COMMIT;
    PERFORM doris.wait_for_sync('full');
    COMMIT;
    ASSERT (SELECT array_agg(format('%s %s %s', a, b, id)) FROM computed_mirror) = ARRAY['11 1 12'];
    PERFORM doris.drop_sync('full', drop_targets => true);
  END IF;
END $$;
-- A table that is taken out of a sync of patterns stays out, until it is put back by name.
CREATE SCHEMA shop;
CREATE TABLE shop.a (id int PRIMARY KEY);
CREATE TABLE shop."B b" (id int PRIMARY KEY);
CREATE TABLE shop."c*" (id int PRIMARY KEY);
SELECT doris.create_sync('shop', tables => '{shop.*}', target_schema => 'shop_columns');
SELECT doris.wait_for_sync('shop');
SELECT source, state FROM doris.sync_tables WHERE sync = 'shop' ORDER BY source;
SELECT doris.unsync_table('shop.a'), doris.unsync_table('shop."B b"');
SELECT doris.unsync_table('shop."c*"');
CREATE TABLE shop.new (id int PRIMARY KEY);
INSERT INTO shop.a VALUES (1);
SELECT doris.wait_for_sync('shop');
SELECT source, state FROM doris.sync_tables WHERE sync = 'shop' ORDER BY source;
SELECT tables FROM doris.syncs WHERE name = 'shop';
SELECT count(*) FROM shop_columns.a;
SELECT doris.sync_table('shop.a', 'shop_columns.a', '{"sync": "shop", "overwrite": true}');
SELECT doris.wait_for_sync('shop');
SELECT count(*) FROM shop_columns.a;
SELECT doris.drop_sync('shop', drop_targets => true);
-- A table that comes with a publication is taken out of that.
CREATE PUBLICATION edges_users FOR TABLE shop.a;
SELECT doris.create_sync('users', publication => 'edges_users', target_schema => 'shop_columns');
SELECT doris.wait_for_sync('users');
SELECT doris.unsync_table('shop.a');
SELECT doris.drop_sync('users', drop_targets => true);
DROP PUBLICATION edges_users;
-- A sync whose owner is dropped says so, once.
CREATE ROLE edges_owner;
GRANT USAGE, CREATE ON SCHEMA edges TO edges_owner;
GRANT EXECUTE ON FUNCTION doris.sync_table(regclass, text, jsonb) TO edges_owner;
SET ROLE edges_owner;
CREATE TABLE one (id int PRIMARY KEY);
CREATE TABLE two (id int PRIMARY KEY);
SELECT doris.sync_table('one', options => '{"sync": "theirs"}'), doris.sync_table('two', options => '{"sync": "theirs"}');
SELECT doris.wait_for_sync('theirs');
RESET ROLE;
REASSIGN OWNED BY edges_owner TO CURRENT_USER;
DROP OWNED BY edges_owner;
DROP ROLE edges_owner;
INSERT INTO one VALUES (1);
INSERT INTO two VALUES (2);
SELECT doris.resume_sync('theirs');
DO $$
BEGIN
  FOR i IN 1..600 LOOP
    EXIT WHEN (SELECT state FROM doris.syncs WHERE name = 'theirs') = 'failing';
    PERFORM pg_sleep(0.05);
  END LOOP;
END $$;
SELECT state, last_error FROM doris.syncs WHERE name = 'theirs';
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'theirs' ORDER BY source;
SELECT doris.drop_sync('theirs', drop_targets => true);
-- From 18 on a publication may have the values of generated columns: the mirror stores them.
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN
    EXECUTE 'CREATE TABLE twice (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED)';
    EXECUTE 'INSERT INTO twice VALUES (1, 1)';
    EXECUTE 'CREATE PUBLICATION edges_stored FOR TABLE twice WITH (publish_generated_columns = stored)';
    PERFORM doris.create_sync('stored', publication => 'edges_stored');
    COMMIT;
    PERFORM doris.wait_for_sync('stored');
    EXECUTE 'INSERT INTO twice VALUES (2, 2)';
    EXECUTE 'UPDATE twice SET v = 10 WHERE id = 1';
    COMMIT;
    PERFORM doris.wait_for_sync('stored');
    COMMIT;
    ASSERT (SELECT array_agg(format('%s %s %s', id, v, twice) ORDER BY id) FROM twice_mirror) = ARRAY['1 10 20', '2 2 4'];
    ASSERT (SELECT attgenerated = '' FROM pg_attribute WHERE attrelid = 'twice_mirror'::regclass AND attname = 'twice');
    PERFORM doris.drop_sync('stored', drop_targets => true);
    EXECUTE 'DROP PUBLICATION edges_stored';
  END IF;
END $$;
DROP SCHEMA edges, shop, shop_columns CASCADE;
