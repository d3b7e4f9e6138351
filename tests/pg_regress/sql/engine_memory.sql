-- Rust's memory is among PostgreSQL's memory contexts, and gone when its holder is.
CREATE SCHEMA memory;
SET search_path TO memory;
SET doris.threads = 1;
CREATE TABLE numbers (id int, v bigint, s text) USING doris;
INSERT INTO numbers SELECT i, i * 7919::bigint, md5(i::text) FROM generate_series(1, 300000) i;
-- Megabytes of a context.
CREATE FUNCTION used_mb(context text) RETURNS int LANGUAGE sql AS
  $$ SELECT (sum(used_bytes) / 1048576)::int FROM pg_backend_memory_contexts WHERE name = context $$;
SELECT name, ident, free_bytes <= total_bytes AS free, used_bytes > 0 AS used
FROM pg_backend_memory_contexts WHERE name IN ('pg_doris', 'pg_doris loads', 'pg_doris queries') ORDER BY 1;
SELECT used_mb('pg_doris queries') AS queries, used_mb('pg_doris loads') AS loads;
-- Large aggregations, held open.
BEGIN;
DECLARE groups CURSOR FOR SELECT v, count(*), max(id) FROM numbers GROUP BY v;
MOVE 1 IN groups;
SELECT used_mb('pg_doris queries') BETWEEN 4 AND 100 AS groups;
CREATE TEMP TABLE one_cursor AS SELECT used_mb('pg_doris queries') AS mb;
DECLARE others CURSOR FOR SELECT id, count(*), max(v) FROM numbers GROUP BY id;
MOVE 1 IN others;
SELECT used_mb('pg_doris queries') >= mb + 3 AS both_of_them FROM one_cursor;
CLOSE groups;
CLOSE others;
SELECT used_mb('pg_doris queries') AS queries;
COMMIT;
-- Segments that are being loaded.
SET doris.load_memory = '64MB';
BEGIN;
CREATE TEMP TABLE watched (mb int);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF NEW.id = 500000 THEN INSERT INTO watched VALUES (used_mb('pg_doris loads')); END IF; RETURN NEW; END $$;
CREATE TRIGGER watch BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION watch();
INSERT INTO numbers SELECT i, i, 'x' FROM generate_series(1, 600000) i;
SELECT mb BETWEEN 5 AND 100 AS loading FROM watched;
ROLLBACK;
SELECT used_mb('pg_doris loads') AS loads;
-- The whole is what its parts are: blocks in use that nobody has reserved are in the context above.
SELECT used_mb('pg_doris') < 50 AS rest;
-- Printed into the server's log as well.
SELECT pg_log_backend_memory_contexts(pg_backend_pid());
SELECT count(*) FROM numbers;
-- Large texts are reserved before they are made: of many rows, up to 16 MB beyond the limit.
SET doris.work_mem = '1MB';
SELECT sum(length(replace(s, 'a', repeat('b', 10000)))) = sum(32 + 9999 * (32 - length(replace(s, 'a', '')))) AS many
FROM numbers WHERE id <= 6000;
SELECT id, length(replace(s, 'a', repeat('b', 10000000))) = 32 + 9999999 * (32 - length(replace(s, 'a', ''))) AS large
FROM numbers WHERE id <= 2 ORDER BY id;
RESET doris.work_mem;
DROP SCHEMA memory CASCADE;
