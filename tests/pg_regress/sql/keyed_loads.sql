-- Loads whose rows share few keys are folded while they are collected: one segment comes of them, however little memory
-- there is. Segments are full with 4 MB here.
CREATE SCHEMA keyed_loads;
SET search_path = keyed_loads, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 0;
SET doris.load_memory = '8MB';
CREATE TABLE sums (k int, n bigint, last int) WITH (aggregate_key = 'k', sum = 'n', replace = 'last');
INSERT INTO sums SELECT g % 1000, 1, g FROM generate_series(1, 500000) g;
SELECT count(*), sum(n), min(n), max(n), min(last), max(last) FROM sums;
SELECT rows FROM doris.segments_of('sums');
INSERT INTO sums SELECT g % 2000, 1, -g FROM generate_series(1, 500000) g;
SELECT count(*), sum(n), min(n), max(n), min(last), max(last) FROM sums;
SELECT rows, deleted_rows FROM doris.segments_of('sums') ORDER BY first_row;

CREATE TABLE states (k int, v doris.bitmap, s doris.agg_state('sum(integer)')) WITH (aggregate_key = 'k', bitmap_union = 'v', agg_state = 's');
INSERT INTO states SELECT g % 10, doris.to_bitmap(g % 1000), doris.agg_state('sum(integer)', 1) FROM generate_series(1, 100000) g;
SELECT k, doris.bitmap_count(v), doris.agg_final(s, NULL::bigint) FROM states ORDER BY k LIMIT 2;
SELECT rows FROM doris.segments_of('states');

CREATE TABLE latest (k int, v int) WITH (unique_key = 'k');
INSERT INTO latest SELECT g % 3000, g FROM generate_series(1, 700000) g;
SELECT count(*), min(v), max(v) FROM latest;
SELECT rows FROM doris.segments_of('latest');

CREATE TABLE newest (k int, v int, at int) WITH (unique_key = 'k', sequence = 'at');
INSERT INTO newest SELECT g % 3000, g, -g FROM generate_series(1, 500000) g;
SELECT count(*), min(v), max(v) FROM newest;
SELECT rows FROM doris.segments_of('newest');

-- What does not fold is written as it comes; so is what comes to be too much.
CREATE TABLE many (k int, v int) WITH (unique_key = 'k');
INSERT INTO many SELECT CASE WHEN g <= 300000 THEN g % 100 ELSE g END, g FROM generate_series(1, 800000) g;
SELECT count(*), sum(v), min(v) FROM many;
SELECT count(*) > 1 AS several, sum(rows) FROM doris.segments_of('many');

-- A sum that leaves its type's range does so before the load ends.
CREATE TABLE small (k int, n smallint) WITH (aggregate_key = 'k', sum = 'n');
INSERT INTO small SELECT 1, 1 FROM generate_series(1, 400000) g;
SELECT count(*) FROM small;
SELECT doris.verify('sums'), doris.verify('latest'), doris.verify('newest'), doris.verify('many');
