-- Table options: taken from WITH, checked, stored, shown, carried through ALTER.
SET default_table_access_method = heap;
CREATE SCHEMA am_options;
SET search_path = am_options, public;
CREATE FUNCTION options_of(regclass) RETURNS text[] LANGUAGE sql AS 'SELECT reloptions FROM pg_class WHERE oid = $1';

-- Every way to create a table.
CREATE TABLE hits (counter int, at timestamp, url text, title text) USING doris
  WITH (duplicate_key = 'counter, at', bloom_filter = 'url, Title', fillfactor = 80);
SELECT options_of('hits');
CREATE TABLE unquoted (a int, b int) USING doris WITH (duplicate_key = a);
SELECT options_of('unquoted');
CREATE TABLE "Odd ""Names""" ("A, b" int, "C" int) USING doris WITH (duplicate_key = '"A, b", "C"');
SELECT options_of('"Odd ""Names"""');
CREATE TABLE made USING doris WITH (duplicate_key = 'k') AS SELECT g % 7 AS k, g AS v FROM generate_series(1, 10000) g;
SELECT options_of('made');
SELECT count(*), sum(v) FROM made;
CREATE MATERIALIZED VIEW seen USING doris WITH (duplicate_key = 'k') AS SELECT k, count(*) AS n FROM made GROUP BY k;
REFRESH MATERIALIZED VIEW seen;
SELECT options_of('seen');
DO $$ BEGIN EXECUTE 'EXPLAIN (ANALYZE) CREATE TABLE explained USING doris WITH (duplicate_key = ''k'') AS SELECT 1 AS k'; END $$;
SELECT options_of('explained');
PREPARE rows(int) AS SELECT g AS k FROM generate_series(1, $1) g;
CREATE TABLE executed USING doris WITH (duplicate_key = 'k') AS EXECUTE rows(10);
SELECT options_of('executed');
CREATE TABLE parted (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') USING doris
  WITH (duplicate_key = 'day');
SELECT options_of('parted_1');
SET default_table_access_method = doris;
CREATE TABLE by_default (a int, b int) WITH (duplicate_key = 'a');
CREATE TEMP TABLE short_lived (a int, b int) WITH (duplicate_key = 'a, b') ON COMMIT DROP;
CREATE TABLE IF NOT EXISTS by_default (a int) WITH (bloom_filter = 'nothing of the kind');
SELECT options_of('by_default');
CREATE TABLE child () INHERITS (by_default) WITH (duplicate_key = 'a');
SELECT options_of('child');
DO $$ BEGIN EXECUTE 'CREATE TABLE from_plpgsql (a int) WITH (duplicate_key = ''a'')'; END $$;
SELECT options_of('from_plpgsql');
RESET default_table_access_method;

-- What is refused, with one error each.
CREATE TABLE bad (a int) USING doris WITH (no_such_option = 1);
CREATE TABLE bad (a int) USING heap WITH (duplicate_key = 'a');
CREATE TABLE bad (a int) WITH (bloom_filter = 'a');
CREATE TABLE bad (a int) USING doris WITH (duplicate_key);
CREATE TABLE bad (a int) USING doris WITH (duplicate_key = ' , ');
CREATE TABLE bad (a int) USING doris WITH (duplicate_key = 'b');
CREATE TABLE bad (a int) USING doris WITH (duplicate_key = 'a, a');
CREATE TABLE bad (a int) USING doris WITH (duplicate_key = 'a', duplicate_key = 'a');
CREATE TABLE bad (a int, b int) USING doris WITH (duplicate_key = 'b');
CREATE TABLE bad (a int, b int) USING doris WITH (duplicate_key = 'b, a');
CREATE TABLE bad (a float8) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a real) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a jsonb) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a json) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a bytea) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a int[]) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a int4range) USING doris WITH (bloom_filter = 'a');
CREATE DOMAIN fraction AS float8;
CREATE TABLE bad (a fraction) USING doris WITH (duplicate_key = 'a');
CREATE TABLE bad (a date) PARTITION BY RANGE (a) WITH (duplicate_key = 'a');
CREATE TABLE bad (a int, __doris_delete_sign__ int) USING doris;
CREATE TABLE bad USING doris AS SELECT 1 AS "__DORIS_x";
CREATE TABLE bad USING doris WITH (duplicate_key = 'b') AS SELECT 1 AS a, 2 AS b;
SELECT count(*) AS left_behind FROM pg_class WHERE relname = 'bad';

-- ALTER TABLE: tuning options change, keys do not, PostgreSQL's own options go on working.
ALTER TABLE hits SET (fillfactor = 70);
ALTER TABLE hits SET (bloom_filter = 'url', autovacuum_enabled = off);
SELECT options_of('hits');
ALTER TABLE hits RESET (bloom_filter, autovacuum_enabled);
SELECT options_of('hits');
ALTER TABLE hits SET (duplicate_key = 'counter');
ALTER TABLE hits RESET (duplicate_key);
ALTER TABLE hits SET (bloom_filter = 'missing');
ALTER TABLE hits SET (no_such_option = 1);
SELECT options_of('hits');
CREATE TABLE plain_heap (a int);
ALTER TABLE plain_heap SET (bloom_filter = 'a');
ALTER TABLE plain_heap SET (fillfactor = 50);
ALTER TABLE hits SET (bloom_filter = 'title');
CREATE ROLE regress_am_options;
GRANT USAGE ON SCHEMA am_options TO regress_am_options;
SET ROLE regress_am_options;
ALTER TABLE am_options.hits SET (bloom_filter = 'url');
RESET ROLE;
DROP OWNED BY regress_am_options;
DROP ROLE regress_am_options;

-- Columns: a rename is followed, a key column stays, another leaves.
ALTER TABLE hits RENAME COLUMN counter TO "Counter Id";
ALTER TABLE hits RENAME title TO heading;
SELECT options_of('hits');
ALTER TABLE hits RENAME at TO __doris_at;
ALTER TABLE hits ADD COLUMN __doris_x int;
ALTER TABLE hits DROP COLUMN at;
ALTER TABLE hits ALTER COLUMN at TYPE float8 USING 0;
ALTER TABLE hits DROP COLUMN heading;
SELECT options_of('hits');
ALTER TABLE by_default RENAME a TO first;
SELECT options_of('by_default'), options_of('child');
ALTER TABLE by_default DROP COLUMN first;
ALTER TABLE parted RENAME day TO on_day;
SELECT options_of('parted_1');
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE moods (m mood, n int) USING doris WITH (duplicate_key = 'm');
DROP TYPE mood CASCADE;
DROP TABLE moods;

-- Rollback takes options along; rewrites keep them; another access method knows nothing of them.
BEGIN;
ALTER TABLE hits SET (bloom_filter = 'url');
SAVEPOINT s;
ALTER TABLE hits RESET (bloom_filter);
ROLLBACK TO s;
SELECT options_of('hits');
ROLLBACK;
SELECT options_of('hits');
ALTER TABLE made ALTER v TYPE bigint;
VACUUM FULL made;
TRUNCATE made;
SELECT options_of('made');
ALTER TABLE made SET ACCESS METHOD heap;
SELECT options_of('made');
ALTER TABLE made SET ACCESS METHOD doris;
SELECT options_of('made');

-- An error in DDL keeps its position and context.
CREATE TABLE bad (a nosuchtype) USING doris;
DO $$ BEGIN CREATE TABLE bad (a int, a int) USING doris; END $$;

-- Zone maps do what a BRIN index does.
CREATE INDEX ON hits USING brin (at);
CREATE INDEX ON parted USING brin (on_day);
-- None is left behind, and one that was there before is named.
CREATE INDEX CONCURRENTLY hits_brin ON hits USING brin (at);
SELECT count(*) FROM pg_class WHERE relname = 'hits_brin';
CREATE TABLE was_heap (a int) USING heap;
CREATE INDEX was_brin ON was_heap USING brin (a);
ALTER TABLE was_heap SET ACCESS METHOD doris;
DROP INDEX was_brin;
ALTER TABLE was_heap SET ACCESS METHOD doris;
CREATE TABLE brin_parent (a int) PARTITION BY LIST (a);
CREATE INDEX "brin Index" ON brin_parent USING brin (a);
CREATE TABLE brin_heap PARTITION OF brin_parent FOR VALUES IN (1) USING heap;
CREATE TABLE brin_doris PARTITION OF brin_parent FOR VALUES IN (2) USING doris;
ALTER TABLE brin_parent ATTACH PARTITION was_heap FOR VALUES IN (3);
DROP INDEX "brin Index";
CREATE TABLE brin_doris PARTITION OF brin_parent FOR VALUES IN (2) USING doris;
CREATE INDEX ON brin_parent USING brin (a);
CREATE INDEX ON ONLY brin_parent USING brin (a);
DROP TABLE was_heap, brin_parent;

-- A list of columns is one: no empty name, no open quote. A setting that does not exist is none.
CREATE TABLE refused (a int, b int) USING doris WITH (duplicate_key = 'a,,b');
CREATE TABLE refused (a int, b int) USING doris WITH (duplicate_key = 'a, b,');
CREATE TABLE refused (a int, b int) USING doris WITH (unique_key = '"a');
CREATE TABLE refused (a int, b int) USING doris WITH (unique_key = '"a" b');
SET doris.nonsense = 1;

\set VERBOSITY terse
DROP SCHEMA am_options CASCADE;
