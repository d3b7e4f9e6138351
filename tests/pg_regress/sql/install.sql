-- The extension installs, and says which version it is.
CREATE EXTENSION pg_doris;
SELECT extversion = doris.version() AS library_matches_sql FROM pg_extension WHERE extname = 'pg_doris';
