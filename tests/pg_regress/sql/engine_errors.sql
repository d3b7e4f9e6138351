-- Errors of users' code that the engine calls are those that PostgreSQL's plan raises, in all their parts.
CREATE SCHEMA errors;
SET search_path TO errors;
CREATE TABLE d (id int, a int, s text) USING doris;
CREATE TABLE h (LIKE d) USING heap;
INSERT INTO h SELECT i, i, 's' || i FROM generate_series(1, 20000) i;
INSERT INTO d SELECT * FROM h;
CREATE FUNCTION bad(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF a > 10000 THEN
    RAISE EXCEPTION 'too large: %', a USING ERRCODE = '23514', CONSTRAINT = 'the constraint', TABLE = 'the table',
      COLUMN = 'the column', DATATYPE = 'the type', SCHEMA = 'the schema', HINT = 'the hint', DETAIL = 'the detail';
  END IF;
  RETURN a;
END $$;
CREATE FUNCTION deeper(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN bad(a) + 1; END $$;
CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF a = 15000 THEN PERFORM pg_sleep(60); END IF;
  RETURN a;
END $$;
CREATE DOMAIN small AS int CONSTRAINT is_small CHECK (VALUE < 10000);

CREATE FUNCTION error_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  code text; message text; detail text; hint text; context text; con text; tab text; col text; typ text; sch text;
BEGIN
  EXECUTE query;
  RETURN 'none';
EXCEPTION WHEN OTHERS OR query_canceled THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
    hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, con = CONSTRAINT_NAME, tab = TABLE_NAME, col = COLUMN_NAME,
    typ = PG_DATATYPE_NAME, sch = SCHEMA_NAME;
  RETURN concat_ws('|', code, message, detail, hint, context, con, tab, col, typ, sch);
END $$;
CREATE TABLE queries (number int GENERATED ALWAYS AS IDENTITY, query text);
INSERT INTO queries (query) SELECT unnest(ARRAY[
  'SELECT sum(bad(a)) FROM $t', 'SELECT sum(deeper(a)) FROM $t', 'SELECT bad(a) FROM $t', 'SELECT count(*) FROM $t WHERE deeper(a) > 0',
  'SELECT bad(a), count(*) FROM $t GROUP BY 1', 'SELECT sum(a::small) FROM $t', 'SELECT a::small FROM $t',
  'SELECT count(*) FROM $t x JOIN $t y ON x.a = bad(y.a)', 'SELECT sum(bad(a)) OVER (ORDER BY a) FROM $t',
  'SELECT string_agg(s, '','' ORDER BY bad(a)) FROM $t', 'SELECT sum(a) FROM (SELECT bad(a) AS a FROM $t ORDER BY id LIMIT 20000) q',
  'SELECT sum(a / (a - 500)) FROM $t', 'INSERT INTO queries (query) SELECT bad(a)::text FROM $t']);
-- The same for both tables. Whether a simple expression of PL/pgSQL's is named depends on what ran before.
CREATE FUNCTION plain(error text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT regexp_replace(regexp_replace(error, '\m[dh]\M', 't', 'g'), 'SQL expression[^\n]*\n', '', 'g')
$$;
SELECT query, left(error_of(replace(query, '$t', 'd')), 30) AS error,
  plain(error_of(replace(query, '$t', 'd'))) IS NOT DISTINCT FROM plain(error_of(replace(query, '$t', 'h'))) AS same
FROM queries ORDER BY number;
SELECT error_of('SELECT sum(deeper(a)) FROM d');
-- One after another, and nothing is left of the first.
SELECT error_of('SELECT sum(a / 0) FROM d');
EXPLAIN (COSTS OFF) SELECT sum(bad(a)) FROM d;
SET statement_timeout = '500ms';
SELECT sum(slow(a)) FROM d;
RESET statement_timeout;

DROP SCHEMA errors CASCADE;
