-- Tables with one row a key: an insert replaces the row of its key.
CREATE SCHEMA unique_key;
SET search_path = unique_key;

-- single rows
CREATE TABLE t (a int, b text, v int, w text) USING doris WITH (unique_key = 'a, b');
\d t
INSERT INTO t VALUES (1, 'x', 1, 'one'), (2, 'y', 2, 'two'), (NULL, 'z', 3, 'null');
INSERT INTO t VALUES (1, 'x', 10, 'uno'), (NULL, 'z', 30, 'nul') RETURNING *;
-- the last of one statement stays
INSERT INTO t VALUES (5, 'q', 1, 'q1'), (5, 'q', 2, 'q2'), (5, 'q', 3, 'q3');
SELECT * FROM t ORDER BY a, b;
SELECT * FROM t WHERE a = 1 AND b = 'x';
SELECT * FROM t WHERE a IS NULL AND b = 'z';

-- segments
SET doris.rows_to_heap = 0;
INSERT INTO t SELECT i, 'k' || i, i, 'bulk' FROM generate_series(1, 10) i;
INSERT INTO t SELECT i, 'k' || i, -i, 'bulk2' FROM generate_series(5, 14) i;
INSERT INTO t SELECT 1, 'x', 99, 'over a heap row';
RESET doris.rows_to_heap;
SELECT * FROM t ORDER BY a, b;
INSERT INTO t VALUES (7, 'k7', 777, 'single over segment');
-- the index on the key looks whole keys up, in heap and segments
SET doris.enable_vectorization = off;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a = 7 AND b = 'k7';
SELECT * FROM t WHERE a = 7 AND b = 'k7';
SELECT * FROM t WHERE a = 6 AND b = 'k6';
SELECT * FROM t WHERE a = 6::bigint AND b = 'k6';
SELECT * FROM t WHERE a = 6000000000 AND b = 'k6';
SELECT * FROM t WHERE a = 66 AND b = 'k6';
SELECT * FROM t WHERE a IS NULL AND b = 'z';
RESET enable_seqscan;
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a = 7;
EXPLAIN (COSTS OFF) SELECT a, b FROM t ORDER BY a, b;
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a < 7;
SELECT min(a), max(a) FROM t;
RESET doris.enable_vectorization;

-- UPDATE and DELETE
UPDATE t SET v = v + 1 WHERE a = 8 AND b = 'k8';
DELETE FROM t WHERE a = 9 AND b = 'k9';
INSERT INTO t VALUES (9, 'k9', 9, 'back');
UPDATE t SET a = 11, b = 'k11' WHERE a = 12;
UPDATE t SET a = 7, b = 'k7' WHERE a = 12;
UPDATE t SET a = 100 WHERE a = 12;
SELECT * FROM t WHERE a IN (8, 9, 11, 12, 100) ORDER BY a;

-- ON CONFLICT
INSERT INTO t VALUES (8, 'k8', 88, 'x') ON CONFLICT (a, b) DO UPDATE SET v = excluded.v + t.v RETURNING *;
INSERT INTO t VALUES (10, 'k10', 88, 'x') ON CONFLICT (a, b) DO UPDATE SET v = excluded.v + t.v RETURNING *;
INSERT INTO t VALUES (11, 'k11', 88, 'x') ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO t VALUES (12, 'k12', 12, 'new') ON CONFLICT DO NOTHING RETURNING *;

-- MERGE
MERGE INTO t USING (VALUES (13, 'k13', 1300), (15, 'k15', 1500)) s (a, b, v) ON t.a = s.a AND t.b = s.b
  WHEN MATCHED THEN UPDATE SET v = s.v
  WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b, s.v, 'merged');
SELECT * FROM t WHERE a > 12 ORDER BY a;

-- savepoints, cursors
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(v) FROM t;
SAVEPOINT s;
SET LOCAL doris.rows_to_heap = 0;
INSERT INTO t SELECT i, 'k' || i, 0, 'rolled back' FROM generate_series(1, 200) i;
SELECT count(*), sum(v) FROM t;
INSERT INTO t VALUES (3, 'k3', 333, 'rolled back');
SELECT * FROM t WHERE a = 3 AND b = 'k3';
FETCH ALL c;
ROLLBACK TO s;
SELECT count(*), sum(v) FROM t;
INSERT INTO t SELECT i, 'k' || i, 0, 'kept' FROM generate_series(3, 4) i;
INSERT INTO t SELECT i, 'k' || i, 1, 'kept' FROM generate_series(4, 5) i;
COMMIT;
SELECT * FROM t WHERE a IN (3, 4, 5) ORDER BY a, b;

-- COPY
COPY t FROM stdin;
1	x	5	copy
1	x	6	copy2
200	n	1	new
\.
SELECT * FROM t WHERE a IN (1, 200) ORDER BY a, b;
SET doris.rows_to_heap = 1;
COPY t FROM stdin;
1	x	7	copy
1	x	8	copy2
200	n	2	newer
201	n	1	new
\.
RESET doris.rows_to_heap;
SELECT * FROM t WHERE a IN (1, 200, 201) ORDER BY a, b;

-- CREATE TABLE AS; the key index through REINDEX, VACUUM FULL, DROP, ADD PRIMARY KEY
CREATE TABLE c USING doris WITH (unique_key = 'a') AS SELECT i % 10 AS a, i AS v FROM generate_series(1, 1000) i;
SELECT * FROM c ORDER BY a;
REINDEX TABLE c;
INSERT INTO c VALUES (3, 0);
VACUUM FULL c;
INSERT INTO c VALUES (4, 0), (10, 10);
SELECT count(*), sum(v) FROM c;
DROP INDEX c_key_idx;
-- as pg_dump writes it
CREATE UNIQUE INDEX c_key_idx ON unique_key.c USING btree (a) NULLS NOT DISTINCT;
ALTER TABLE c ADD PRIMARY KEY (a);
\d c
ALTER TABLE c DROP CONSTRAINT c_pkey;
\d c
INSERT INTO c VALUES (4, 44);
SELECT count(*), sum(v) FROM c;

-- a primary key is the key index
CREATE TABLE p (id bigint PRIMARY KEY, v text) USING doris WITH (unique_key = 'id');
\d p
SET doris.rows_to_heap = 0;
INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 100) i;
RESET doris.rows_to_heap;
INSERT INTO p VALUES (NULL, 'null');
-- foreign keys to it
CREATE TABLE child (id bigint REFERENCES p);
INSERT INTO child VALUES (5);
INSERT INTO child VALUES (101);
DELETE FROM p WHERE id = 5;
INSERT INTO p VALUES (5, 'replaced'), (101, 'new');
INSERT INTO child VALUES (101);
DELETE FROM p WHERE id = 101;
DELETE FROM p WHERE id = 6;
SELECT * FROM p WHERE id IN (5, 6, 101) ORDER BY id;
DROP TABLE child;

-- a secondary unique index
CREATE TABLE s (k int, u int UNIQUE, v int) USING doris WITH (unique_key = 'k');
INSERT INTO s VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO s VALUES (1, 2, 3);
INSERT INTO s VALUES (1, 3, 3), (2, 1, 4);
SET doris.rows_to_heap = 0;
INSERT INTO s SELECT i, i + 10, 0 FROM generate_series(1, 5) i;
INSERT INTO s SELECT 1 + i % 5, i + 20, i FROM generate_series(1, 10) i;
INSERT INTO s VALUES (9, 30, 0);
RESET doris.rows_to_heap;
SELECT * FROM s ORDER BY k;
SELECT * FROM s WHERE u = 29;
SELECT * FROM s WHERE u = 24;
-- what refers to other columns than the key's would not be checked
CREATE TABLE child (u int REFERENCES s (u));
INSERT INTO s VALUES (3, 33, 0);
INSERT INTO s VALUES (3, 33, 0) ON CONFLICT (k) DO UPDATE SET u = 34;
DROP TABLE child;

-- triggers of the row that is inserted
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE NOTICE '% % %', TG_WHEN, TG_OP, NEW; RETURN NEW; END $$;
CREATE TRIGGER before BEFORE INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER after AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO p VALUES (7, 'seven'), (7, 'VII'), (300, 'new');
SELECT * FROM p WHERE id IN (7, 300) ORDER BY id;
DROP TRIGGER before ON p;
DROP TRIGGER after ON p;

-- prepared statements
PREPARE up(bigint, text) AS INSERT INTO p VALUES ($1, $2);
PREPARE look(bigint) AS SELECT v FROM p WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE up(8, 'eight');
EXECUTE look(8);
EXECUTE look(9);
EXECUTE up(8, 'VIII');
EXECUTE look(8);
RESET plan_cache_mode;

-- keys that are equal but look different
CREATE TABLE n (k numeric, v int) USING doris WITH (unique_key = 'k');
INSERT INTO n VALUES (1.0, 1), (1.00, 2), ('NaN', 3), ('NaN', 4), (-0.5, 1), (-0.50, 2), (0, 1), (0.000, 2);
SELECT * FROM n ORDER BY k;
SET doris.rows_to_heap = 0;
INSERT INTO n SELECT k, v FROM (VALUES (1.000, 5), ('NaN'::numeric, 6), (-0.500, 7), (0.00, 8), (1, 9)) x (k, v);
SELECT * FROM n ORDER BY k;
INSERT INTO n SELECT k, v FROM (VALUES (1.00000, 15), ('NaN'::numeric, 16), (-0.5, 17), (0, 18)) x (k, v);
SELECT * FROM n ORDER BY k;
CREATE TABLE d (k numeric(10, 2), v int) USING doris WITH (unique_key = 'k');
INSERT INTO d SELECT k, v FROM (VALUES (1.0, 1), (1.00, 2), (2.5, 3)) x (k, v);
INSERT INTO d SELECT k, v FROM (VALUES ('NaN'::numeric, 1), (1, 4), (2.50, 5)) x (k, v);
INSERT INTO d SELECT k, v FROM (VALUES ('NaN'::numeric, 6), (1, 7)) x (k, v);
INSERT INTO d SELECT 2.5, 8;
RESET doris.rows_to_heap;
INSERT INTO d VALUES (1, 9);
SELECT * FROM d ORDER BY k;

-- partitions
CREATE TABLE parted (day date, id int, v int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')
  USING doris WITH (unique_key = 'day, id');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')
  USING doris WITH (unique_key = 'day, id');
INSERT INTO parted VALUES ('2024-01-05', 1, 1), ('2024-02-05', 1, 2), ('2024-01-05', 1, 3);
SET doris.rows_to_heap = 1;
COPY parted FROM stdin;
2024-01-05	1	4
2024-01-06	1	5
2024-02-06	1	6
2024-02-05	1	7
2024-01-06	1	8
\.
RESET doris.rows_to_heap;
SELECT * FROM parted ORDER BY day, id;

-- refused
CREATE TABLE bad (a int, b int) USING doris WITH (unique_key = 'b');
CREATE TABLE bad (a float8, b int) USING doris WITH (unique_key = 'a');
CREATE TABLE bad (a interval, b int) USING doris WITH (unique_key = 'a');
CREATE TABLE bad (a int, b int) USING doris WITH (unique_key = 'a', duplicate_key = 'a');
CREATE MATERIALIZED VIEW bad USING doris WITH (unique_key = 'a') AS SELECT 1 AS a;
ALTER TABLE t SET (unique_key = 'a');
ALTER TABLE t DROP COLUMN a;
ALTER TABLE c ALTER COLUMN a TYPE bigint;

SET client_min_messages = warning;
DROP SCHEMA unique_key CASCADE;

-- Lists of keys are looked up by the key index, in heap and segments.
CREATE SCHEMA key_lists;
SET search_path = key_lists, doris, public;
SET default_table_access_method = doris;
CREATE TABLE l (k int, v text) WITH (unique_key = 'k');
INSERT INTO l SELECT g, 'segment' FROM generate_series(1, 20000) g;
INSERT INTO l VALUES (5, 'heap'), (30000, 'heap');
DELETE FROM l WHERE k = 6;
ANALYZE l;
EXPLAIN (COSTS OFF) SELECT * FROM l WHERE k IN (5, 6, 7, 30000);
SELECT * FROM l WHERE k IN (5, 6, 7, 30000) ORDER BY k;
SELECT * FROM l WHERE k = ANY (ARRAY[7, NULL, 7, 40000, 5]) ORDER BY k;
SELECT * FROM l WHERE k = ANY (ARRAY[7, 30000]::bigint[]) ORDER BY k DESC;
SELECT count(*) FROM l WHERE k = ANY (ARRAY(SELECT g FROM generate_series(1, 40000, 7) g)) ;
SELECT count(*) FROM l WHERE k = ANY ('{}');
SELECT count(*) FROM l WHERE k = ANY (NULL::int[]);
UPDATE l SET v = 'updated' WHERE k IN (5, 7, 30000);
DELETE FROM l WHERE k IN (8, 30000);
SELECT * FROM l WHERE k IN (5, 6, 7, 8, 9, 30000) ORDER BY k;
-- Keys of two columns, one of them text; rows in the order in which they came, with bloom filters.
CREATE TABLE m (a int, b text, v int) WITH (unique_key = 'a, b');
CREATE INDEX ON m (v);
SET doris.rows_to_heap = 0;
INSERT INTO m SELECT g * 7919 % 20011, 'b' || g % 3, g FROM generate_series(1, 20000) g;
INSERT INTO m SELECT g * 7919 % 20011, 'b' || g % 3, -g FROM generate_series(1, 20000, 100) g;
RESET doris.rows_to_heap;
INSERT INTO m VALUES (7919, 'b1', 0), (7919, 'b9', 0);
SELECT * FROM m WHERE a IN (7919, 15838) AND b IN ('b1', 'b2', 'b9') ORDER BY a, b;
SELECT count(*), sum(v) FROM m;
SET enable_seqscan = off; SET doris.enable_vectorization = off;
EXPLAIN (COSTS OFF) SELECT * FROM m WHERE a IN (7919, 15838) AND b IN ('b1', 'b2', 'b9');
SELECT * FROM m WHERE a IN (7919, 15838) AND b IN ('b1', 'b2', 'b9') ORDER BY a, b;
-- No order is expected of the key index.
EXPLAIN (COSTS OFF) SELECT k FROM l WHERE k IN (5, 30000) ORDER BY k;
RESET enable_seqscan; RESET doris.enable_vectorization;
SELECT * FROM doris.verify('m');

-- A function that reads or changes the table which its statement is loading sees the rows before, in an exception block
-- too; what that publishes is pending again when it rolls back.
CREATE TABLE loaded (k int, v bigint) WITH (unique_key = 'k');
CREATE FUNCTION plain() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM loaded); END $$;
CREATE FUNCTION guarded() RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN RETURN (SELECT count(*) FROM loaded); EXCEPTION WHEN division_by_zero THEN RETURN -1; END $$;
CREATE FUNCTION guarded_write() RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO loaded VALUES (1, -1); RETURN 0; EXCEPTION WHEN division_by_zero THEN RETURN -1; END $$;
CREATE FUNCTION steady() RETURNS bigint LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN (SELECT count(*) FROM loaded); EXCEPTION WHEN division_by_zero THEN RETURN -1; END $$;
SET doris.rows_to_heap = 0;
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN plain() END FROM generate_series(1, 5000) g;
SELECT count(*), sum(v) FROM loaded;
TRUNCATE loaded;
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN guarded() END FROM generate_series(1, 5000) g;
SELECT count(*), sum(v) FROM loaded;
-- The row that is written before its place in the load stays, the other is replaced.
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN guarded_write() END FROM generate_series(1, 5000) g;
SELECT count(*), sum(v) FROM loaded;
SELECT * FROM loaded WHERE v IS NOT NULL ORDER BY k;
TRUNCATE loaded;
INSERT INTO loaded SELECT 5001 - g, CASE WHEN g = 4000 THEN guarded_write() END FROM generate_series(1, 5000) g;
SELECT * FROM loaded WHERE v IS NOT NULL ORDER BY k;
-- Nested blocks, each of which may roll back after it has read, written or deleted.
CREATE FUNCTION nested(g int) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE n bigint; m bigint;
  BEGIN
    BEGIN
      INSERT INTO loaded VALUES (-g, g);
      BEGIN
        DELETE FROM loaded WHERE k = g - 1;
        UPDATE loaded SET v = 7 WHERE k = g - 2;
        SELECT count(*) INTO n FROM loaded;
        PERFORM 1 / (g % 2);
      EXCEPTION WHEN division_by_zero THEN
        n := -n;
      END;
      SELECT count(*) INTO m FROM loaded WHERE k IN (g - 1, g - 2);
      PERFORM 1 / (g % 3);
    EXCEPTION WHEN division_by_zero THEN
      m := -1;
    END;
    RETURN n * 10 + m;
  END $$;
TRUNCATE loaded;
INSERT INTO loaded SELECT g, CASE WHEN g BETWEEN 2990 AND 3010 THEN nested(g) END FROM generate_series(1, 5000) g;
SELECT k, v FROM loaded WHERE v IS NOT NULL OR k < 0 ORDER BY k;
SELECT count(*), sum(k) FROM loaded;
-- As if the statement wrote row by row.
CREATE TABLE bulk AS TABLE loaded;
TRUNCATE loaded;
SET doris.enable_bulk_load = off;
INSERT INTO loaded SELECT g, CASE WHEN g BETWEEN 2990 AND 3010 THEN nested(g) END FROM generate_series(1, 5000) g;
RESET doris.enable_bulk_load;
(TABLE loaded EXCEPT ALL TABLE bulk) UNION ALL (TABLE bulk EXCEPT ALL TABLE loaded);
DROP TABLE bulk;
SELECT * FROM doris.verify('loaded');
-- Where others know the places of the rows, the statement must write row by row.
CREATE INDEX ON loaded (v);
TRUNCATE loaded;
\set SHOW_CONTEXT never
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN guarded() END FROM generate_series(1, 5000) g;
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN guarded_write() END FROM generate_series(1, 5000) g;
\set SHOW_CONTEXT errors
DROP INDEX loaded_v_idx;
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN steady() END FROM generate_series(1, 5000) g;
SELECT count(*), sum(v) FROM loaded;
TRUNCATE loaded;
SET doris.enable_bulk_load = off;
INSERT INTO loaded SELECT g, CASE WHEN g = 4000 THEN guarded() END FROM generate_series(1, 5000) g;
SELECT count(*), sum(v) FROM loaded;
RESET doris.enable_bulk_load;
-- A row of a later command, then one of its key in the load around it, and a reader of both: a key has one row.
CREATE FUNCTION write_then_read(g int) RETURNS bigint LANGUAGE plpgsql AS $$
  BEGIN
    IF g = 1 THEN INSERT INTO loaded VALUES (4000, -1); END IF;
    IF g = 4999 THEN RETURN (SELECT count(*) FROM loaded WHERE k = 4000); END IF;
    RETURN NULL;
  END $$;
TRUNCATE loaded;
SET doris.rows_to_heap = 100;
\set SHOW_CONTEXT never
INSERT INTO loaded SELECT g, write_then_read(g) FROM generate_series(1, 5000) g;
\set SHOW_CONTEXT errors
SET doris.enable_bulk_load = off;
INSERT INTO loaded SELECT g, write_then_read(g) FROM generate_series(1, 5000) g;
RESET doris.enable_bulk_load;
SELECT count(*), sum(v) FROM loaded;
RESET doris.rows_to_heap;
SET client_min_messages = warning;
DROP SCHEMA key_lists CASCADE;
