-- ANALYZE counts rows and samples them by the statistics target.
CREATE SCHEMA am_analyze;
SET search_path = am_analyze, public;
SET default_table_access_method = doris;
SET doris.compaction = off;
-- 100,000 rows in segments, 12,000 in the row store, of which each has one or two pages.
CREATE TABLE t (id int, few int, note text) WITH (fillfactor = 10, autovacuum_enabled = false);
SET doris.rows_to_heap = 0;
INSERT INTO t SELECT g, g % 7, '' FROM generate_series(1, 100000) g;
SET doris.enable_bulk_load = off;
INSERT INTO t SELECT g, g % 7, repeat('x', 700) FROM generate_series(100001, 112000) g;
SELECT pg_relation_size('t') / 8192 AS pages;
-- The row count may be off by a hundredth: each page of the row store has the same number of rows.
CREATE VIEW found AS
SELECT round(c.reltuples::numeric / 112000, 2) AS rows,
       (SELECT round(CASE WHEN n_distinct < 0 THEN -n_distinct ELSE n_distinct / 112000 END::numeric, 1) FROM pg_stats WHERE schemaname = 'am_analyze' AND tablename = 't' AND attname = 'id') AS ids,
       (SELECT n_distinct FROM pg_stats WHERE schemaname = 'am_analyze' AND tablename = 't' AND attname = 'few') AS few,
       (SELECT array_length(histogram_bounds, 1) FROM pg_stats WHERE schemaname = 'am_analyze' AND tablename = 't' AND attname = 'id') AS bounds
  FROM pg_class c WHERE c.oid = 't'::regclass;
SET default_statistics_target = 10;
ANALYZE t;
SELECT * FROM found;
SET default_statistics_target = 100;
ANALYZE t;
SELECT * FROM found;
SET default_statistics_target = 1000;
ANALYZE t;
SELECT * FROM found;
-- A column with a target of its own, and one without statistics.
SET default_statistics_target = 10;
ALTER TABLE t ALTER note SET STATISTICS 0, ALTER id SET STATISTICS 300;
ANALYZE t;
SELECT * FROM found;
ANALYZE t (few);
SELECT * FROM found;
-- Where activities are not tracked, ANALYZE does not say how many blocks it looks at.
SET track_activities = off;
ALTER TABLE t ALTER id SET STATISTICS 10;
ANALYZE t;
SELECT * FROM found;
RESET track_activities;
-- VACUUM counts as ANALYZE does.
VACUUM t;
SELECT * FROM found;

\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA am_analyze CASCADE;
