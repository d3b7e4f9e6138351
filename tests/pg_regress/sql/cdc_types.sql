-- Every type arrives as the source shows it: by copy, insert and update; in mirrors with and without a key, by both
-- models, of this database and of another server.
SELECT count(*) > 0 AS icu FROM pg_collation WHERE collname = 'de-x-icu' \gset
\if :icu
\else
\echo PostgreSQL was built without ICU
\quit
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
-- What both databases need. A type of the same name has another oid over there, and so has a table.
\set types 'CREATE SCHEMA ct; CREATE TYPE ct.mood AS ENUM (''sad'', ''fair'', ''glad''); CREATE TYPE ct.pair AS (a int, b text, m ct.mood); CREATE DOMAIN ct.small AS int CHECK (VALUE < 1000); CREATE DOMAIN ct.moods AS ct.mood[]; CREATE TYPE ct.floats AS RANGE (subtype = float8); CREATE COLLATION ct.nocase (provider = icu, locale = ''und-u-ks-level2'', deterministic = false);'
\set columns 'id int, c_bool bool, c_int2 int2, c_int4 int4, c_int8 int8, c_float4 float4, c_float8 float8, c_numeric numeric, c_fixed numeric(12,3), c_money money, c_text text, c_varchar varchar(7), c_char char(5), c_one "char", c_name name, c_bytea bytea, c_nocase text COLLATE ct.nocase, c_date date, c_time time, c_time2 time(2), c_timetz timetz, c_ts timestamp, c_ts0 timestamp(0), c_tstz timestamptz, c_tstz3 timestamptz(3), c_interval interval, c_days interval day to minute, c_uuid uuid, c_inet inet, c_cidr cidr, c_mac macaddr, c_mac8 macaddr8, c_bit bit(5), c_varbit varbit(9), c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_polygon polygon, c_circle circle, c_json json, c_jsonb jsonb, c_jsonpath jsonpath, c_xml xml, c_tsvector tsvector, c_tsquery tsquery, c_oid oid, c_xid xid, c_xid8 xid8, c_tid tid, c_lsn pg_lsn, c_snapshot pg_snapshot, c_class regclass, c_type regtype, c_proc regprocedure, c_role regrole, c_space regnamespace, c_r4 int4range, c_r8 int8range, c_rn numrange, c_rd daterange, c_rt tsrange, c_rz tstzrange, c_m4 int4multirange, c_mn nummultirange, c_floats ct.floats, c_mood ct.mood, c_pair ct.pair, c_small ct.small, c_domain ct.moods, a_int int[], a_text text[], a_numeric numeric(8,2)[], a_ts timestamptz[], a_mood ct.mood[], a_pair ct.pair[], a_small ct.small[], a_class regclass[], a_range int4range[], a_json json[]'
:types
CREATE TABLE ct.made (:columns);
INSERT INTO ct.made VALUES
(1, true, 7, 42, 4200000000, 1.5, 2.25, 12345.678900, 1.5, '12.34', 'text', 'varchar', 'ab', 'x', 'name', '\x00ff10', 'MiXed', '2024-02-29', '12:34:56.789012', '12:34:56.789', '12:34:56+05:30', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012+02', '2024-02-29 12:34:56.789012-07', '1 year 2 mons -3 days 04:05:06.789', '3 days 04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '10101', '101', '(1,2.5)', '{1,-1,0}', '[(0,0),(1,1)]', '(2,2),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,1),2.5>', '{"b":  1, "a" : [1,null], "b": 2}', '{"b": 1, "a": [1.10, null]}', 'strict $."a"[*] ? (@ > 1)', '<a b="1">x</a>', '''fat'':2 ''rat'':3A', '''fat'' & ( ''rat'' | !''cat'' )', 4294967295, '4294967295', '18446744073709551615', '(7,9)', '16/B374D848', '10:20:10,14', 'ct.made', 'ct.mood', 'pg_catalog.lower(text)', 'pg_monitor', 'ct', '[1,10)', '(,100]', '[1.10,2.200]', '[2024-01-01,2024-02-01)', '[2024-01-01 01:00,2024-01-02)', '(,"2024-01-02 00:00+00"]', '{[1,3),[7,9)}', '{(,1.5),[7.10,)}', '[1.5,2.5)', 'glad', '(1,"a ""quoted"" , text",sad)', 999, '{sad,glad}', '{1,NULL,-3}', '{"a b",NULL,"","null","q\"x"}', '{1.10,2.00,NaN}', '{2024-02-29 12:00+00,infinity}', '{fair,NULL}', '{"(1,x,glad)",NULL,"(,,)"}', '{1,NULL,2}', '{ct.made,pg_class}', '{empty,"[1,2)"}', '{"{\"a\":  1}"}'),
(2, false, -32768, -2147483648, -9223372036854775808, '-Infinity', '-0', 'NaN', -999999999.999, '-92233720368547758.08', '', '', '', '', '', '', '', '-infinity', '00:00', '24:00', '00:00-15:59', '-infinity', '4713-01-01 BC', '-infinity', '294276-12-31 UTC', '-178000000 years', '-1 day', '00000000-0000-0000-0000-000000000000', '::1', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', '00000', '', '(-Infinity,NaN)', '{0,1,-1}', '[(1e300,-1e300),(0,0)]', '(0,0),(0,0)', '((0,0))', '((0,0))', '<(0,0),0>', 'null', 'null', '$', '<r/>', '', '', 0, '3', '3', '(0,1)', '0/0', '1:1:', '0', '0', '0', '0', '0', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', 'empty', 'sad', '(,,)', -5, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
(4, NULL, 32767, 2147483647, 9223372036854775807, '1e-45', '5e-324', '-1e130', 0.001, '0', repeat('long ', 5000), 'üüüüüüü', 'ü', 'ü', repeat('n', 63), decode(repeat('00ff', 4000), 'hex'), 'ÄÖ', '5874897-12-31', '23:59:59.999999', '23:59:59.99', '23:59:59.999999+15:59', '294276-12-31 23:59:59.999999', 'infinity', 'infinity', 'infinity', '178000000 years', '-104 days -02:03', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '2001:db8::ff00:42:8329/64', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', '11111', '111111111', '(1e-300,-0)', '{1.1,2.2,3.3}', '[(0.1,0.2),(0.3,0.4)]', '(1e10,1e10),(-1e10,-1e10)', '((0,0),(1,1))', '((0.1,0.1),(0.2,0.2),(0.3,0.1))', '<(-1,-1),1e10>', to_json(repeat('x', 3000)), to_jsonb(repeat('y', 3000)), '$.**{2 to last}', '<?xml version="1.0"?><r/>', '''a'':1,2,3B', '''a'':*A <2> ''b''', 1, '7', '7', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '5:9:6,8', 'pg_class', 'int4', 'upper(text)', 'pg_read_all_data', 'pg_catalog', '[,]', '[-9223372036854775808,0)', '(,)', '(,infinity]', '[-infinity,infinity]', '[epoch,)', '{(,)}', '{[0,0]}', '[-infinity,infinity]', 'fair', '(7,,glad)', 0, '{NULL,fair}', '[0:1]={1,2}', '{{a,b},{c,d}}', '{{0.001,9.999}}', '{-infinity}', '{{sad},{glad}}', '{"(1,,)"}', '{0}', '{}', '{"(,)"}', '{null}');
INSERT INTO ct.made VALUES (3);
CREATE TABLE ct.keyed (LIKE ct.made, PRIMARY KEY (id));
CREATE TABLE ct.indexed (LIKE ct.made, PRIMARY KEY (id));
CREATE TABLE ct.keyless (LIKE ct.made);
ALTER TABLE ct.keyless REPLICA IDENTITY FULL;
CREATE TABLE ct.whole (LIKE ct.made, PRIMARY KEY (id));
ALTER TABLE ct.whole REPLICA IDENTITY FULL;
-- Rows of two tables that do not look the same.
CREATE FUNCTION ct.differ(source text, mirror text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM ((SELECT s::text FROM %1$s s EXCEPT ALL SELECT m::text FROM %2$s m) '
    'UNION ALL (SELECT m::text FROM %2$s m EXCEPT ALL SELECT s::text FROM %1$s s)) d', source, mirror) INTO n;
  RETURN n;
END $$;
CREATE VIEW ct.kinds AS SELECT unnest('{keyed,indexed,keyless,whole}'::text[]) AS kind;
-- Half of the rows by copy.
INSERT INTO ct.keyed SELECT * FROM ct.made WHERE id <= 2;
INSERT INTO ct.indexed SELECT * FROM ct.made WHERE id <= 2;
INSERT INTO ct.keyless SELECT * FROM ct.made WHERE id <= 2;
INSERT INTO ct.whole SELECT * FROM ct.made WHERE id <= 2;
SELECT doris.sync_table('ct.keyed', options => '{"sync": "types"}');
SELECT doris.sync_table('ct.indexed', options => '{"sync": "types", "model": "none"}');
SELECT doris.sync_table('ct.keyless', options => '{"sync": "types"}');
SELECT doris.sync_table('ct.whole', options => '{"sync": "types"}');
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror') FROM ct.kinds;
-- The others by the stream, in the binary form of this database.
INSERT INTO ct.keyed SELECT * FROM ct.made WHERE id > 2;
INSERT INTO ct.indexed SELECT * FROM ct.made WHERE id > 2;
INSERT INTO ct.keyless SELECT * FROM ct.made WHERE id > 2;
INSERT INTO ct.whole SELECT * FROM ct.made WHERE id > 2;
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror') FROM ct.kinds;
-- Updates that leave large values alone, and some that take all values of another row.
UPDATE ct.keyed SET c_int4 = 5;
UPDATE ct.indexed SET c_int4 = 5;
UPDATE ct.keyless SET c_int4 = 5;
UPDATE ct.whole SET c_int4 = 5;
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror') FROM ct.kinds;
SELECT string_agg(format('%1$I = m.%1$I', attname), ', ' ORDER BY attnum) AS others FROM pg_attribute
  WHERE attrelid = 'ct.made'::regclass AND attnum > 1 \gset
UPDATE ct.keyed k SET :others FROM ct.made m WHERE m.id = 5 - k.id;
UPDATE ct.indexed k SET :others FROM ct.made m WHERE m.id = 5 - k.id;
UPDATE ct.keyless k SET :others FROM ct.made m WHERE m.id = 5 - k.id;
UPDATE ct.whole k SET :others FROM ct.made m WHERE m.id = 5 - k.id;
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror') FROM ct.kinds;
-- Keys that change, with large values that do not.
UPDATE ct.keyed SET id = id + 10;
UPDATE ct.indexed SET id = id + 10;
UPDATE ct.keyless SET id = id + 10;
UPDATE ct.whole SET id = id + 10;
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror') FROM ct.kinds;
DELETE FROM ct.keyed WHERE id % 2 = 0;
DELETE FROM ct.indexed WHERE id % 2 = 0;
DELETE FROM ct.keyless WHERE id % 2 = 0;
DELETE FROM ct.whole WHERE id % 2 = 0;
SELECT doris.wait_for_sync('types');
SELECT kind, ct.differ('ct.' || kind, 'ct.' || kind || '_mirror'), (SELECT count(*) FROM ct.keyed_mirror) FROM ct.kinds;
SELECT source, state, copies, last_error FROM doris.sync_tables WHERE sync = 'types' ORDER BY source;
-- Columns have the types of their sources, and as much of them.
SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(m.atttypid, m.atttypmod) FROM pg_attribute a
  LEFT JOIN pg_attribute m ON m.attrelid = 'ct.keyed_mirror'::regclass AND m.attname = a.attname
  WHERE a.attrelid = 'ct.keyed'::regclass AND a.attnum > 0
  AND (a.atttypid, a.atttypmod, a.attcollation) IS DISTINCT FROM (m.atttypid, m.atttypmod, m.attcollation);
-- The primary keys of all types that can be one.
CREATE TABLE ct.seeds AS SELECT i FROM generate_series(1, 20) i;
DO $$
DECLARE
  kind record;
BEGIN
  FOR kind IN SELECT * FROM (VALUES ('int2', 'i::int2'), ('int8', 'i * 4000000000'), ('numeric', 'i / 10.0'), ('numeric(8,3)', 'i / 8.0'),
      ('text', '''ü'' || i'), ('varchar(9)', '''k'' || i'), ('char(6)', '''c'' || i'), ('bytea', 'decode(lpad(i::text, 4, ''0''), ''hex'')'),
      ('date', 'date ''2024-01-01'' + i'), ('timestamp', 'timestamp ''2024-01-01'' + i * interval ''1.5 s'''),
      ('timestamptz', 'timestamptz ''2024-01-01 UTC'' + i * interval ''1.5 s'''), ('time', 'time ''00:00'' + i * interval ''1.5 s'''),
      ('interval', 'i * interval ''1.5 days'''), ('uuid', '(''a0eebc99-9c0b-4ef8-bb6d-0000000000'' || lpad(i::text, 2, ''0''))::uuid'),
      ('float8', 'CASE i WHEN 1 THEN 0 ELSE i / 7.0 END'), ('oid', 'i::oid'), ('inet', '(''10.0.0.'' || i)::inet'), ('macaddr', '(''08:00:2b:01:02:'' || lpad(i::text, 2, ''0''))::macaddr'),
      ('int[]', 'ARRAY[i, -i]'), ('int4range', 'int4range(i, i + 5)'), ('jsonb', 'to_jsonb(i)'), ('pg_lsn', '(''0/'' || i)::pg_lsn'),
      ('name', '(''n'' || i)::name'), ('bit(8)', 'i::bit(8)'), ('money', 'i::money'), ('text COLLATE ct.nocase', '''n'' || i'),
      ('ct.pair', '(i, ''b'', ''sad'')::ct.pair'), ('ct.small', 'i')) k(name, value) LOOP
    EXECUTE format('CREATE TABLE ct.%I (k %s PRIMARY KEY, n int, big text)', 'key of ' || kind.name, kind.name);
    EXECUTE format('INSERT INTO ct.%I SELECT %s, i, repeat(''x'', 3000) FROM ct.seeds WHERE i <= 10', 'key of ' || kind.name, kind.value);
  END LOOP;
END $$;
CREATE VIEW ct.keys AS SELECT format('ct.%I', relname) AS source, format('ct.%I', relname || '_mirror') AS mirror
  FROM pg_class WHERE relnamespace = 'ct'::regnamespace AND relkind = 'r' AND relname LIKE 'key of %' AND relname NOT LIKE '%mirror';
SELECT doris.create_sync('keys', tables => '{ct.key of *}');
SELECT doris.wait_for_sync('keys', timeout => '2 min');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'keys' AND state <> 'streaming';
SELECT source, ct.differ(source, mirror) FROM ct.keys WHERE ct.differ(source, mirror) <> 0;
DO $$
DECLARE
  of record;
BEGIN
  FOR of IN SELECT * FROM ct.keys LOOP
    EXECUTE format('UPDATE %s SET n = -n WHERE n %% 2 = 0', of.source);
    EXECUTE format('DELETE FROM %s WHERE n %% 5 = 0', of.source);
    EXECUTE format('CREATE TEMP TABLE spare AS SELECT k FROM %s WHERE n = 7', of.source);
    EXECUTE format('DELETE FROM %s WHERE n = 7', of.source);
    EXECUTE format('UPDATE %s SET k = (SELECT k FROM spare) WHERE n = 3', of.source);
    DROP TABLE spare;
  END LOOP;
END $$;
SELECT doris.wait_for_sync('keys', timeout => '2 min');
SELECT source, state, last_error FROM doris.sync_tables WHERE sync = 'keys' AND state <> 'streaming';
SELECT source, ct.differ(source, mirror) FROM ct.keys WHERE ct.differ(source, mirror) <> 0;
SELECT doris.drop_sync('keys', true);
SELECT doris.drop_sync('types', true);
-- Another server: types and tables of the same names have other oids there.
SELECT format('host=%s port=%s user=%s dbname=%s', current_setting('unix_socket_directories'),
    current_setting('port'), current_user, current_database()) AS back \gset
SELECT current_database() AS here \gset
CREATE DATABASE cdc_types;
\c cdc_types
SET client_min_messages = warning;
CREATE TABLE shifts_the_oids (a int, b text);
:types
CREATE EXTENSION pg_doris;
CREATE TABLE ct.made (id int);
SELECT doris.create_sync('here', connection => :'back', tables => '{ct.keyed,ct.keyless}', target_schema => 'ct');
SELECT doris.wait_for_sync('here');
SELECT source, state, rows_copied, last_error FROM doris.sync_tables ORDER BY source;
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) AS keyed, count(*) FROM ct.keyed k \gset copied_
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) AS keyless FROM ct.keyless k \gset copied_
\c :here
SET client_min_messages = warning;
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) = :'copied_keyed' AS same, count(*) = :copied_count AS as_many FROM ct.keyed k;
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) = :'copied_keyless' AS same FROM ct.keyless k;
INSERT INTO ct.keyed SELECT * FROM ct.made;
INSERT INTO ct.keyless SELECT * FROM ct.made;
UPDATE ct.keyed SET c_int4 = 6;
UPDATE ct.keyless SET c_int4 = 6;
UPDATE ct.keyed SET id = id + 10;
UPDATE ct.keyless SET id = id + 10;
DELETE FROM ct.keyed WHERE id IN (12, 23);
DELETE FROM ct.keyless WHERE id IN (12, 23);
\c cdc_types
SET client_min_messages = warning;
SELECT doris.wait_for_sync('here');
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) AS keyed, count(*) FROM ct.keyed k \gset streamed_
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) AS keyless FROM ct.keyless k \gset streamed_
SELECT source, state, copies, last_error FROM doris.sync_tables ORDER BY source;
SELECT doris.drop_sync('here');
DO $$ BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM doris.syncs);
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
SELECT name, state, last_error FROM doris.syncs;
\c :here
SET client_min_messages = warning;
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) = :'streamed_keyed' AS same, count(*) = :streamed_count AS as_many, count(*) FROM ct.keyed k;
SELECT md5(string_agg(k::text, E'\n' ORDER BY k::text)) = :'streamed_keyless' AS same FROM ct.keyless k;
DROP DATABASE cdc_types;
DROP SCHEMA ct CASCADE;
