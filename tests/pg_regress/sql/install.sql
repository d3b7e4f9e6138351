-- The extension installs, and says which version it is.
CREATE EXTENSION pg_doris;
SELECT extversion = doris.version() AS library_matches_sql FROM pg_extension WHERE extname = 'pg_doris';
-- Compaction in the background would change what tests of segments show.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET doris.compaction = off', current_database()); END $$;
