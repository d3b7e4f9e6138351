-- Deleted rows of many segments are looked for at once: whatever a scan, a cursor or a savepoint is to see stays as it was.
CREATE SCHEMA many_segments;
SET search_path = many_segments, public;
SET default_table_access_method = doris;
SET doris.rows_to_heap = 0;
CREATE TABLE m (id int, v int);
CREATE TABLE h (id int, v int) USING heap;
-- Some segments lie beside such as were rolled back; some rows are in the row store.
DO $$ BEGIN
  FOR part IN 0..39 LOOP
    INSERT INTO m SELECT part * 1000 + g, g FROM generate_series(1, 1000 - part) g;
    IF part % 10 = 5 THEN
      BEGIN
        INSERT INTO m SELECT -1, 0 FROM generate_series(1, 3000);
        RAISE division_by_zero;
      EXCEPTION WHEN division_by_zero THEN NULL;
      END;
    END IF;
  END LOOP;
END $$;
SET doris.rows_to_heap = 1000;
INSERT INTO m SELECT 100000 + g, g FROM generate_series(1, 10) g;
RESET doris.rows_to_heap;
INSERT INTO h SELECT * FROM m;
CREATE FUNCTION differ() RETURNS bigint LANGUAGE sql AS
  'SELECT count(*) FROM ((TABLE m EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE m)) x';
CREATE FUNCTION on_both(statement text) RETURNS TABLE (differing bigint, counted bigint, summed bigint) LANGUAGE plpgsql AS
  $$ BEGIN
    EXECUTE format(statement, 'm');
    EXECUTE format(statement, 'h');
    differing := differ();
    SELECT count(*), sum(v) FROM m INTO counted, summed;
    RETURN NEXT;
  END $$;
SELECT count(*) FROM doris.segments_of('m');
SELECT * FROM on_both('DELETE FROM %I WHERE id = 7');

-- In bulk and one by one; whole segments; segments that straddle slices.
SET doris.bulk_delete_rows = 100;
SELECT * FROM on_both('DELETE FROM %I WHERE id %% 7 = 0');
SELECT * FROM on_both('DELETE FROM %I WHERE id BETWEEN 3001 AND 6500');
SELECT * FROM on_both('DELETE FROM %I WHERE id IN (1, 1001, 1999, 39001, 39961, 39959, 100005)');
SELECT * FROM on_both('UPDATE %I SET v = v + 1 WHERE id %% 11 = 0');
SELECT * FROM on_both('DELETE FROM %I WHERE v = 500');
SELECT count(*) FILTER (WHERE id > 20000), min(id), max(id) FROM m;
SELECT count(*) FILTER (WHERE id > 20000), min(id), max(id) FROM h;

CREATE FUNCTION move(int, c refcursor) RETURNS bigint LANGUAGE plpgsql AS
  $$ DECLARE n bigint; BEGIN MOVE FORWARD $1 IN c; GET DIAGNOSTICS n = ROW_COUNT; RETURN n; END $$;
-- A cursor that is in the middle of the table when its rows go, and come back.
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id, v FROM m WHERE id < 100000;
DECLARE d NO SCROLL CURSOR FOR SELECT count(*), sum(v) FROM m;
SELECT move(5, 'c');
DELETE FROM m WHERE id > 20000;
DELETE FROM m WHERE id BETWEEN 15000 AND 15003;
SELECT move(10000, 'c');
SAVEPOINT a;
DELETE FROM m;
SELECT count(*), sum(v) FROM m;
DECLARE e NO SCROLL CURSOR FOR SELECT count(*), sum(v) FROM m;
FETCH e;
ROLLBACK TO a;
SELECT count(*), sum(v) FROM m;
SELECT move(100000, 'c');
FETCH d;
ROLLBACK;
SELECT differ();

-- Rows that compaction moves while a snapshot needs them where they were.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), sum(v) FROM m;
DELETE FROM m WHERE id < 500;
SELECT count(*), sum(v) FROM m;
SELECT count(*), sum(v) FROM h WHERE id >= 500;
ROLLBACK;

-- A table with a key into which all was loaded three times, in parts.
CREATE TABLE k (id int, v int) WITH (unique_key = 'id');
DO $$ BEGIN
  FOR pass IN 1..3 LOOP
    FOR part IN 0..99 LOOP
      INSERT INTO k SELECT part * 100 + g, pass FROM generate_series(1, 100) g WHERE pass < 3 OR part % 4 > 0;
    END LOOP;
  END LOOP;
END $$;
SELECT count(*), sum(v), sum(id) FROM k;
SELECT v, count(*), min(id), max(id) FROM k GROUP BY v ORDER BY v;
SELECT count(*), sum(v) FROM k WHERE id BETWEEN 90 AND 510;
SELECT * FROM doris.verify('k');
SELECT * FROM doris.verify('m');
