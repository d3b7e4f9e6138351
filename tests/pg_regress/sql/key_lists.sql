-- Long lists of keys are looked up a stretch at a time.
CREATE SCHEMA key_lists;
SET search_path = key_lists, doris, public;
SET default_table_access_method = doris;
SET doris.enable_vectorization = off;
SET enable_seqscan = off;
CREATE TABLE t (k int, v int) WITH (unique_key = 'k');
SET doris.rows_to_heap = 0;
INSERT INTO t SELECT g, g FROM generate_series(1, 100000, 2) g;
RESET doris.rows_to_heap;
INSERT INTO t SELECT g, -g FROM generate_series(1, 100000, 1000) g;
CREATE FUNCTION index_scans(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ DECLARE line text; BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
    IF line ~ 'Index Scan' THEN RETURN NEXT substring(line FROM 'Index Scan using \w+'); END IF;
  END LOOP; END $$;
-- 80,000 values, each twice: half of the keys are stored, some of them in the row store.
CREATE TABLE l (a int[]) USING heap;
INSERT INTO l SELECT array_agg(1 + g % 80000) FROM generate_series(0, 159999) g;
SELECT index_scans('SELECT count(*) FROM t WHERE k = ANY ((SELECT a FROM l)::int[])');
SELECT count(*), count(DISTINCT k), sum(v), count(*) FILTER (WHERE v < 0) FROM t WHERE k = ANY ((SELECT a FROM l)::int[]);
-- Both ways.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT k FROM t WHERE k = ANY ((SELECT a FROM l)::int[]);
MOVE FORWARD ALL FROM c;
FETCH BACKWARD 1 FROM c;
MOVE BACKWARD ALL FROM c;
FETCH FORWARD 1 FROM c;
MOVE FORWARD 39998 FROM c;
FETCH FORWARD 1 FROM c;
FETCH FORWARD 1 FROM c;
FETCH BACKWARD 2 FROM c;
MOVE FORWARD 36000 FROM c;
MOVE BACKWARD 36000 FROM c;
FETCH LAST FROM c;
FETCH FIRST FROM c;
COMMIT;
-- Lists of two columns: their keys are made as they are looked up.
CREATE TABLE two (a int, b text, v int) WITH (unique_key = 'a, b');
SET doris.rows_to_heap = 0;
INSERT INTO two SELECT a, 'b' || b, a * b FROM generate_series(1, 100) a, generate_series(1, 100) b;
RESET doris.rows_to_heap;
INSERT INTO two VALUES (1, NULL, 0), (7, 'b7', -1);
CREATE TABLE lists (a int[], b text[]) USING heap;
INSERT INTO lists SELECT (SELECT array_agg(g % 400) FROM generate_series(1, 800) g),
  (SELECT array_agg('b' || g % 300) FROM generate_series(1, 600) g);
SELECT index_scans('SELECT count(*) FROM two
  WHERE a = ANY ((SELECT a FROM lists)::int[]) AND b = ANY ((SELECT b FROM lists)::text[])');
SELECT count(*), sum(v), count(DISTINCT (a, b)) FROM two
  WHERE a = ANY ((SELECT a FROM lists)::int[]) AND b = ANY ((SELECT b FROM lists)::text[]);
SELECT count(*), sum(v) FROM two WHERE a = ANY ((SELECT a FROM lists)::int[]) AND b IS NULL;
SELECT count(*) FROM two WHERE a = ANY ('{}') AND b = ANY ((SELECT b FROM lists)::text[]);
SET client_min_messages = warning;
DROP SCHEMA key_lists CASCADE;
