-- Every example of docs/functions.md gives the result that the page says.
SET client_min_messages = warning;
SET search_path = doris, public;
SET datestyle = iso;
SET timezone = 'UTC';
\set page `cat "$PG_ABS_SRCDIR/../../docs/functions.md"`
CREATE TEMP TABLE examples AS
  SELECT replace(found[1], '\|', '|') AS example, found[2] AS expected
  FROM regexp_matches(:'page', '\| `([^`]+)` \| `([^`]+)` \|(?=\n|$)', 'g') found;
CREATE FUNCTION pg_temp.answer(example text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  EXECUTE format('SELECT string_agg(coalesce(x::text, ''NULL''), ''; '') FROM (SELECT %s) t(x)', example) INTO answer;
  RETURN answer;
END $$;
SELECT count(*) FROM examples;
SELECT example, expected, pg_temp.answer(example) AS answer FROM examples WHERE pg_temp.answer(example) IS DISTINCT FROM expected;
