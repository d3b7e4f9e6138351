-- States of aggregates as values: made of rows, merged, finalised, and folded by the aggregate model.
CREATE SCHEMA agg_state;
SET search_path = agg_state, doris, public;
SET default_table_access_method = doris;

-- A state names its aggregate.
SELECT agg_state('avg(numeric)', 12.5) IS NOT NULL AS made, agg_state_aggregate(agg_state('avg(numeric)', 12.5));
SELECT agg_state('count("any")', 7), agg_state('count("any")', NULL::int), agg_state('count()'::regprocedure);
SELECT agg_state('max(integer)', 7), agg_state('max(integer)', NULL::int);
SELECT agg_final(agg_state('avg(numeric)', 12.5), NULL::numeric), agg_final(agg_state('max(integer)', NULL::int), NULL::int),
       agg_final(agg_state('count("any")', 'x'::text), 0::bigint), agg_final(NULL, NULL::int);

-- The same answers as the aggregates: internal states, arrays, values, strict functions and others.
CREATE TABLE rows AS SELECT g % 7 AS k, CASE WHEN g % 5 > 0 THEN g * 1.25 END AS n, g::float8 / 3 AS f, g AS i, g::bigint AS b,
  'v' || g * 7919 % 1009 AS t, g % 3 = 0 AS p FROM generate_series(1, 1000) g;
CREATE VIEW states AS
  SELECT k, agg_union(agg_state('avg(numeric)', n)) AS an, agg_union(agg_state('stddev(double precision)', f)) AS sf,
         agg_union(agg_state('sum(bigint)', b)) AS sb, agg_union(agg_state('avg(integer)', i)) AS ai,
         agg_union(agg_state('max(text)', t)) AS mt, agg_union(agg_state('bool_and(boolean)', p)) AS bp,
         agg_union(agg_state('count("any")', n)) AS c, agg_union(agg_state('regr_slope(double precision, double precision)', f, i::float8)) AS rs
  FROM rows GROUP BY k;
CREATE VIEW direct AS
  SELECT k, avg(n) AS an, stddev(f) AS sf, sum(b) AS sb, avg(i) AS ai, max(t COLLATE "default") AS mt, bool_and(p) AS bp, count(n) AS c,
         regr_slope(f, i::float8) AS rs FROM rows GROUP BY k;
SELECT d.k, agg_final(s.an, NULL::numeric) = d.an AS an, abs(agg_final(s.sf, NULL::float8) - d.sf) < 1e-9 AS sf,
       agg_final(s.sb, NULL::numeric) = d.sb AS sb, agg_final(s.ai, NULL::numeric) = d.ai AS ai,
       agg_final(s.mt, NULL::text) = d.mt AS mt, agg_final(s.bp, NULL::boolean) = d.bp AS bp,
       agg_final(s.c, NULL::bigint) = d.c AS c, abs(agg_final(s.rs, NULL::float8) - d.rs) < 1e-9 AS rs
  FROM states s JOIN direct d USING (k) ORDER BY k;
SELECT agg_merge(an, NULL::numeric) = (SELECT avg(n) FROM rows) AS an, agg_merge(c, 0::bigint) = (SELECT count(n) FROM rows) AS c,
       agg_merge(mt, ''::text) = (SELECT max(t COLLATE "default") FROM rows) AS mt FROM states;
SELECT agg_merge(an, NULL::numeric), agg_union(an) FROM states WHERE false;

-- Text and binary forms.
SELECT agg_state('max(integer)', 7)::text::agg_state, agg_final(agg_state('avg(numeric)', 3.5)::text::agg_state, NULL::numeric);
SELECT 'pg_catalog.max(integer)='::agg_state, 'pg_catalog.max(integer)=\x00000009'::agg_state('max(integer)');
CREATE FUNCTION why(text) RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE m text; h text; BEGIN EXECUTE $1; RETURN 'accepted';
  EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN sqlstate || ' ' || m || CASE WHEN h > '' THEN ' / ' || h ELSE '' END; END $$;
SELECT why($$SELECT 'x'::agg_state$$);
SELECT why($$SELECT 'pg_catalog.max(integer)=\x0009'::agg_state$$);
SELECT why($$SELECT 'pg_catalog.nothing(integer)='::agg_state$$);
SELECT why($$SELECT 'pg_catalog.max(integer)='::agg_state('min(integer)')$$);

-- What cannot be stored, and wrong arguments.
SELECT why($$SELECT agg_state('string_agg(text, text)', 'a'::text, ','::text)$$) ~ 'no combine function|accepted' AS by_version;
SELECT why($$SELECT agg_state('json_agg(anyelement)', 1)$$);
SELECT why($$SELECT agg_state('max(anyarray)', ARRAY[1])$$);
SELECT why($$SELECT agg_state('xmlagg(xml)', NULL::xml)$$);
SELECT why($$SELECT agg_state('percentile_cont(double precision, interval)', 0.5)$$);
SELECT why($$SELECT agg_state('lower(text)', 'a'::text)$$);
SELECT why($$SELECT agg_state('max(integer)', 1::bigint)$$);
SELECT why($$SELECT agg_state('max(integer)', 'a')$$);
SELECT why($$SELECT agg_state('max(integer)', 1, 2)$$);
SELECT why($$SELECT agg_state('max(integer)')$$);
SELECT why($$SELECT agg_state(NULL::regprocedure, 1)$$);
SELECT why($$SELECT agg_final(agg_state('avg(integer)', 1), NULL::integer)$$);
SELECT why($$SELECT agg_union(s) FROM (VALUES (agg_state('max(integer)', 1)), (agg_state('min(integer)', 1))) v(s)$$);
SELECT why($$CREATE TABLE bad (k int, a agg_state('median(integer)'))$$);
SELECT why($$CREATE TABLE bad (k int, a agg_state('max(integer)', 'min(integer)'))$$);
SELECT why($$CREATE TABLE bad (k int, a agg_state) WITH (aggregate_key = 'k', agg_state = 'a')$$);
SELECT why($$CREATE TABLE bad (k int, a int) WITH (aggregate_key = 'k', agg_state = 'a')$$);
SELECT why($$CREATE TABLE bad (k int, a agg_state('max(integer)')) WITH (unique_key = 'k', agg_state = 'a')$$);
SELECT why($$CREATE TABLE bad (k int, a agg_state('max(integer)')) WITH (aggregate_key = 'k')$$);

-- The aggregate model: row by row, in batches, against the heap and against segments.
CREATE TABLE daily (k int, an agg_state('avg(numeric)'), sf agg_state('stddev(double precision)'), mt agg_state('max(text)'), c agg_state('count("any")'))
  WITH (aggregate_key = 'k', agg_state = 'an, sf, mt, c');
CREATE FUNCTION load(first int, last int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO daily SELECT k, agg_state('avg(numeric)', n), agg_state('stddev(double precision)', f), agg_state('max(text)', t), agg_state('count("any")', n)
    FROM rows WHERE i BETWEEN first AND last ORDER BY i $$;
SET doris.rows_to_heap = 0;
SELECT load(1, 400);
SET doris.rows_to_heap = 100000;
SELECT load(401, 500);
SET doris.rows_to_heap = 0;
SELECT load(501, 900);
RESET doris.rows_to_heap;
SELECT load(901, 901);
SELECT load(902, 1000);
CREATE VIEW wrong AS SELECT d.k FROM daily y FULL JOIN direct d USING (k)
  WHERE (agg_final(y.an, NULL::numeric) = d.an AND abs(agg_final(y.sf, NULL::float8) - d.sf) < 1e-9
    AND agg_final(y.mt, NULL::text) = d.mt AND agg_final(y.c, NULL::bigint) = d.c) IS NOT TRUE;
SELECT count(*) FROM daily;
TABLE wrong;
CALL doris.compact('daily');
TABLE wrong;
SELECT agg_merge(an, NULL::numeric) = (SELECT avg(n) FROM rows) AS an FROM daily;
-- NULL keeps what is there; a state of another aggregate is refused.
INSERT INTO daily VALUES (0, NULL, NULL, NULL, NULL), (99, NULL, NULL, NULL, NULL), (99, agg_state('avg(numeric)', 1.5), NULL, NULL, NULL);
SELECT agg_final(an, NULL::numeric), sf IS NULL AS sf FROM daily WHERE k = 99;
DELETE FROM daily WHERE k = 99;
TABLE wrong;
SELECT why($$INSERT INTO daily (k, an) VALUES (1, agg_state('avg(integer)', 1))$$);
-- Savepoints.
BEGIN;
SAVEPOINT a;
INSERT INTO daily (k, c) VALUES (1, agg_state('count("any")', 1));
ROLLBACK TO a;
COMMIT;
TABLE wrong;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'daily'::regclass AND attnum > 1 ORDER BY attnum;
-- Who may not call the aggregate may not merge its states; states with internal parts come from outside for superusers only.
CREATE AGGREGATE secret(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, INITCOND = '0');
REVOKE EXECUTE ON FUNCTION secret(int) FROM PUBLIC;
SELECT agg_final(agg_state('secret(integer)', 5), 0);
CREATE ROLE agg_state_user;
GRANT USAGE ON SCHEMA agg_state, doris TO agg_state_user;
SET ROLE agg_state_user;
SELECT why($$SELECT agg_state('agg_state.secret(integer)', 5)$$);
SELECT why($$SELECT 'agg_state.secret(integer)=\x00000005'::doris.agg_state$$);
SELECT why($$SELECT agg_state('avg(numeric)', 1.5)::text::doris.agg_state$$);
SELECT why($$SELECT agg_state('max(integer)', 1)::text::doris.agg_state$$);
RESET ROLE;
DROP OWNED BY agg_state_user;
DROP ROLE agg_state_user;

-- Columns depend on their aggregate, whose name is in each state.
RESET search_path;
CREATE SCHEMA agg_states;
SET search_path = agg_states, doris;
CREATE TYPE colour AS ENUM ('red');
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, INITCOND = '0');
CREATE AGGREGATE largest(colour) (SFUNC = enum_larger, STYPE = colour, COMBINEFUNC = enum_larger);
CREATE TABLE totals (k int, m doris.agg_state('total(int)')) USING doris WITH (aggregate_key = 'k', agg_state = 'm');
INSERT INTO totals SELECT 1, doris.agg_state('total(int)', g) FROM generate_series(1, 10) g;
CREATE TABLE plain (k int) USING doris;
ALTER TABLE plain ADD COLUMN m doris.agg_state('largest(colour)');
INSERT INTO plain VALUES (1, doris.agg_state('largest(colour)', 'red'::colour));
DROP AGGREGATE total(int);
DROP AGGREGATE largest(colour);
ALTER AGGREGATE total(int) RENAME TO other;
ALTER FUNCTION total(int) RENAME TO other;
ALTER AGGREGATE total(int) SET SCHEMA public;
ALTER SCHEMA agg_states RENAME TO others;
ALTER TYPE colour RENAME TO color;
ALTER TABLE totals RENAME COLUMN m TO states;
ALTER TABLE totals RENAME TO sums;
CREATE AGGREGATE unstored(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, INITCOND = '0');
ALTER AGGREGATE unstored(int) RENAME TO other;
INSERT INTO sums VALUES (1, doris.agg_state('total(int)', 5));
SELECT doris.agg_final(states, NULL::int) FROM sums;
-- A column of another type, or that is gone, does not.
ALTER TABLE plain ALTER m TYPE doris.agg_state('max(int)') USING NULL;
DROP AGGREGATE largest(colour);
CREATE TABLE parent (k int, m doris.agg_state('other(int)')) USING heap;
CREATE TABLE child () INHERITS (parent) USING doris;
ALTER TABLE parent ALTER m TYPE text;
DROP AGGREGATE other(int);
ALTER TABLE plain DROP m;
\set VERBOSITY terse
DROP AGGREGATE total(int) CASCADE;
\set VERBOSITY default
SELECT attname FROM pg_attribute WHERE attrelid = 'sums'::regclass AND attnum > 0 AND NOT attisdropped;
SET client_min_messages = warning;
DROP SCHEMA agg_states CASCADE;
