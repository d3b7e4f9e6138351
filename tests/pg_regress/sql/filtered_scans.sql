-- Sequential scans that stay PostgreSQL's read only the row blocks and rows that their conditions let through.
\set ECHO none
SET client_min_messages = warning;
SET doris.compaction = off;
CREATE SCHEMA filtered_scans;
SET search_path = filtered_scans, public;
\set ECHO all
CREATE TABLE events (id bigint, day date, amount numeric(15,2), kind int, note text, flag bool, x float8)
  USING doris WITH (duplicate_key = 'id', bloom_filter = 'note');
CREATE TABLE twin (LIKE events) USING heap;
-- Three segments, and rows in the row store; every seventh note is NULL.
SELECT setseed(0.5);
INSERT INTO twin SELECT i, date '2020-01-01' + (i / 500)::int, i * 1.25, i % 100,
    CASE WHEN i % 7 <> 0 THEN 'note ' || i % 5000 END, i % 3 = 0, CASE WHEN i % 1000 = 0 THEN 'NaN' ELSE i / 3.0 END
  FROM generate_series(1, 60000) i;
INSERT INTO events SELECT * FROM twin WHERE id <= 20000;
INSERT INTO events SELECT * FROM twin WHERE id > 20000 AND id <= 40000;
INSERT INTO events SELECT * FROM twin WHERE id > 40000 AND id <= 59900;
INSERT INTO events SELECT * FROM twin WHERE id > 59900;
-- A column that is younger than the segments.
ALTER TABLE events ADD COLUMN added int DEFAULT 5;
ALTER TABLE twin ADD COLUMN added int DEFAULT 5;

-- What EXPLAIN says of a statement, which it runs: rows that the node looked at, and row blocks that were skipped.
CREATE FUNCTION scanned(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
  node json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, TIMING off, SUMMARY off, COSTS off, FORMAT json) ' || statement INTO plan;
  node := plan -> 1 -> 'Scans' -> 0;
  RETURN format('%s segments, read %s, by zone map or key index %s, by bloom filter %s', node ->> 'Segments',
    node ->> 'Row Blocks Read',
    (node ->> 'Row Blocks Pruned by Zone Map')::int + (node ->> 'Row Blocks Pruned by Key Index')::int,
    node ->> 'Row Blocks Pruned by Bloom Filter');
END $$;
-- What a statement gives on a table: the number of rows and a sum of hashes, or the error's code.
CREATE FUNCTION given(statement text, "table" text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text;
BEGIN
  EXECUTE format('WITH c AS (' || statement || ') SELECT count(*) || '' '' || coalesce(sum(hashtext(c::text)::bigint), 0) FROM c', "table")
    INTO result;
  RETURN result;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
-- Locks the rows that a statement changes, in both tables, and changes them; compares all that comes of it, and says what
-- the scan did that looked for the rows to be locked, which PostgreSQL runs.
CREATE FUNCTION both_do(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  locking text := 'SELECT * FROM %I AS t WHERE ' || substring(statement FROM ' WHERE (.*)$') || ' FOR UPDATE';
  of_events text;
  of_twin text;
  difference bigint;
  did text := 'changed';
BEGIN
  IF statement !~ 'FROM \(VALUES' THEN
    BEGIN
      did := scanned(format(locking, 'events'));
    EXCEPTION WHEN OTHERS THEN did := SQLSTATE;
    END;
    IF given(locking, 'events') <> given(locking, 'twin') THEN
      did := 'other rows locked';
    END IF;
  END IF;
  of_events := given(statement || ' RETURNING *', 'events');
  of_twin := given(statement || ' RETURNING *', 'twin');
  SELECT count(*) INTO difference FROM
    ((SELECT * FROM events EXCEPT ALL SELECT * FROM twin) UNION ALL (SELECT * FROM twin EXCEPT ALL SELECT * FROM events)) d;
  RETURN CASE WHEN of_events = of_twin AND difference = 0 THEN 'as the heap, ' || split_part(of_twin, ' ', 1) || ' rows: ' || did
    ELSE format('events %s, twin %s, %s rows differ', of_events, of_twin, difference) END;
END $$;

SELECT both_do('DELETE FROM %I WHERE id = 777');
SELECT both_do('DELETE FROM %I WHERE id BETWEEN 19990 AND 20010');
SELECT both_do('UPDATE %I SET kind = -kind WHERE day = ''2020-02-01'' AND kind > 90');
SELECT both_do('UPDATE %I SET note = note || ''!'' WHERE amount < 100.10');
SELECT both_do('DELETE FROM %I WHERE note = ''note 4321''');
SELECT both_do('DELETE FROM %I WHERE note LIKE ''note 49_9'' AND id > 30000');
SELECT both_do('UPDATE %I SET flag = NOT flag WHERE note IS NULL AND day > ''2020-04-20''');
SELECT both_do('DELETE FROM %I WHERE x = ''NaN'' AND id < 5000');
SELECT both_do('UPDATE %I SET x = 0 WHERE x > 19900 AND x < 20001');
SELECT both_do('DELETE FROM %I WHERE id IN (5, 25000, 59950, 70000)');
SELECT both_do('DELETE FROM %I WHERE id = 11 OR (kind = 7 AND day = ''2020-01-03'')');
-- Columns that segments lack; whole rows; system columns; what only PostgreSQL evaluates.
SELECT both_do('DELETE FROM %I AS t WHERE added = 5 AND id = 12');
SELECT both_do('DELETE FROM %I AS t WHERE added IS NULL');
SELECT both_do('UPDATE %I AS t SET note = left(t::text, 20) WHERE id = 13');
SELECT both_do('DELETE FROM %I AS t WHERE (t).id = 14');
SELECT both_do('DELETE FROM %I AS t WHERE id = 15 AND to_char(amount, ''FM999.00'') = ''18.75''');
SELECT both_do('DELETE FROM %I AS t WHERE tableoid <> 0 AND id = 16');
-- Values of subqueries and of other tables.
SELECT both_do('DELETE FROM %I AS t WHERE id = (SELECT 17)');
SELECT both_do('DELETE FROM %I AS t WHERE id > (SELECT max(id) - 3 FROM twin)');
SELECT both_do('UPDATE %I AS t SET kind = v.y FROM (VALUES (18, 1), (45000, 2)) v(x, y) WHERE t.id = v.x AND t.day < now()');
-- Errors: of rows that a condition before leaves out none, of others PostgreSQL's.
SELECT both_do('DELETE FROM %I AS t WHERE id > 1000 AND id < 1010 AND 1 / (id - 5) > 10');
SELECT both_do('DELETE FROM %I AS t WHERE CASE WHEN id > 100 THEN 1 / (id - 1005) ELSE 0 END > 10 AND kind = 1');
SELECT both_do('DELETE FROM %I AS t WHERE id = 21 AND (SELECT 1 / (length(current_setting(''server_version'')) * 0)) = 1');
SELECT both_do('DELETE FROM %I AS t WHERE id = -1 AND (SELECT 1 / (length(current_setting(''server_version'')) * 0)) = 1');

-- Parameters: new values for each execution, and for each row of a nested loop.
PREPARE removes(bigint, date) AS DELETE FROM events WHERE id = $1 AND day >= $2;
PREPARE removes_twin(bigint, date) AS DELETE FROM twin WHERE id = $1 AND day >= $2;
SET plan_cache_mode = force_generic_plan;
EXECUTE removes(30001, '2020-01-01');
EXECUTE removes(30002, '2030-01-01');
EXECUTE removes(30003, NULL);
EXECUTE removes_twin(30001, '2020-01-01');
RESET plan_cache_mode;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT both_do('UPDATE %I AS t SET kind = v.y FROM (VALUES (50000, 1), (31000, 2), (NULL, 3), (59999, 4)) v(x, y) WHERE t.id = v.x');
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;

-- Cursors that go back, also while rows are deleted under them.
BEGIN;
DECLARE back SCROLL CURSOR FOR SELECT id, kind FROM events WHERE id BETWEEN 39998 AND 40003 AND kind <> 50;
FETCH 3 FROM back;
FETCH BACKWARD 2 FROM back;
DELETE FROM events WHERE CURRENT OF back RETURNING id;
FETCH LAST FROM back;
FETCH FORWARD 1 FROM back;
FETCH BACKWARD ALL FROM back;
FETCH ALL FROM back;
ROLLBACK;
-- Rows that are locked.
SELECT id, amount FROM events WHERE id IN (33, 44444) ORDER BY id FOR UPDATE;
SELECT scanned('SELECT id FROM events WHERE id = 44444 FOR UPDATE');
-- Rows of the same transaction, and of a load that is not over.
BEGIN;
INSERT INTO events SELECT id + 100000, day, amount, kind, note, flag, x FROM events WHERE id <= 10000;
UPDATE events SET kind = 1000 WHERE id = 100500;
UPDATE events SET kind = kind + 1 WHERE id = 100500 RETURNING id, kind;
SAVEPOINT s;
DELETE FROM events WHERE id > 100500;
SELECT count(*) FROM events WHERE id > 100000;
ROLLBACK TO s;
SELECT count(*) FROM events WHERE id > 100000;
ROLLBACK;
-- A column whose segments are older than its type.
ALTER TABLE events ALTER COLUMN amount TYPE numeric(17,2);
ALTER TABLE twin ALTER COLUMN amount TYPE numeric(17,2);
SELECT both_do('DELETE FROM %I WHERE amount = 31250.00');
ALTER TABLE events ALTER COLUMN amount TYPE numeric;
ALTER TABLE twin ALTER COLUMN amount TYPE numeric;
SELECT both_do('DELETE FROM %I WHERE amount = 31251.25');
INSERT INTO events (id, amount) VALUES (200000, 'NaN');
INSERT INTO twin (id, amount) VALUES (200000, 'NaN');
SELECT both_do('DELETE FROM %I WHERE amount >= 74000.005');
-- Partitions, of which one is a heap.
CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000) USING doris;
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (20000) USING heap;
INSERT INTO parts SELECT i, i % 10 FROM generate_series(0, 19999) i;
DELETE FROM parts WHERE v = 3 AND id BETWEEN 9990 AND 10010 RETURNING tableoid::regclass, *;
UPDATE parts SET id = id + 9000 WHERE id = 5000 RETURNING tableoid::regclass, *;
SELECT count(*), sum(id) FROM parts;
-- The rows of foreign keys that are looked for.
CREATE TABLE owners (id int PRIMARY KEY);
CREATE TABLE lines (id int, part int REFERENCES owners ON DELETE CASCADE) USING doris;
INSERT INTO owners SELECT generate_series(0, 9);
INSERT INTO lines SELECT i, i % 10 FROM generate_series(1, 20000) i;
DELETE FROM owners WHERE id = 3;
SELECT count(*), count(*) FILTER (WHERE part = 3) FROM lines;
-- Columns that cannot be NULL and nobody looks at, before one that is: compiled code relies on the former.
CREATE TABLE dense (a int NOT NULL, b text NOT NULL, c interval NOT NULL, d name NOT NULL, e int, f uuid NOT NULL, v int) USING doris;
INSERT INTO dense SELECT i, 'b' || i, '1 day', 'd', NULL, md5(i::text)::uuid, i FROM generate_series(1, 20000) i;
SET jit_above_cost = 0;
DELETE FROM dense WHERE v BETWEEN 8000 AND 8003 RETURNING *;
SELECT v FROM dense WHERE v = 9000 FOR UPDATE;
UPDATE dense SET v = -v WHERE e IS NULL AND v > 19998 RETURNING *;
RESET jit_above_cost;
-- What may change between the rows of a cursor is asked anew; in a statement that changes rows it cannot.
SET doris.rows_to_heap = 0;
CREATE TABLE moments (id int, at timestamptz) USING doris;
INSERT INTO moments SELECT i, clock_timestamp() + CASE WHEN i < 10 THEN '-1 hour' ELSE '1 s' END::interval FROM generate_series(1, 3000) i;
BEGIN;
DECLARE later SCROLL CURSOR FOR SELECT id FROM moments WHERE at < statement_timestamp();
FETCH 1 FROM later;
SELECT pg_sleep(1.1);
FETCH LAST FROM later;
COMMIT;
-- Subqueries that PostgreSQL does not run.
SELECT t, given('SELECT id FROM %I WHERE (flag IS NOT NULL OR id = (SELECT 1 / (length(current_setting(''server_version'')) * 0))) AND id = 43 FOR UPDATE', t)
  FROM unnest(ARRAY['events', 'twin']) t;
BEGIN;
DELETE FROM moments;
SELECT * FROM moments WHERE id = (SELECT 1 / (length(current_setting('server_version')) * 0)) FOR UPDATE;
ROLLBACK;
-- EXPLAIN speaks of its own statement's scans.
CREATE FUNCTION locks() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM moments WHERE id = -5 FOR UPDATE; RETURN 1; END $$;
SELECT scanned('SELECT locks()');
-- A scan that never starts takes no predicate lock.
PREPARE never(int) AS SELECT id FROM moments WHERE $1 = 5 AND id = 7 FOR UPDATE;
SET plan_cache_mode = force_generic_plan;
BEGIN ISOLATION LEVEL SERIALIZABLE;
EXECUTE never(4);
SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'moments'::regclass AND pid = pg_backend_pid();
EXECUTE never(5);
SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'moments'::regclass AND pid = pg_backend_pid();
ROLLBACK;
RESET plan_cache_mode;
-- Scans that start often keep no memory.
CREATE TABLE few (id int, v int) USING doris;
INSERT INTO few SELECT i, i FROM generate_series(1, 100) i;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET enable_memoize = off;
BEGIN;
DECLARE often CURSOR FOR SELECT o, q.id FROM generate_series(1, 3000) o,
  LATERAL (SELECT f.id FROM few f WHERE f.id > o + 99 AND f.v = o OFFSET 0 FOR UPDATE) q;
FETCH 1 FROM often;
SELECT sum(total_bytes) < 2000000 AS little FROM pg_backend_memory_contexts WHERE name IN ('ExecutorState', 'doris scan filter');
COMMIT;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
RESET enable_memoize;
RESET doris.rows_to_heap;
-- A subplan to which several expressions refer.
CREATE TABLE ranges (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE ranges_1 PARTITION OF ranges FOR VALUES FROM (0) TO (10) USING doris;
CREATE TABLE ranges_2 PARTITION OF ranges FOR VALUES FROM (10) TO (20) USING doris;
INSERT INTO ranges VALUES (1, 1), (2, 2), (11, 11), (12, 12);
CREATE TABLE allowed (v int) USING doris;
INSERT INTO allowed VALUES (1), (2), (11), (12);
CREATE VIEW checked AS SELECT * FROM ranges WHERE (SELECT count(*) FROM allowed a WHERE a.v = ranges.v) > 0 WITH CHECK OPTION;
UPDATE checked SET id = id + 10 WHERE id = 1 RETURNING *;
UPDATE checked SET v = 5 WHERE id = 2;
UPDATE checked SET id = id - 9, v = v + 0 WHERE id = 12 RETURNING *;
-- Without the engine, PostgreSQL's scan reads everything.
SET doris.enable_vectorization = off;
SELECT both_do('DELETE FROM %I WHERE id = 40');
RESET doris.enable_vectorization;
\set ECHO none
DROP SCHEMA filtered_scans CASCADE;
