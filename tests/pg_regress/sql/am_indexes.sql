-- Every kind of index over heap rows and segment rows answers as a sequential scan does.
CREATE SCHEMA am_indexes;
SET search_path = am_indexes, public;
SET client_min_messages = warning;
SET default_table_access_method = doris;
CREATE TABLE t (id int, k int, txt text, tags int[], span int4range, at point, doc jsonb, words tsvector);
CREATE FUNCTION fill(from_id int, to_id int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO t SELECT g, g % 97, 'text ' || g % 211, ARRAY[g % 5, g % 7, g % 11], int4range(g, g + 10), point(g % 50, g % 60),
    jsonb_build_object('k', g % 13), to_tsvector('simple', 'word' || g % 17 || ' w' || g % 3) FROM generate_series(from_id, to_id) g $$;
-- Index entries come from building over both halves, and from inserting into both.
SET doris.rows_to_heap = 0;
SELECT fill(1, 2000);
SET doris.rows_to_heap = 2048;
SELECT fill(2001, 2100);
CREATE UNIQUE INDEX t_id ON t (id);
CREATE INDEX t_k ON t (k) INCLUDE (id);
CREATE INDEX t_hash ON t USING hash (txt);
CREATE INDEX t_gin ON t USING gin (tags);
CREATE INDEX t_words ON t USING gin (words);
CREATE INDEX t_doc ON t USING gin (doc);
CREATE INDEX t_gist ON t USING gist (span);
CREATE INDEX t_point ON t USING gist (at);
CREATE INDEX t_spgist ON t USING spgist (at);
CREATE INDEX t_partial ON t (k, id) WHERE k < 5;
CREATE INDEX t_expression ON t (lower(txt), (k * 2));
CREATE INDEX CONCURRENTLY t_concurrent ON t (k DESC, txt);
SET doris.rows_to_heap = 0;
SELECT fill(2101, 4000);
DELETE FROM t WHERE id % 10 = 0;
UPDATE t SET k = k + 1 WHERE id % 10 = 1;
REINDEX INDEX CONCURRENTLY t_k;

-- Counts what a condition finds through indexes and without; they must be equal, and an index must be used.
CREATE FUNCTION compare(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE by_scan text; by_index text; by_bitmap text; line text; used text := 'no index'; q text;
BEGIN
  q := 'SELECT count(*) || '' '' || coalesce(sum(id), 0) FROM t WHERE ' || condition;
  SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
  SET LOCAL enable_seqscan = on;
  EXECUTE q INTO by_scan;
  SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = on;
  EXECUTE q INTO by_bitmap;
  SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = off;
  EXECUTE q INTO by_index;
  SET LOCAL enable_bitmapscan = on;
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || q LOOP
    IF line ~ 'Index' THEN used := 'index'; END IF;
  END LOOP;
  IF by_scan IS DISTINCT FROM by_index OR by_scan IS DISTINCT FROM by_bitmap THEN
    RETURN format('scan %s, index %s, bitmap %s', by_scan, by_index, by_bitmap);
  END IF;
  RETURN used || ', ' || CASE WHEN by_scan = '0 0' THEN 'no rows' ELSE 'same' END;
END $$;
SELECT c, compare(c) FROM unnest(ARRAY[
  'id = 17', 'id = 2050', 'id = 3999', 'id = 10', 'id BETWEEN 1990 AND 2110', 'id IN (1, 2, 3, 2001, 4000)', 'id > 3990',
  'k = 3', 'k < 2', 'k BETWEEN 90 AND 97 ', 'k IN (1, 50)', 'txt = ''text 7''', 'tags @> ''{4}''', 'tags && ''{1,6}'' AND id < 3000',
  'words @@ ''word3''', 'doc @> ''{"k": 4}''', 'span @> 2055', 'span && ''[10,30)''', 'at <@ box ''(3,3),(5,9)''', 'at ~= point ''(1,1)''',
  'k < 5 AND k = 4', 'lower(txt) = ''text 9''', 'lower(txt) = ''text 9'' AND k * 2 = 18', 'k = 5 AND id < 100 OR k = 7 AND id > 3000']) c;
SELECT id FROM t ORDER BY id DESC LIMIT 3;
SELECT id FROM t ORDER BY at <-> point '(7,7)', id LIMIT 1;
SELECT min(id), max(id), min(k), max(k) FROM t;

-- A rolled-back delete leaves a row for the indexes built after it.
BEGIN;
DELETE FROM t WHERE id % 9 = 1;
ROLLBACK;
REINDEX TABLE t;
SELECT compare('id > 0'), compare('k = 50');
SELECT * FROM doris.verify('t');

-- Unique and exclusion constraints.
INSERT INTO t (id) VALUES (17);
INSERT INTO t (id) VALUES (2050);
INSERT INTO t (id) VALUES (10);
INSERT INTO t (id) SELECT 5000 + g % 2999 FROM generate_series(1, 3000) g;
SELECT count(*) FROM t WHERE id >= 5000;
BEGIN;
DELETE FROM t WHERE id = 17;
INSERT INTO t (id) VALUES (17);
ROLLBACK;
\set VERBOSITY terse
CREATE UNIQUE INDEX ON t (k);
CREATE UNIQUE INDEX CONCURRENTLY not_unique ON t (k);
\set VERBOSITY default
SELECT indisvalid FROM pg_index WHERE indexrelid = 'not_unique'::regclass;
DROP INDEX not_unique;
CREATE TABLE rooms (during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO rooms SELECT int4range(g * 10, g * 10 + 5) FROM generate_series(1, 3000) g;
INSERT INTO rooms VALUES ('[102,103)');
CREATE TABLE later (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO later SELECT g FROM generate_series(1, 3000) g;
UPDATE later SET id = id + 1;
SELECT count(*), min(id), max(id) FROM later;
BEGIN;
INSERT INTO later VALUES (5);
COMMIT;

-- VACUUM cleans what it may and breaks nothing.
VACUUM t;
SELECT compare('id BETWEEN 1 AND 4000'), compare('k < 20'), compare('tags @> ''{4}''');
VACUUM FULL t;
SELECT compare('id BETWEEN 1 AND 4000'), compare('k < 20'), compare('tags @> ''{4}''');
\set VERBOSITY terse
DROP SCHEMA am_indexes CASCADE;
