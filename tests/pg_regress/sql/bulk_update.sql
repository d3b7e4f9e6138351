-- UPDATE statements that hit many segment rows mark them in bulk, and nobody can tell: the same as with a heap.
CREATE SCHEMA bulk_update;
SET search_path = bulk_update, public;
SET default_table_access_method = doris;
SET doris.bulk_delete_rows = 100;
SET doris.rows_to_heap = 0;
CREATE TABLE t (id int PRIMARY KEY, v int, note text);
CREATE INDEX ON t (v);
INSERT INTO t SELECT g, g % 10, 'note ' || g FROM generate_series(1, 20000) g;
CREATE TABLE h (id int PRIMARY KEY, v int, note text) USING heap;
INSERT INTO h SELECT * FROM t;
ANALYZE t;
CREATE FUNCTION plan(text) RETURNS SETOF text LANGUAGE plpgsql AS
  $$ DECLARE line text; BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || $1 LOOP
      RETURN NEXT replace(line, '.00 ', ' ');
    END LOOP;
  END $$;
-- Rows that are not the same in both tables.
CREATE FUNCTION differ() RETURNS bigint LANGUAGE sql AS
  'SELECT count(*) FROM ((TABLE t EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE t)) x';
SET enable_bitmapscan = off;
SET enable_indexscan = off;
BEGIN;
SELECT plan('UPDATE t SET note = note || ''!'', v = v + 10 WHERE v < 3') AS plan;
SELECT count(*), sum(id), sum(v), count(*) FILTER (WHERE note LIKE '%!') FROM t;
SELECT sum(deleted_rows) FROM doris.segments_of('t');
ROLLBACK;
SELECT differ();

-- One row is looked up. Volatile functions, keys that change, other writers and row locks leave the statement as it is.
SET enable_indexscan = on;
EXPLAIN (COSTS OFF) UPDATE t SET v = 1 WHERE id = 5;
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) UPDATE t SET v = 1 WHERE random() < 0.5;
EXPLAIN (COSTS OFF) UPDATE t SET v = random() * 10;
EXPLAIN (COSTS OFF) UPDATE t SET v = 1 WHERE v IN (SELECT v FROM t WHERE id < 100 FOR UPDATE);
CREATE FUNCTION in_bulk(text) RETURNS bigint LANGUAGE sql AS
  $$ SELECT substring(line FROM 'in Bulk: (\d+)')::bigint FROM plan($1) line WHERE line LIKE '%in Bulk%' $$;
BEGIN;
SELECT in_bulk('UPDATE t SET id = -id');
SELECT count(*), min(id), max(id) FROM t;
ROLLBACK;
UPDATE t SET id = id + 1 WHERE id > 100;
UPDATE h SET id = id + 1 WHERE id > 100;
SET doris.bulk_delete_rows = 0;
SELECT in_bulk('UPDATE t SET v = v');
SET doris.bulk_delete_rows = 100;

-- FROM with rows that match twice, savepoints, cursors, several statements of one transaction.
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(v) FROM t;
DECLARE d NO SCROLL CURSOR FOR SELECT id, v FROM t ORDER BY id;
FETCH 2 FROM d;
SAVEPOINT a;
UPDATE t SET v = x.w FROM (VALUES (1, 5), (1, 5), (2, 6)) x(v, w) WHERE t.v = x.v;
SELECT v, count(*), count(DISTINCT id) FROM t GROUP BY v ORDER BY v;
UPDATE t SET v = v + 1 WHERE v IN (3, 5, 6);
UPDATE t SET v = v + 1 WHERE v IN (3, 5, 6);
SELECT v, count(*), count(DISTINCT id) FROM t GROUP BY v ORDER BY v;
FETCH c;
FETCH 3 FROM d;
ROLLBACK TO a;
SELECT count(*), sum(v) FROM t;
UPDATE t SET v = v + 100, note = upper(note) WHERE v = 4;
DELETE FROM t WHERE v = 104 AND id % 3 = 0;
COMMIT;
UPDATE h SET v = v + 100, note = upper(note) WHERE v = 4;
DELETE FROM h WHERE v = 104 AND id % 3 = 0;
SELECT differ();

-- RETURNING; heap rows and segment rows in one statement; a row that is updated again and again.
WITH changed AS (UPDATE t SET v = v + 1000 WHERE v = 5 RETURNING id, v, note, ctid IS NOT NULL AS c, tableoid::regclass AS o)
  SELECT count(*), sum(id), sum(v), bool_and(c), min(o::text) FROM changed;
UPDATE h SET v = v + 1000 WHERE v = 5;
DO $$ DECLARE r record; n int := 0; BEGIN
  FOR r IN UPDATE t SET v = v + 1 WHERE v % 10 = 6 RETURNING id, v LOOP
    ASSERT r.v = 7;
    n := n + 1;
  END LOOP;
  RAISE NOTICE '% rows', n;
END $$;
UPDATE h SET v = v + 1 WHERE v % 10 = 6;
UPDATE t SET v = v + 1;
UPDATE h SET v = v + 1;
UPDATE t SET v = v + 1, note = note || id::text;
UPDATE h SET v = v + 1, note = note || id::text;
SELECT differ();
SELECT count(*), sum(v) FROM t WHERE v = 9;
SELECT * FROM doris.verify('t');

-- An error in the middle leaves nothing; functions with exception blocks do not disturb.
CREATE FUNCTION safe_div(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN $1 / $2; EXCEPTION WHEN division_by_zero THEN RETURN NULL; END $$;
CREATE TABLE s (id int, v int, w text);
CREATE INDEX ON s (safe_div(v, id % 5));
INSERT INTO s SELECT g, g % 7, 'w' FROM generate_series(1, 3000) g;
SELECT in_bulk('UPDATE s SET v = safe_div(v, id % 3), w = ''x''');
SELECT count(*), sum(v), count(v), count(DISTINCT id), min(w) FROM s;
INSERT INTO s SELECT g, g % 7, 'w' FROM generate_series(3001, 6000) g;
UPDATE s SET v = 1 / (id - 5000) WHERE id > 3000;
SELECT count(*), sum(v), count(v), count(DISTINCT id) FROM s;
DO $$ BEGIN UPDATE s SET v = 1 / (id - 5000) WHERE id > 3000; EXCEPTION WHEN division_by_zero THEN UPDATE s SET v = 2 WHERE id > 3000; END $$;
SELECT count(*), sum(v), count(v), count(DISTINCT id) FROM s;

-- The check of a domain looks at the table between two rows, be it only cast to; one without checks does not.
CREATE TABLE w (id int, v int);
CREATE FUNCTION all_there(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM w) = 4000; END $$;
CREATE DOMAIN watching AS int CHECK (all_there(VALUE));
CREATE DOMAIN blind AS int;
INSERT INTO w SELECT g, 1 FROM generate_series(1, 4000) g;
SELECT in_bulk('UPDATE w SET v = (v + 1)::blind + 0 WHERE id <= 1000');
SELECT in_bulk('UPDATE w SET v = (id + 1)::watching + 0 WHERE id BETWEEN 1001 AND 1120');
SELECT in_bulk('UPDATE w SET v = v + x.d FROM (SELECT id, id::watching + 0 AS d FROM w WHERE id BETWEEN 2001 AND 2120) x WHERE x.id = w.id');
EXPLAIN (COSTS OFF) DELETE FROM w WHERE v::watching > 900;
ALTER TABLE w ADD CHECK (v::watching > 0) NOT VALID;
SELECT in_bulk('UPDATE w SET v = v + 1 WHERE id BETWEEN 3001 AND 3120');
SELECT count(*), sum(v) FROM w;

-- Triggers: a BEFORE trigger sees each row in turn, AFTER triggers see all.
CREATE TABLE l (id int, v int);
INSERT INTO l SELECT g, 0 FROM generate_series(1, 1000) g;
CREATE TABLE log (what text, n bigint);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log SELECT TG_WHEN || ' ' || OLD.id || ' ' || OLD.v || ' ' || NEW.v, sum(v) FROM l; RETURN NEW; END $$;
CREATE FUNCTION note_all() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log SELECT 'old', sum(v) FROM old; INSERT INTO log SELECT 'new', sum(v) FROM new; RETURN NULL; END $$;
CREATE TRIGGER after_all AFTER UPDATE ON l REFERENCING OLD TABLE AS old NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION note_all();
CREATE TRIGGER after_row AFTER UPDATE ON l FOR EACH ROW WHEN (OLD.id % 400 = 6) EXECUTE FUNCTION note_row();
SELECT in_bulk('UPDATE l SET v = v + 1');
SELECT * FROM log ORDER BY what;
TRUNCATE log;
INSERT INTO l SELECT g, 0 FROM generate_series(2001, 3000) g;
CREATE TRIGGER before_row BEFORE UPDATE ON l FOR EACH ROW WHEN (OLD.id % 400 = 6) EXECUTE FUNCTION note_row();
SELECT in_bulk('UPDATE l SET v = v + 1 WHERE id > 2000');
SELECT * FROM log ORDER BY what;

-- Foreign keys, and partitions of several tables, one of them a heap.
RESET enable_indexscan;
CREATE TABLE child (id int REFERENCES t ON UPDATE CASCADE);
INSERT INTO child SELECT id FROM t WHERE id % 100 = 1;
INSERT INTO t SELECT g, 0, '' FROM generate_series(30001, 32000) g;
INSERT INTO child SELECT id FROM t WHERE id > 31000;
SELECT in_bulk('UPDATE child SET id = id - 1000 WHERE id > 31000');
SELECT in_bulk('UPDATE t SET v = 1 WHERE id > 30000');
SELECT count(*), count(t.id), sum(t.v) FROM child LEFT JOIN t USING (id);
CREATE TABLE p (k int, id int, v int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING heap;
CREATE TABLE p3 (v int, id int, k int);
ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3);
INSERT INTO p SELECT 1 + g % 3, g, 0 FROM generate_series(1, 9000) g;
SELECT in_bulk('UPDATE p SET v = id WHERE id % 2 = 0');
SELECT tableoid::regclass, count(*), sum(id), sum(v) FROM p GROUP BY 1 ORDER BY 1;
SELECT in_bulk('UPDATE p SET k = 4 - k WHERE id % 5 = 0');
SELECT tableoid::regclass, count(*), sum(id), sum(v) FROM p GROUP BY 1 ORDER BY 1;

-- A keyed table, whose new versions are found by their keys; TRUNCATE, VACUUM FULL and compaction with marks about.
CREATE TABLE u (id int, v int, w text) WITH (unique_key = 'id');
INSERT INTO u SELECT g, 1, 'a' FROM generate_series(1, 5000) g;
SELECT in_bulk('UPDATE u SET v = 2 WHERE id % 2 = 0');
INSERT INTO u SELECT g, 3, 'b' FROM generate_series(1, 5000, 4) g;
INSERT INTO u SELECT g, 4, 'c' FROM generate_series(2, 5000, 4) g;
SELECT v, w, count(*), sum(id) FROM u GROUP BY v, w ORDER BY v, w;
CALL doris.compact('u', 'base');
SELECT v, w, count(*), sum(id) FROM u GROUP BY v, w ORDER BY v, w;
SELECT * FROM doris.verify('u');
CALL doris.compact('t', 'base');
SELECT count(*), sum(v) FROM t;
UPDATE t SET v = v + 1;
VACUUM FULL t;
SELECT count(*), sum(v) FROM t;
SELECT * FROM doris.verify('t');

-- All isolation levels.
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE t SET v = 0 WHERE id > 100;
SELECT count(*), sum(v) FROM t;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE t SET v = 1 WHERE id > 100;
SELECT count(*), sum(v) FROM t;
COMMIT;

-- Where only some rows are asked for, the statement stops after them.
CREATE FUNCTION run(text, bigint) RETURNS bigint LANGUAGE c STRICT VOLATILE AS 'pg_doris', 'test_run_wrapper';
CREATE TABLE few (id int, v int);
INSERT INTO few SELECT g, 0 FROM generate_series(1, 5000) g;
-- A trigger's own query, of which the first row is asked for, changes nothing in that.
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
  SELECT id INTO n FROM few;
  RETURN NULL;
END $$;
CREATE TRIGGER look BEFORE UPDATE OR DELETE ON few FOR EACH STATEMENT EXECUTE FUNCTION look();
SELECT in_bulk('UPDATE few SET v = 1 WHERE id <= 2000');
BEGIN;
SELECT run('UPDATE few SET v = 77 WHERE id > 2000 RETURNING id', 5);
SELECT count(*) FILTER (WHERE v = 77), count(*) FROM few;
SELECT run('DELETE FROM few WHERE id > 2000 RETURNING id', 7);
SELECT count(*) FILTER (WHERE v = 77), count(*) FROM few;
ROLLBACK;
SELECT in_bulk('UPDATE few SET v = 78 WHERE id > 2000');
SELECT * FROM doris.verify('few');
