-- The time-series policy: an option of tables and a setting of the server.
CREATE SCHEMA compaction_policy;
SET search_path = compaction_policy, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 0;
CREATE FUNCTION why(text) RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE m text; h text; BEGIN EXECUTE $1; RETURN 'accepted';
  EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN sqlstate || ' ' || m || CASE WHEN h > '' THEN ' / ' || h ELSE '' END; END $$;
SHOW doris.compaction_policy;
SELECT name, setting, min_val FROM pg_settings WHERE name LIKE 'doris.time_series%' ORDER BY name;

-- Values are checked; names of columns do not mix with them.
CREATE TABLE log (at int, size_based int, line text)
  WITH (duplicate_key = 'at', compaction_policy = ' Time_Series', time_series_compaction_goal_size_mbytes = 20, bloom_filter = 'size_based');
SELECT reloptions FROM pg_class WHERE oid = 'log'::regclass;
SELECT why($$CREATE TABLE bad (a int) WITH (compaction_policy = 'often')$$);
SELECT why($$ALTER TABLE log SET (time_series_compaction_goal_size_mbytes = 9)$$);
SELECT why($$ALTER TABLE log SET (time_series_compaction_file_count_threshold = 'many')$$);
SELECT why($$ALTER TABLE log SET (time_series_compaction_time_threshold_seconds = 59)$$);
SELECT why($$CREATE TABLE bad (a int) USING heap WITH (compaction_policy = 'time_series')$$);
ALTER TABLE log SET (compaction_policy = size_based, time_series_compaction_file_count_threshold = 10);
ALTER TABLE log RENAME size_based TO time_series;
ALTER TABLE log SET (compaction_policy = time_series);
ALTER TABLE log RENAME time_series TO x;
SELECT reloptions FROM pg_class WHERE oid = 'log'::regclass;
ALTER TABLE log DROP x;
ALTER TABLE log RESET (time_series_compaction_goal_size_mbytes);
SELECT reloptions FROM pg_class WHERE oid = 'log'::regclass;

-- Segments are merged in the order in which they came, once.
CREATE FUNCTION load(name regclass, first int, segments int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  FOR part IN first .. first + segments - 1 LOOP
    EXECUTE format('INSERT INTO %s SELECT g, ''line '' || g FROM generate_series(%s, %s) g', name, part * 3000, part * 3000 + 2999);
  END LOOP; END $$;
CREATE VIEW places AS SELECT level, rows FROM doris.segments_of('log') ORDER BY first_row;
SELECT load('log', 0, 12);
SELECT level, rows, count(*) FROM places GROUP BY 1, 2;
CALL doris.compact('log', 'cumulative');
TABLE places;
SELECT load('log', 12, 3);
CALL doris.compact('log', 'cumulative');
TABLE places;
CALL doris.compact('log', 'cumulative');
CALL doris.compact('log', 'base');
TABLE places;
-- Of what is merged only segments with many deleted rows are written again.
DELETE FROM log WHERE at BETWEEN 0 AND 15000;
CALL doris.compact('log', 'base');
TABLE places;
SELECT count(*), sum(at) FROM log;
CALL doris.compact('log');
TABLE places;
-- The same table by size.
ALTER TABLE log SET (compaction_policy = size_based);
SELECT load('log', 15, 4);
CALL doris.compact('log', 'cumulative');
TABLE places;
SELECT load('log', 19, 1);
CALL doris.compact('log', 'cumulative');
TABLE places;
SELECT count(*), sum(at) FROM log;

-- A table can be left to compaction by hand.
CREATE TABLE still (id int, note text) WITH (disable_auto_compaction = yes);
SELECT reloptions FROM pg_class WHERE oid = 'still'::regclass;
SELECT why($$ALTER TABLE still SET (disable_auto_compaction = sometimes)$$);
SELECT load('still', 0, 3);
CALL doris.compact('still');
SELECT level, rows FROM doris.segments_of('still');
ALTER TABLE still RESET (disable_auto_compaction);
SELECT reloptions FROM pg_class WHERE oid = 'still'::regclass;
