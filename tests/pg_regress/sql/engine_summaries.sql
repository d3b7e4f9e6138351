-- Answers that zone maps give in the place of values, beside PostgreSQL's own over the same rows.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA engine_summaries;
SET search_path = engine_summaries, public;
CREATE TABLE s (id int, small smallint, big bigint, price numeric(12,2), day date, name text, f float8) USING doris;
INSERT INTO s SELECT i, CASE WHEN i % 10 <> 0 THEN i % 300 - 20 END, i * 3000000000::bigint - 7, i * 1.37 - 9000,
  DATE '2020-01-01' + i / 100, 'word ' || i % 7, i / 3.0 FROM generate_series(1, 60000) i;
VACUUM FULL s;
ANALYZE s;

-- Runs a query with the engine and without; what it gives, whether both give the same, and how many row blocks of how
-- many zone maps answered.
CREATE FUNCTION engine_summaries.answer(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; answers text[]; answer text; mode text;
BEGIN
  FOREACH mode IN ARRAY ARRAY['off', 'on'] LOOP
    PERFORM set_config('doris.enable_vectorization', mode, true);
    EXECUTE format('SELECT string_agg(x::text, chr(10)) FROM (%s) x', query) INTO answer;
    answers := answers || answer;
  END LOOP;
  RETURN NEXT answers[1];
  RETURN NEXT CASE WHEN answers[1] = answers[2] THEN 'same answer' ELSE 'DIFFERENT: ' || answers[2] END;
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line LIKE '%Scan of s:%' THEN
      RETURN NEXT 'read ' || substring(line from '(\d+) row blocks read')
        || ', pruned ' || substring(line from '(\d+) pruned by zone map')
        || ', answered ' || coalesce(substring(line from '(\d+) answered'), '0');
    END IF;
  END LOOP;
END $$;

SELECT engine_summaries.answer('SELECT count(*) FROM s');
SELECT engine_summaries.answer('SELECT count(*), count(small), sum(small), avg(small), min(small), max(small) FROM s');
SELECT engine_summaries.answer('SELECT sum(big), avg(big), min(big), max(big), sum(price), avg(price), min(price), max(price) FROM s');
SELECT engine_summaries.answer('SELECT min(day), max(day), count(day), count(name), sum(small + 5), sum(small - 7) FROM s');
-- What zone maps do not know is read.
SELECT engine_summaries.answer('SELECT count(*), min(name) FROM s');
SELECT engine_summaries.answer('SELECT count(*), round(sum(f)::numeric, 3) FROM s');
SELECT engine_summaries.answer('SELECT count(DISTINCT small) FROM s');
SELECT engine_summaries.answer('SELECT count(*) FILTER (WHERE small > 3), sum(big) FROM s');
-- Of a column with a dictionary, that tells which values there are; not how often, nor beside other columns.
SELECT engine_summaries.answer('SELECT count(DISTINCT name), min(name), max(name) FROM s');
SELECT engine_summaries.answer('SELECT DISTINCT name FROM s ORDER BY name LIMIT 3');
SELECT engine_summaries.answer('SELECT upper(name) FROM s WHERE name > ''word 2'' GROUP BY 1 ORDER BY 1');
SELECT engine_summaries.answer('SELECT count(DISTINCT name), count(name) FROM s');
SELECT engine_summaries.answer('SELECT count(DISTINCT name) FROM s WHERE id > 59000');
-- Row blocks wholly inside a filter, wholly outside, and between.
SELECT engine_summaries.answer('SELECT count(*), sum(big), min(price) FROM s WHERE id > 5000');
SELECT engine_summaries.answer('SELECT count(*), max(day) FROM s WHERE day >= ''2020-03-01'' AND day < ''2021-03-01''');
SELECT engine_summaries.answer('SELECT count(*), sum(big) FROM s WHERE id > 5000 AND name <> ''word 3''');
SELECT engine_summaries.answer('SELECT count(*) FROM s WHERE small IS NOT NULL');
SELECT engine_summaries.answer('SELECT count(*), sum(id) FROM s WHERE id < 0 OR id > 0');
-- Deleted rows, rows of the row store, a column that was added later.
DELETE FROM s WHERE id BETWEEN 20000 AND 20010;
INSERT INTO s VALUES (-1, -300, -1, -99999, '1990-01-01', 'new', 0);
ALTER TABLE s ADD COLUMN extra int DEFAULT 5;
SELECT engine_summaries.answer('SELECT count(*), sum(small), min(price), max(day), count(extra), sum(extra) FROM s');
SELECT engine_summaries.answer('SELECT count(*), min(id), max(big) FROM s');
SELECT engine_summaries.answer('SELECT count(DISTINCT name), min(name) FROM s');
-- NULLs among the values, and values of which no row is left.
CREATE TABLE n (word text, other text) USING doris;
INSERT INTO n SELECT CASE WHEN i % 3 > 0 THEN 'w' || i % 5 END, NULL FROM generate_series(1, 30000) i;
INSERT INTO n SELECT 'gone', 'never' FROM generate_series(1, 30000) i;
INSERT INTO n VALUES ('w0', NULL), ('single', 'one'), (NULL, NULL);
SET doris.enable_vectorization = off;
SELECT DISTINCT word FROM n ORDER BY word;
SET doris.enable_vectorization = on;
SELECT DISTINCT word FROM n ORDER BY word;
SELECT count(DISTINCT word), max(word), count(DISTINCT other) FROM n;
DELETE FROM n WHERE word = 'gone';
SELECT DISTINCT word FROM n ORDER BY word;
SELECT DISTINCT other FROM n ORDER BY other;
SELECT max(other), count(DISTINCT other) FROM n;
BEGIN;
INSERT INTO n SELECT 'own ' || i % 2 FROM generate_series(1, 20000) i;
SELECT DISTINCT word FROM n ORDER BY word;
ROLLBACK;
SELECT count(DISTINCT word) FROM n;
DROP TABLE n;
DELETE FROM s;
SELECT engine_summaries.answer('SELECT count(*), sum(big), min(day) FROM s');
-- An overflow is still one.
CREATE TABLE large (v bigint, n smallint) USING doris;
INSERT INTO large SELECT 9223372036854775807, 32767 FROM generate_series(1, 20000);
VACUUM FULL large;
SELECT sum(v), avg(v), sum(n + 2147450000) FROM large;
SELECT sum(n + 2147450881) FROM large;
DROP SCHEMA engine_summaries CASCADE;
