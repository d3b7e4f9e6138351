-- Savepoints, cursors, prepared transactions and subtransactions around bulk loads.
CREATE SCHEMA am_transactions;
SET search_path = am_transactions, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 10;
CREATE TABLE t (id int);
CREATE FUNCTION load(n int) RETURNS bigint LANGUAGE sql AS 'WITH i AS (INSERT INTO t SELECT g FROM generate_series(1, n) g RETURNING 1) SELECT count(*) FROM i';

-- Savepoints.
BEGIN;
SELECT load(100);
SAVEPOINT a;
SELECT load(200);
SAVEPOINT b;
SELECT load(400);
SELECT count(*) FROM t;
ROLLBACK TO b;
SELECT count(*) FROM t;
SELECT load(800);
RELEASE b;
SELECT count(*) FROM t;
ROLLBACK TO a;
SELECT count(*) FROM t;
DELETE FROM t WHERE id <= 50;
SAVEPOINT c;
DELETE FROM t WHERE id <= 60;
UPDATE t SET id = -id WHERE id <= 70;
SELECT count(*), sum(id) FROM t;
ROLLBACK TO c;
SELECT count(*), sum(id) FROM t;
COMMIT;
SELECT count(*), sum(id) FROM t;

-- A row deleted in a subtransaction that rolled back can be deleted and updated again.
BEGIN;
SAVEPOINT a;
DELETE FROM t WHERE id = 80;
ROLLBACK TO a;
UPDATE t SET id = 1080 WHERE id = 80;
SAVEPOINT b;
UPDATE t SET id = 2080 WHERE id = 1080;
ROLLBACK TO b;
SELECT id FROM t WHERE id IN (80, 1080, 2080);
COMMIT;

-- Cursors see the table as it was when they were opened.
BEGIN;
DECLARE before CURSOR FOR SELECT count(*) FROM t;
DECLARE rows SCROLL CURSOR FOR SELECT id FROM t;
SELECT load(100);
DECLARE between_loads CURSOR FOR SELECT count(*) FROM t;
DELETE FROM t WHERE id > 90;
SELECT load(50);
FETCH before;
FETCH between_loads;
MOVE ALL IN rows;
MOVE BACKWARD ALL IN rows;
SELECT count(*) FROM t;
COMMIT;

-- WHERE CURRENT OF.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t WHERE id = 85 FOR UPDATE;
FETCH c;
UPDATE t SET id = 8500 WHERE CURRENT OF c;
SELECT count(*) FROM t WHERE id IN (85, 8500);
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t WHERE id = 85;
FETCH c;
DELETE FROM t WHERE CURRENT OF c;
ROLLBACK;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id LIMIT 3;
SELECT load(10);
COMMIT;
DELETE FROM t WHERE id < 5;
FETCH ALL FROM h;
CLOSE h;

-- Two-phase commit.
TRUNCATE t;
BEGIN;
SELECT load(300);
DELETE FROM t WHERE id > 290;
PREPARE TRANSACTION 'am_transactions';
SELECT count(*) FROM t;
COMMIT PREPARED 'am_transactions';
SELECT count(*), max(id) FROM t;
BEGIN;
SELECT load(300);
PREPARE TRANSACTION 'am_transactions';
ROLLBACK PREPARED 'am_transactions';
SELECT count(*) FROM t;

-- Procedures that commit, blocks that catch.
CREATE PROCEDURE batches() LANGUAGE plpgsql AS $$ BEGIN
  FOR i IN 1..3 LOOP
    INSERT INTO t SELECT g FROM generate_series(1, 100) g;
    IF i = 2 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP; END $$;
CALL batches();
SELECT count(*) FROM t;
DO $$ BEGIN
  INSERT INTO t SELECT g FROM generate_series(1, 100) g;
  BEGIN
    INSERT INTO t SELECT 10 / (50 - g) FROM generate_series(1, 100) g;
  EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'caught with % rows', (SELECT count(*) FROM t);
  END;
  INSERT INTO t SELECT g FROM generate_series(1, 11) g;
END $$;
SELECT count(*) FROM t;

-- DDL in the middle of a transaction.
BEGIN;
SELECT load(100);
ALTER TABLE t ADD COLUMN more text DEFAULT 'new';
SELECT count(*), count(more) FROM t;
INSERT INTO t SELECT g, 'other' FROM generate_series(1, 20) g;
SAVEPOINT s;
TRUNCATE t;
INSERT INTO t SELECT g FROM generate_series(1, 15) g;
SELECT count(*), count(more) FROM t;
ROLLBACK TO s;
ALTER TABLE t ALTER id TYPE bigint;
SELECT count(*), count(DISTINCT more) FROM t;
DROP TABLE t;
ROLLBACK;
SELECT count(*) FROM t;

-- Isolation levels in one session.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT load(50);
SELECT count(*) FROM t;
DELETE FROM t WHERE id = 1;
SELECT count(*) FROM t;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM t;
SELECT load(50);
ROLLBACK;
\set VERBOSITY terse
DROP SCHEMA am_transactions CASCADE;
