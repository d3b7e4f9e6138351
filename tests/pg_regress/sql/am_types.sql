-- Values of every family come back from segments as a heap keeps them.
CREATE SCHEMA am_types;
SET search_path = am_types, public;
SET doris.rows_to_heap = 0;
SET extra_float_digits = 3;
SET client_min_messages = warning;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN words AS text[];

-- types(name, values): each value is the text of a literal of that type; NULL is added to all.
CREATE TABLE types (name text, vals text[]) USING heap;
INSERT INTO types VALUES
 ('bool', '{t,f}'),
 ('int2', '{-32768,32767,0}'), ('int4', '{-2147483648,2147483647,0,1}'),
 ('int8', '{-9223372036854775808,9223372036854775807,0}'),
 ('oid', '{0,4294967295}'), ('"char"', ARRAY['a', '']), ('name', ARRAY['n', repeat('x', 63), '']),
 ('float4', '{0,-0,1.5,-3.4e38,1e-45,NaN,Infinity,-Infinity}'),
 ('float8', '{0,-0,1.5,1.7976931348623157e308,5e-324,NaN,Infinity,-Infinity,0.1}'),
 ('numeric', '{0,0.00,-1,1.0,1.00,NaN,Infinity,-Infinity,1e1000,-1e-1000,123456789012345678901234567890.123456789}'),
 ('numeric(9,2)', '{0,0.01,-9999999.99,9999999.99,NaN,1}'),
 ('numeric(18,0)', '{999999999999999999,-999999999999999999,0}'),
 ('numeric(18,18)', '{0.999999999999999999,-0.000000000000000001,0}'),
 ('numeric(20,4)', '{9999999999999999.9999,-0.0001,10000}'),
 ('numeric(38,10)', '{9999999999999999999999999999.9999999999,-0.0000000001,NaN}'),
 ('numeric(38,0)', '{99999999999999999999999999999999999999,-99999999999999999999999999999999999999}'),
 ('numeric(50,10)', '{1234567890123456789012345678901234567890.0123456789,0}'),
 ('numeric(5,-2)', '{12300,-9999900}'), ('numeric(3,5)', '{0.00123,-0.00999}'),
 ('money', '{0,-92233720368547758.08,92233720368547758.07}'),
 ('text', ARRAY['', 'a', E'tab\tnew\nline', 'ünïcödé 漢字 🙂', repeat('long ', 5000)]),
 ('varchar(20)', ARRAY['', 'trailing  ', repeat('y', 20)]), ('char(10)', ARRAY['', 'pad', 'exactly 10']),
 ('bytea', ARRAY['\x', '\x00', '\x00ff00', '\x' || repeat('ab', 10000)]),
 ('date', '{infinity,-infinity,4714-11-24 BC,5874897-12-31,2000-01-01,1970-01-01}'),
 ('time', '{00:00:00,24:00:00,12:34:56.789012}'), ('timetz', '{00:00:00+15:59,23:59:59.999999-15:59}'),
 ('timestamp', '{infinity,-infinity,4714-11-24 00:00:00 BC,294276-12-31 23:59:59.999999,2000-01-01}'),
 ('timestamptz', '{infinity,-infinity,2000-01-01 00:00:00+00,1883-11-18 12:03:58-05}'),
 ('timestamp(0)', '{2024-02-29 23:59:59.5}'), ('interval', '{0,-178000000 years,1 mon -1 day 00:00:00.000001,30 days,1 mon}'),
 ('uuid', '{00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff}'),
 ('inet', '{0.0.0.0,10.1.2.3/8,::1,2001:db8::/32}'), ('cidr', '{10.0.0.0/8,2001:db8::/32}'),
 ('macaddr', '{08:00:2b:01:02:03}'), ('macaddr8', '{08:00:2b:01:02:03:04:05}'),
 ('bit(5)', '{00000,10101}'), ('varbit', ARRAY['', '1', '110011001100110011']),
 ('json', ARRAY['null', '{"a": 1,  "a": 2}', '[]']), ('jsonb', ARRAY['null', '{"a": [1, 2.50, {"b": null}]}', '"s"', '1e5']),
 ('jsonpath', '{$.a[*]}'), ('xml', '{<a>b</a>}'),
 ('int4[]', ARRAY['{}', '{1,NULL,3}', '{{1,2},{3,4}}', '[2:3]={7,8}']), ('text[]', ARRAY['{}', '{"a,b",NULL,""}']),
 ('numeric(6,2)[]', ARRAY['{1.5,NULL,NaN}']), ('words', ARRAY['{x,y}']), ('pair[]', ARRAY['{"(1,a)","(,)"}']),
 ('int4range', '{empty,"[1,5)","(,)"}'), ('tstzrange', ARRAY['empty', '[2000-01-01 00:00+00,infinity)']),
 ('int4multirange', ARRAY['{}', '{[1,2),[5,9)}']), ('numrange', ARRAY['[1.0,1.50]']),
 ('pair', ARRAY['(1,a)', '(,)', '(7,"q""uote")']), ('mood', '{sad,happy}'), ('percent', '{0,99.99}'),
 ('point', '{"(1,2)","(NaN,Infinity)"}'), ('line', ARRAY['{1,2,3}']), ('lseg', '{"[(0,0),(1,1)]"}'), ('box', '{"(1,1),(0,0)"}'),
 ('path', '{"((0,0),(1,1))"}'), ('polygon', '{"((0,0),(1,1),(2,0))"}'), ('circle', '{"<(0,0),5>"}'),
 ('tsvector', ARRAY['', '''a'':1A ''b'':2']), ('tsquery', ARRAY['', '''a'' & !''b''']),
 ('pg_lsn', '{0/0,FFFFFFFF/FFFFFFFF}'), ('txid_snapshot', '{10:20:10,14,15}'), ('xid', '{3}'), ('xid8', '{18446744073709551615}'),
 ('tid', '{"(0,1)","(4294967295,65535)"}'), ('regclass', '{pg_class}'), ('oidvector', '{1 2 3}'), ('int2vector', '{1 -2}'),
 ('cid', '{1}'), ('refcursor', '{c}'), ('aclitem', '{postgres=r/postgres}');
UPDATE types SET vals = '{"10:20:10,14,15"}' WHERE name = 'txid_snapshot';
-- A server may be built without libxml: there an xml value cannot be made.
DO $$ BEGIN PERFORM '<a/>'::xml; EXCEPTION WHEN feature_not_supported THEN UPDATE types SET vals = '{}' WHERE name = 'xml'; END $$;

-- For each type: a heap and a doris table, filled from the same rows; says what differs.
CREATE FUNCTION check_type(type text, vals text[], copies int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE rows_d int; differ int; in_segments int;
BEGIN
  EXECUTE format('CREATE TABLE h (n int, v %s) USING heap', type);
  EXECUTE format('CREATE TABLE d (n int, v %s) USING doris', type);
  EXECUTE format('INSERT INTO h SELECT c * 100 + i, ($1)[i]::%s FROM generate_series(1, %s) c, generate_series(1, cardinality($1) + 1) i', type, copies) USING vals;
  INSERT INTO d SELECT * FROM h;
  EXECUTE format('INSERT INTO d SELECT -1, v FROM d WHERE n = 101');
  EXECUTE format('INSERT INTO h SELECT -1, v FROM h WHERE n = 101');
  SELECT count(*), count(*) FILTER (WHERE ctid >= '(2147483648,1)') INTO rows_d, in_segments FROM d;
  SELECT count(*) INTO differ FROM (SELECT n, v::text FROM d) d FULL JOIN (SELECT n, v::text FROM h) h ON d.n = h.n
   WHERE d.v IS DISTINCT FROM h.v OR d.n IS NULL OR h.n IS NULL;
  DROP TABLE h, d;
  IF differ > 0 OR rows_d <> in_segments THEN RETURN format('%s of %s rows differ, %s in segments', differ, rows_d, in_segments); END IF;
  RETURN 'same';
END $$;
SELECT name, check_type(name, vals, 3) FROM types WHERE check_type(name, vals, 3) <> 'same';
SELECT name, check_type(name, vals, 900) FROM types WHERE name !~ 'text|bytea' AND check_type(name, vals, 900) <> 'same';
SELECT count(*) AS types_checked FROM types;

-- Values by their bytes: numerics keep their scale, -0 its sign, NaN compares equal.
CREATE TABLE n (id int, any_scale numeric, fixed numeric(10, 3), f float8) USING doris;
INSERT INTO n VALUES (1, 1.10, 1.10, '-0'), (2, 1.1, 1.1, 'NaN'), (3, 'NaN', 'NaN', 'Infinity'), (4, 'Infinity', NULL, 0);
SELECT * FROM n ORDER BY id;
SELECT scale(any_scale), scale(fixed) FROM n WHERE id <= 2 ORDER BY id;
SELECT count(*) FROM n WHERE f = 'NaN' OR fixed = 'NaN';

-- Huge values, compressible and not.
CREATE TABLE huge (id int, v text, b bytea, a int[]) USING doris;
INSERT INTO huge SELECT 1, repeat('abc', 1000000), decode(repeat('00ff', 600000), 'hex'), array_agg(g) FROM generate_series(1, 300000) g;
INSERT INTO huge SELECT 2, string_agg(md5(g::text), ''), NULL, NULL FROM generate_series(1, 60000) g;
SELECT id, length(v), md5(v), length(b), cardinality(a), a[300000] FROM huge ORDER BY id;
UPDATE huge SET id = id + 10;
SELECT id, length(v), md5(v), length(b), cardinality(a), a[300000] FROM huge ORDER BY id;
BEGIN;
INSERT INTO huge SELECT * FROM huge;
SELECT count(*), count(DISTINCT md5(v)) FROM huge;
ROLLBACK;

-- All columns of a row may be NULL, or a column of all rows.
CREATE TABLE sparse (a int, b text, c numeric(10, 2), d timestamp) USING doris;
INSERT INTO sparse SELECT NULL, NULL, NULL, NULL FROM generate_series(1, 2500);
INSERT INTO sparse SELECT CASE WHEN g % 1000 = 0 THEN g END, NULL, NULL, NULL FROM generate_series(1, 2500) g;
SELECT count(*), count(a), count(b), count(c), count(d) FROM sparse;
\set VERBOSITY terse
DROP SCHEMA am_types CASCADE;
