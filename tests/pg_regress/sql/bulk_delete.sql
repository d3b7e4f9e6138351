-- DELETE statements that hit many segment rows delete them in bulk, and nobody can tell.
CREATE SCHEMA bulk_delete;
SET search_path = bulk_delete, public;
SET default_table_access_method = doris;
SET doris.bulk_delete_rows = 100;
SET doris.rows_to_heap = 0;
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t SELECT g, g % 10 FROM generate_series(1, 20000) g;
ANALYZE t;
CREATE FUNCTION plan(text) RETURNS SETOF text LANGUAGE plpgsql AS
  $$ DECLARE line text; BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || $1 LOOP
      RETURN NEXT replace(line, '.00 ', ' ');
    END LOOP;
  END $$;
BEGIN;
SELECT plan('DELETE FROM t WHERE v < 3') AS plan;
SELECT count(*), sum(id), min(v) FROM t;
SELECT sum(deleted_rows) FROM doris.segments_of('t');
ROLLBACK;
SELECT count(*), sum(id), min(v) FROM t;

-- One row is looked up; volatile functions, other writers and row locks in the statement leave it as it is.
EXPLAIN (COSTS OFF) DELETE FROM t WHERE id = 5;
EXPLAIN (COSTS OFF) DELETE FROM t WHERE random() < 0.5;
EXPLAIN (COSTS OFF) DELETE FROM t WHERE v IN (SELECT v FROM t WHERE id < 100 FOR UPDATE);
EXPLAIN (COSTS OFF) WITH x AS (DELETE FROM t WHERE v = 1 RETURNING id) DELETE FROM t WHERE v = 2;
SET doris.bulk_delete_rows = 0;
EXPLAIN (COSTS OFF) DELETE FROM t WHERE v = 2;
SET doris.bulk_delete_rows = 100;

-- RETURNING, USING with rows that match twice, savepoints, cursors, a second statement of the transaction.
WITH gone AS (DELETE FROM t WHERE v = 0 RETURNING id, v, ctid IS NOT NULL AS c, tableoid::regclass AS o)
  SELECT count(*), sum(id), sum(v), bool_and(c), min(o::text) FROM gone;
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(id) FROM t;
DECLARE d NO SCROLL CURSOR FOR SELECT id FROM t ORDER BY id;
FETCH 2 FROM d;
SAVEPOINT a;
DELETE FROM t USING (VALUES (1), (1), (2)) x(v) WHERE t.v = x.v;
SELECT count(*) FROM t;
DELETE FROM t WHERE v IN (1, 2, 3);
SELECT count(*) FROM t;
FETCH c;
FETCH 3 FROM d;
ROLLBACK TO a;
SELECT count(*) FROM t;
DELETE FROM t WHERE v = 4;
COMMIT;
SELECT count(*), sum(id) FROM t;
-- The deleted keys are free again.
INSERT INTO t SELECT g, 4 FROM generate_series(1, 20000) g WHERE g % 10 = 4;
SELECT count(*), sum(id) FROM t;

-- Heap rows and segment rows in one statement; rows that were updated before.
SET doris.rows_to_heap = 5000;
INSERT INTO t SELECT g, 9 FROM generate_series(20001, 22000) g;
UPDATE t SET v = 20 WHERE id % 20 = 5;
DELETE FROM t WHERE v IN (9, 20);
SELECT count(*), sum(id), max(v) FROM t;

-- Triggers: a BEFORE trigger sees each row in turn, AFTER triggers see all.
CREATE TABLE log (what text, n bigint);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log SELECT TG_WHEN || ' ' || OLD.id, count(*) FROM t; RETURN OLD; END $$;
CREATE FUNCTION note_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log SELECT 'all', count(*) FROM gone; RETURN NULL; END $$;
CREATE TRIGGER after_all AFTER DELETE ON t REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_all();
CREATE TRIGGER after_row AFTER DELETE ON t FOR EACH ROW WHEN (OLD.id % 1000 = 6) EXECUTE FUNCTION note_row();
DELETE FROM t WHERE v = 6;
SELECT count(*), min(n), max(n) FROM log WHERE what LIKE 'AFTER%';
SELECT * FROM log WHERE what = 'all';
TRUNCATE log;
CREATE TRIGGER before_row BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id % 1000 = 7) EXECUTE FUNCTION note_row();
DELETE FROM t WHERE v = 7;
SELECT count(*), count(DISTINCT n) FROM log WHERE what LIKE 'BEFORE%';
DROP TRIGGER before_row ON t;
-- A volatile function in the RETURNING list sees each delete.
CREATE FUNCTION rest(int) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM t';
WITH gone AS (DELETE FROM t WHERE v = 8 AND id < 500 RETURNING rest(id) AS n) SELECT count(DISTINCT n) FROM gone;
SELECT count(*), sum(id) FROM t;

-- Foreign keys, and partitions of several tables, one of them a heap.
CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE);
INSERT INTO child SELECT id FROM t WHERE v = 5 ORDER BY id LIMIT 10;
DELETE FROM t WHERE v = 5;
SELECT count(*) FROM child;
CREATE TABLE p (k int, id int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING heap;
CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
SET doris.rows_to_heap = 0;
INSERT INTO p SELECT 1 + g % 3, g FROM generate_series(1, 9000) g;
DELETE FROM p WHERE id % 2 = 0;
SELECT tableoid::regclass, count(*), sum(id) FROM p GROUP BY 1 ORDER BY 1;
BEGIN;
WITH gone AS (DELETE FROM p USING (SELECT g FROM generate_series(1, 9000, 6) g) x WHERE p.id = x.g RETURNING p.id, x.g)
  SELECT count(*), bool_and(id = g) FROM gone;
SELECT count(*) FROM p;
ROLLBACK;
SELECT count(*) FROM p;

-- A loop over what a DELETE returns.
DO $$ DECLARE r record; n int := 0; BEGIN
  FOR r IN DELETE FROM p USING (SELECT g FROM generate_series(1, 9000, 6) g) x WHERE p.id = x.g RETURNING p.id, x.g LOOP
    ASSERT r.id = r.g;
    n := n + 1;
  END LOOP;
  RAISE NOTICE '% rows', n;
END $$;
SELECT count(*) FROM p;

-- A keyed table; what was deleted can be loaded again, in bulk.
CREATE TABLE k (id int, v int) WITH (unique_key = 'id');
INSERT INTO k SELECT g, 1 FROM generate_series(1, 5000) g;
DELETE FROM k WHERE id % 2 = 0;
INSERT INTO k SELECT g, 2 FROM generate_series(1, 5000, 4) g;
INSERT INTO k SELECT g, 3 FROM generate_series(2, 5000, 4) g;
SELECT v, count(*), sum(id) FROM k GROUP BY v ORDER BY v;
DELETE FROM k;
SELECT count(*) FROM k;
-- All isolation levels.
INSERT INTO k SELECT g, 1 FROM generate_series(1, 5000) g;
BEGIN ISOLATION LEVEL SERIALIZABLE;
DELETE FROM k WHERE id > 100;
SELECT count(*) FROM k;
COMMIT;
SELECT count(*) FROM k;
-- Where only some rows are asked for, the statement stops after them.
CREATE FUNCTION run(text, bigint) RETURNS bigint LANGUAGE c STRICT VOLATILE AS 'pg_doris', 'test_run_wrapper';
INSERT INTO k SELECT g, 1 FROM generate_series(1, 5000) g;
SELECT run('DELETE FROM k WHERE id > 100 RETURNING id', 5);
SELECT count(*) FROM k;
