-- INSERT, UPDATE, DELETE, MERGE and their kin on segment rows, beside a heap that gets the same statements.
CREATE SCHEMA am_dml;
SET search_path = am_dml, public;
SET doris.rows_to_heap = 0;
CREATE TABLE h (id int, grp int, name text, amount numeric(12, 2)) USING heap;
CREATE TABLE d (id int, grp int, name text, amount numeric(12, 2)) USING doris;

-- Runs a statement on both tables, and says how many rows they had to do with.
CREATE PROCEDURE on_both(statement text) LANGUAGE plpgsql AS $$
DECLARE n_heap bigint; n_doris bigint;
BEGIN
  EXECUTE replace(statement, '@', 'h'); GET DIAGNOSTICS n_heap = ROW_COUNT;
  EXECUTE replace(statement, '@', 'd'); GET DIAGNOSTICS n_doris = ROW_COUNT;
  RAISE NOTICE '% rows, % in the heap', n_doris, n_heap;
END $$;
CREATE VIEW same AS SELECT
  (SELECT count(*) FROM d) AS rows,
  (SELECT count(*) FROM (SELECT * FROM d EXCEPT ALL SELECT * FROM h) x) AS extra,
  (SELECT count(*) FROM (SELECT * FROM h EXCEPT ALL SELECT * FROM d) x) AS missing;

CALL on_both('INSERT INTO @ SELECT g, g % 10, ''name '' || g % 100, g / 4.0 FROM generate_series(1, 5000) g');
SELECT * FROM same;
SELECT count(*) AS segment_rows FROM d WHERE ctid >= '(2147483648,1)';

CALL on_both('UPDATE @ SET amount = amount + 1, name = NULL WHERE id % 50 = 0');
CALL on_both('UPDATE @ SET amount = amount * 2 WHERE id % 100 = 0');
CALL on_both('DELETE FROM @ WHERE grp = 3');
CALL on_both('DELETE FROM @ WHERE grp = 3');
SELECT * FROM same;
CALL on_both('UPDATE @ SET id = id + 100000 FROM generate_series(1, 40) g WHERE @.id = g');
CALL on_both('DELETE FROM @ USING generate_series(41, 60) g WHERE @.id = g');
SELECT * FROM same;
CALL on_both('INSERT INTO @ SELECT * FROM @');
CALL on_both('UPDATE @ SET grp = grp + 1');
SELECT * FROM same;

-- A row that two source rows update is updated once, as in a heap.
CALL on_both('UPDATE @ SET amount = 0 FROM (VALUES (100), (100), (200)) v(id) WHERE @.id = v.id');
SELECT * FROM same;

CALL on_both($$MERGE INTO @ USING (SELECT g AS id FROM generate_series(4990, 5010) g) s ON @.id = s.id AND @.grp < 100
  WHEN MATCHED AND s.id % 2 = 0 THEN DELETE
  WHEN MATCHED THEN UPDATE SET name = 'merged'
  WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, 'new', s.id)$$);
SELECT * FROM same;

-- RETURNING sees the row as written; its TID finds the row again.
WITH gone AS (DELETE FROM d WHERE id = 777 RETURNING *) SELECT count(*), min(name) FROM gone;
DELETE FROM h WHERE id = 777;
INSERT INTO d VALUES (1, 2, 'returned', 3.14159) RETURNING id, grp, name, amount, tableoid::regclass, xmax;
INSERT INTO h VALUES (1, 2, 'returned', 3.14159);
WITH new AS (INSERT INTO d VALUES (9001, 1, 'tid', 1) RETURNING ctid AS at) SELECT count(*) FROM new;
SELECT d.name FROM d WHERE ctid = (SELECT ctid FROM d WHERE id = 9001);
INSERT INTO h VALUES (9001, 1, 'tid', 1);
UPDATE d SET name = name || '!' WHERE id = 9001 RETURNING name;
UPDATE h SET name = name || '!' WHERE id = 9001;
SELECT * FROM same;

-- A statement does not see what it writes; the next one does.
BEGIN;
INSERT INTO d SELECT id + 1000000, grp, name, amount FROM d;
SELECT count(*) FROM d;
DELETE FROM d WHERE id > 1000000;
SELECT * FROM same;
ROLLBACK;
SELECT * FROM same;

-- Modifying queries in WITH share one snapshot.
WITH i AS (INSERT INTO d VALUES (70000, 7, 'with', 7) RETURNING id), c AS (SELECT count(*) AS n FROM d WHERE id = 70000)
SELECT i.id, c.n FROM i, c;
DELETE FROM d WHERE id = 70000;

-- ON CONFLICT.
CREATE TABLE hk (k int PRIMARY KEY, v text) USING heap;
CREATE TABLE dk (k int PRIMARY KEY, v text) USING doris;
CALL on_both('INSERT INTO @k SELECT g, ''first'' FROM generate_series(1, 3000) g');
CALL on_both('INSERT INTO @k SELECT g, ''second'' FROM generate_series(2990, 3010) g ON CONFLICT (k) DO UPDATE SET v = excluded.v');
CALL on_both('INSERT INTO @k SELECT g, ''third'' FROM generate_series(1, 20) g ON CONFLICT DO NOTHING');
SELECT count(*), count(DISTINCT k), count(*) FILTER (WHERE v = 'second') FROM dk;
SELECT count(*), count(DISTINCT k), count(*) FILTER (WHERE v = 'second') FROM hk;
INSERT INTO dk VALUES (5, 'again');
INSERT INTO dk SELECT 6000 + g % 3, 'twice' FROM generate_series(1, 9) g;
UPDATE dk SET k = 7 WHERE k = 8;
DELETE FROM dk WHERE k = 9;
INSERT INTO dk VALUES (9, 'back');
SELECT * FROM dk WHERE k BETWEEN 6 AND 10 ORDER BY k;

-- Row locks and TRUNCATE.
SELECT id FROM d WHERE id IN (5, 6) ORDER BY id FOR UPDATE;
SELECT count(*) FROM (SELECT id FROM d FOR KEY SHARE) x;
CALL on_both('DELETE FROM @ WHERE id IN (5, 6)');
SELECT * FROM same;
BEGIN;
TRUNCATE d;
SELECT count(*) FROM d;
INSERT INTO d VALUES (1, 1, 'after', 1);
SELECT count(*) FROM d;
ROLLBACK;
SELECT * FROM same;
TRUNCATE d, h;
CALL on_both('INSERT INTO @ VALUES (1, 1, ''after'', 1)');
SELECT * FROM same;

-- VACUUM and ANALYZE.
CALL on_both('INSERT INTO @ SELECT g, g % 10, ''name '' || g % 100, g / 4.0 FROM generate_series(1, 20000) g');
CALL on_both('DELETE FROM @ WHERE id % 4 = 0');
VACUUM ANALYZE d;
VACUUM ANALYZE h;
SELECT d.reltuples = h.reltuples AS same_count FROM pg_class d, pg_class h WHERE d.oid = 'd'::regclass AND h.oid = 'h'::regclass;
SELECT attname, n_distinct, null_frac FROM pg_stats WHERE schemaname = 'am_dml' AND tablename = 'd' AND attname IN ('grp', 'name') ORDER BY 1;
SELECT * FROM same;
VACUUM FULL d;
SELECT * FROM same;

-- Scans in both directions, by TID, samples, cursors.
-- A row has one TID only: offsets beyond those of a block name none.
BEGIN;
WITH gone AS (DELETE FROM d WHERE ctid = ANY (ARRAY(SELECT ('(' || b || ',' || o || ')')::tid
  FROM generate_series(2147483648, 2147483700) b, (VALUES (0), (292), (400), (65535)) o(o))) RETURNING id)
SELECT count(*) FROM gone;
ROLLBACK;
SELECT count(*) FROM d WHERE ctid IN (SELECT ctid FROM d WHERE id < 100);
SELECT count(*) = (SELECT count(*) FROM d) AS all_rows FROM d WHERE ctid > '(0,0)';
SELECT count(*) = (SELECT count(*) FROM d) AS all_rows FROM d TABLESAMPLE BERNOULLI (100);
SELECT count(*) = (SELECT count(*) FROM d) AS all_rows FROM d TABLESAMPLE SYSTEM (100);
SELECT count(*) BETWEEN 1 AND 14000 AS some_rows FROM d TABLESAMPLE SYSTEM (30) REPEATABLE (7);
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM d WHERE id IN (1, 2, 3, 5, 19999);
FETCH ALL FROM c;
FETCH BACKWARD ALL FROM c;
FETCH ABSOLUTE 2 FROM c;
COMMIT;
\set VERBOSITY terse
DROP SCHEMA am_dml CASCADE;
