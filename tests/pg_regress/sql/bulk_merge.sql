-- MERGE statements that do the same with all rows they find mark them in bulk, and nobody can tell: the same as with a heap.
CREATE SCHEMA bulk_merge;
SET search_path = bulk_merge, public;
SET default_table_access_method = doris;
SET doris.bulk_delete_rows = 100;
SET doris.rows_to_heap = 0;
CREATE TABLE t (id int PRIMARY KEY, v int, note text);
CREATE INDEX ON t (v);
INSERT INTO t SELECT g, g % 10, 'note ' || g FROM generate_series(1, 20000) g;
CREATE TABLE h (id int PRIMARY KEY, v int, note text) USING heap;
INSERT INTO h SELECT * FROM t;
CREATE TABLE s (id int, v int) USING heap;
INSERT INTO s SELECT g, g FROM generate_series(15001, 25000) g;
ANALYZE t;
ANALYZE h;
ANALYZE s;
SET enable_mergejoin = off;
SET enable_nestloop = off;
SET enable_bitmapscan = off;
SET enable_indexscan = off;
-- Rows that are not the same in both tables.
CREATE FUNCTION differ() RETURNS bigint LANGUAGE sql AS
  'SELECT count(*) FROM ((TABLE t EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE t)) x';
CREATE FUNCTION in_bulk(statement text) RETURNS bigint LANGUAGE plpgsql AS
  $$ DECLARE line text; found text; BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || statement LOOP
      found := coalesce(substring(line FROM 'in Bulk: (\d+)'), found);
    END LOOP;
    RETURN found;
  END $$;
-- The same on both tables: rows marked in bulk, and whether the tables still agree.
CREATE FUNCTION on_both(statement text) RETURNS TABLE (marked bigint, differing bigint) LANGUAGE plpgsql AS
  $$ BEGIN
    marked := in_bulk(format(statement, 't'));
    EXECUTE format(statement, 'h');
    differing := differ();
    RETURN NEXT;
  END $$;

EXPLAIN (COSTS OFF) MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v;
EXPLAIN (COSTS OFF) MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE;
SELECT * FROM on_both('MERGE INTO %I AS t USING s ON t.id = s.id AND s.id < 17000 WHEN MATCHED THEN UPDATE SET v = s.v');
SELECT * FROM on_both('MERGE INTO %I AS t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = t.v + s.v, note = t.note || s.id
                    WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v, ''new'')');
SELECT * FROM on_both('MERGE INTO %I AS t USING s ON t.id = s.id - 3000 AND s.id %% 3 = 0 WHEN MATCHED THEN DELETE');
SELECT * FROM on_both('MERGE INTO %I AS t USING s ON t.id = s.id + 3000 WHEN MATCHED THEN DO NOTHING
                    WHEN NOT MATCHED AND s.id %% 2 = 0 THEN INSERT VALUES (s.id + 3000, 0)');
SELECT count(*), sum(id), sum(v) FROM t;
SELECT * FROM doris.verify('t');

-- What goes row by row: conditions, several actions, deletes beside inserts under a unique key, keys that change, volatile
-- functions.
CREATE FUNCTION source(first int) RETURNS TABLE (id int, v int) LANGUAGE sql IMMUTABLE AS
  'SELECT g, g FROM generate_series($1, $1 + 999) g UNION ALL VALUES (90000 + $1, 0)';
SELECT * FROM on_both('MERGE INTO %I AS t USING source(1) s ON t.id = s.id WHEN MATCHED AND s.v %% 2 = 0 THEN UPDATE SET v = 1');
SELECT * FROM on_both('MERGE INTO %I AS t USING source(2001) s ON t.id = s.id WHEN MATCHED AND s.v %% 2 = 0 THEN DELETE
                    WHEN MATCHED THEN UPDATE SET v = 2');
SELECT * FROM on_both('MERGE INTO %I AS t USING source(4001) s ON t.id = s.id WHEN MATCHED THEN DELETE
                    WHEN NOT MATCHED THEN INSERT VALUES (s.id, 3)');
SELECT * FROM on_both('MERGE INTO %I AS t USING source(6001) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = -t.id');
SELECT * FROM on_both('MERGE INTO %I AS t USING source(8001) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = (random() * 0)::int');
SET doris.bulk_delete_rows = 0;
SELECT * FROM on_both('MERGE INTO %I AS t USING source(10001) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 4');
SET doris.bulk_delete_rows = 100;

-- A row that is found twice, and one that is inserted beside the one it is to take the place of: errors, as ever.
INSERT INTO t SELECT g, 0, 'again' FROM generate_series(30001, 40000) g;
INSERT INTO h SELECT g, 0, 'again' FROM generate_series(30001, 40000) g;
CREATE TABLE twice (id int) USING heap;
INSERT INTO twice SELECT g FROM generate_series(30001, 31000) g UNION ALL VALUES (30500);
MERGE INTO t USING twice s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 5;
MERGE INTO h USING twice s ON h.id = s.id WHEN MATCHED THEN UPDATE SET v = 5;
MERGE INTO t USING twice s ON t.id = s.id WHEN MATCHED THEN DELETE;
MERGE INTO h USING twice s ON h.id = s.id WHEN MATCHED THEN DELETE;
DELETE FROM twice;
INSERT INTO twice SELECT g FROM generate_series(30001, 31000) g UNION ALL VALUES (50000);
MERGE INTO t USING twice s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 6 WHEN NOT MATCHED THEN INSERT VALUES (30001, 6);
MERGE INTO h USING twice s ON h.id = s.id WHEN MATCHED THEN UPDATE SET v = 6 WHEN NOT MATCHED THEN INSERT VALUES (30001, 6);
SELECT differ();

-- Cursors and savepoints keep what they saw; rows of this transaction's own.
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(v), sum(id) FROM t;
SAVEPOINT a;
SELECT in_bulk('MERGE INTO t USING s ON t.id = s.id - 15000 + 30000 WHEN MATCHED THEN UPDATE SET v = s.v');
SELECT in_bulk('MERGE INTO t USING s ON t.id = s.id - 15000 + 30000 WHEN MATCHED THEN UPDATE SET v = t.v + 1');
SELECT count(*), sum(v), sum(id) FROM t WHERE id > 30000;
FETCH c;
ROLLBACK TO a;
SELECT count(*), sum(v), sum(id) FROM t WHERE id > 30000;
SELECT in_bulk('MERGE INTO t USING s ON t.id = s.id - 15000 + 30000 WHEN MATCHED THEN DELETE');
SELECT count(*) FROM t WHERE id > 30000;
COMMIT;
DELETE FROM h WHERE id > 30000;
SELECT differ();

-- Triggers: AFTER triggers see all; with BEFORE triggers rows are changed one by one.
CREATE TABLE l (id int, v int);
INSERT INTO l SELECT g, 0 FROM generate_series(1, 1000) g;
CREATE TABLE log (what text, n bigint) USING heap;
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log SELECT TG_WHEN || ' ' || TG_OP || ' ' || NEW.id, sum(v) FROM l; RETURN NEW; END $$;
CREATE TRIGGER after_row AFTER INSERT OR UPDATE ON l FOR EACH ROW WHEN (NEW.id % 400 = 6) EXECUTE FUNCTION note_row();
SELECT in_bulk('MERGE INTO l USING generate_series(1, 1010) g ON l.id = g WHEN MATCHED THEN UPDATE SET v = 1 WHEN NOT MATCHED THEN INSERT VALUES (g, 1)');
SELECT * FROM log ORDER BY what;
TRUNCATE log;
INSERT INTO l SELECT g, 0 FROM generate_series(2001, 3000) g;
CREATE TRIGGER before_row BEFORE INSERT ON l FOR EACH ROW WHEN (NEW.id % 400 = 6) EXECUTE FUNCTION note_row();
SELECT in_bulk('MERGE INTO l USING generate_series(2001, 3206) g ON l.id = g WHEN MATCHED THEN UPDATE SET v = 1 WHEN NOT MATCHED THEN INSERT VALUES (g, 1)');
SELECT * FROM log ORDER BY what;

-- Partitions; tables with a key, with and without inserts.
CREATE TABLE p (k int, id int, v int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING heap;
CREATE TABLE p3 (v int, id int, k int);
ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3);
INSERT INTO p SELECT 1 + g % 3, g, 0 FROM generate_series(1, 9000) g;
SELECT in_bulk('MERGE INTO p USING generate_series(1, 9000, 2) g ON p.id = g WHEN MATCHED THEN UPDATE SET v = id');
SELECT tableoid::regclass, count(*), sum(id), sum(v) FROM p GROUP BY 1 ORDER BY 1;
SELECT in_bulk('MERGE INTO p USING generate_series(2, 9010, 2) g ON p.id = g WHEN MATCHED THEN UPDATE SET v = 1 WHEN NOT MATCHED THEN INSERT VALUES (1, g, 2)');
SELECT in_bulk('MERGE INTO p USING generate_series(1, 9000, 2) g ON p.id = g WHEN MATCHED THEN UPDATE SET k = 1 + k % 3');
SELECT tableoid::regclass, count(*), sum(id), sum(v) FROM p GROUP BY 1 ORDER BY 1;
CREATE TABLE k (id int, v int) WITH (unique_key = 'id');
INSERT INTO k SELECT g, 1 FROM generate_series(1, 5000) g;
SELECT in_bulk('MERGE INTO k USING generate_series(1, 5000, 2) g ON k.id = g WHEN MATCHED THEN UPDATE SET v = 2');
INSERT INTO k SELECT g, 1 FROM generate_series(1, 5000) g;
SELECT in_bulk('MERGE INTO k USING generate_series(4001, 6000) g ON k.id = g WHEN MATCHED THEN UPDATE SET v = 3 WHEN NOT MATCHED THEN INSERT VALUES (g, 4)');
SELECT v, count(*), sum(id) FROM k GROUP BY v ORDER BY v;
SELECT * FROM doris.verify('k');
-- Dropped columns.
CREATE TABLE dropped (id int, gone text, v int, last text) USING doris;
INSERT INTO dropped SELECT i, 'x', i, 'y' FROM generate_series(1, 5000) i;
ALTER TABLE dropped DROP COLUMN gone, DROP COLUMN last;
MERGE INTO dropped USING (SELECT i FROM generate_series(2501, 7500) i) s ON id = i
  WHEN MATCHED THEN UPDATE SET v = -v WHEN NOT MATCHED THEN INSERT VALUES (i, 0);
SELECT count(*), sum(v), count(*) FILTER (WHERE v < 0) FROM dropped;
