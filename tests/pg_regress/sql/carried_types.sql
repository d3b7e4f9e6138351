-- Columns of types that the engine does not compute on: it carries them along, and the rest of the query is vectorised.
CREATE EXTENSION IF NOT EXISTS pg_doris;
SET client_min_messages = warning;
SET doris.rows_to_heap = 100;
CREATE TYPE carried_mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN carried_small AS int CHECK (value >= 0);
CREATE DOMAIN carried_price AS numeric(10,2);
CREATE DOMAIN carried_flag AS bool;
CREATE TYPE carried_pair AS (a int, b text);
CREATE TABLE carried_h (id int, k int, n numeric, wide numeric(50,10), j jsonb, js json, arr int[], ip inet, m money,
  bits bit(3), o oid, ch "char", nm name, r int4range, p point, mood carried_mood, small carried_small,
  price carried_price, flag carried_flag, pair carried_pair, tz timetz, ts tsvector, bm doris.bitmap);
CREATE TABLE carried_d (LIKE carried_h) USING doris WITH (duplicate_key = 'id');
INSERT INTO carried_h SELECT i, i % 7, (i / 8.0)::numeric, i / 3.0, jsonb_build_object('k', i % 5, 'big', repeat('x', i % 50 * 100)),
  ('{"a": ' || i || '}')::json, ARRAY[i, NULL, i % 3], ('10.0.' || i % 256 || '.1')::inet, (i % 1000)::money,
  (i % 8)::bit(3), (i * 1000003::bigint)::oid, chr(65 + i % 26)::"char", 'name' || i, int4range(i, i + 3), point(i, -i),
  (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::carried_mood, i, i * 0.25, i % 2 = 0, ROW(i, 'pair ' || i)::carried_pair,
  ('12:00+0' || i % 9)::timetz, to_tsvector('simple', 'word' || i), doris.to_bitmap(i)
  FROM generate_series(1, 3000) i;
UPDATE carried_h SET n = NULL, j = NULL, mood = NULL, pair = NULL, bm = NULL, small = NULL, price = NULL WHERE id % 11 = 0;
INSERT INTO carried_d SELECT * FROM carried_h;
INSERT INTO carried_h SELECT 4000 + id, k, 'NaN', wide, '1.50', js, NULL, ip, m, bits, o, ch, nm, 'empty', p, mood, 0, price, flag, pair, tz, ts, bm
  FROM carried_h WHERE id <= 20;
INSERT INTO carried_d SELECT * FROM carried_h WHERE id > 4000;
DELETE FROM carried_h WHERE id % 13 = 0;
DELETE FROM carried_d WHERE id % 13 = 0;
ANALYZE carried_h, carried_d;

-- Each query must be vectorised and answer as on the heap.
CREATE FUNCTION carried(query text) RETURNS TABLE (vectorised bool, rows bigint, differ bigint) LANGUAGE plpgsql AS $$
DECLARE line text; found bool := false; d text := replace(query, '@', 'carried_d'); h text := replace(query, '@', 'carried_h');
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || d LOOP
    found := found OR line LIKE '%DorisVectorized%';
  END LOOP;
  RETURN QUERY EXECUTE format('WITH d AS MATERIALIZED (SELECT x::text FROM (%s) x), h AS MATERIALIZED (SELECT x::text FROM (%s) x)
    SELECT %L::bool, (SELECT count(*) FROM h),
      (SELECT count(*) FROM ((TABLE d EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE d)) y)', d, h, found);
END $$;
SELECT * FROM carried('SELECT * FROM @');
SELECT * FROM carried('SELECT count(*), sum(k), count(j), count(n), count(mood) FROM @');
SELECT * FROM carried('SELECT k, count(pair), max(id) FROM @ GROUP BY k');
SELECT * FROM carried('SELECT * FROM @ WHERE j IS NULL OR mood IS NOT NULL AND k = 3');
SELECT * FROM carried('SELECT * FROM @ ORDER BY id DESC LIMIT 40');
SELECT * FROM carried('SELECT a.*, b.j, b.bm FROM @ a LEFT JOIN @ b ON b.id = a.id + 7 AND b.k < 4');
SELECT * FROM carried('SELECT b.* FROM @ a RIGHT JOIN @ b ON b.id = a.id * 2');
SELECT * FROM carried('SELECT a.j, b.pair FROM @ a FULL JOIN @ b ON b.id = a.id + 2000');
SELECT * FROM carried('SELECT j, n, arr FROM @ WHERE id < 100 UNION ALL SELECT j, n, arr FROM @ WHERE k = 2');
SELECT * FROM carried('SELECT id, row_number() OVER (PARTITION BY k ORDER BY id), j, mood FROM @');
SELECT * FROM carried('SELECT id, j FROM @ a WHERE EXISTS (SELECT 1 FROM @ b WHERE b.id = a.id + 1 AND b.k = 1)');
SELECT * FROM carried('SELECT DISTINCT ON (k) k, j, nm FROM @ ORDER BY k, id');
SELECT * FROM carried('SELECT CASE WHEN k > 3 THEN j END, coalesce(pair, pair) FROM @');
-- Domains are their base types.
SELECT * FROM carried('SELECT sum(small), max(small), count(*) FROM @ WHERE small > 10');
SELECT * FROM carried('SELECT small % 5, count(*) FROM @ GROUP BY 1');
SELECT * FROM carried('SELECT sum(price), count(*) FROM @ WHERE flag');
-- What compares them is PostgreSQL's.
SELECT * FROM carried('SELECT mood, count(*) FROM @ GROUP BY mood');
SELECT * FROM carried('SELECT j, count(*) FROM @ GROUP BY j');
SELECT * FROM carried('SELECT n, count(*) FROM @ GROUP BY n');
SELECT * FROM carried('SELECT max(n), sum(n), min(ip), max(m), avg(wide), max(mood) FROM @');
SELECT * FROM carried('SELECT a.id, b.id FROM @ a JOIN @ b ON a.o = b.o AND a.mood = b.mood');
SELECT * FROM carried('SELECT id FROM @ WHERE n > 100 AND mood = ''ok'' AND ip <<= ''10.0.4.0/24''');
SELECT * FROM carried('SELECT id, lag(j) OVER (ORDER BY id), first_value(mood) OVER (PARTITION BY k ORDER BY id) FROM @');
SELECT * FROM carried('SELECT j FROM @ UNION SELECT j FROM @ WHERE k = 1');
SELECT * FROM carried('SELECT mood FROM @ EXCEPT SELECT mood FROM @ WHERE k = 1');
SELECT * FROM carried('SELECT * FROM @ ORDER BY mood, n, j, id LIMIT 25');
-- The same with next to no memory.
SET doris.work_mem = '64kB';
SELECT * FROM carried('SELECT * FROM @ ORDER BY k, id');
SELECT * FROM carried('SELECT a.*, b.j FROM @ a JOIN @ b ON b.id = a.id + 1');
RESET doris.work_mem;
-- A NaN in a numeric column is found before the first row is handed out, wherever it is stored.
CREATE TABLE carried_nan_d (id int, n numeric(10,2)) USING doris;
CREATE TABLE carried_nan_h (id int, n numeric(10,2));
INSERT INTO carried_nan_h SELECT i, i FROM generate_series(1, 30000) i;
INSERT INTO carried_nan_d TABLE carried_nan_h;
CREATE FUNCTION carried_nan() RETURNS TABLE (rows bigint, nans bigint, differ bigint) LANGUAGE plpgsql AS $$
DECLARE r record; total bigint := 0; found bigint := 0;
BEGIN
  -- A loop fetches rows as they come.
  FOR r IN SELECT * FROM carried_nan_d LOOP total := total + 1; found := found + coalesce(r.n = 'NaN', false)::int; END LOOP;
  RETURN QUERY SELECT total, found, (SELECT count(*) FROM ((TABLE carried_nan_d EXCEPT ALL TABLE carried_nan_h) UNION ALL
    (TABLE carried_nan_h EXCEPT ALL TABLE carried_nan_d)) x);
END $$;
SELECT * FROM carried_nan();
SET doris.rows_to_heap = 100000;
INSERT INTO carried_nan_h SELECT i, i FROM generate_series(30001, 50000) i;
INSERT INTO carried_nan_h VALUES (1, 'NaN'), (2, NULL);
INSERT INTO carried_nan_d SELECT * FROM carried_nan_h WHERE id > 30000;
INSERT INTO carried_nan_d VALUES (1, 'NaN'), (2, NULL);
SELECT * FROM carried_nan();
SET doris.rows_to_heap = 0;
INSERT INTO carried_nan_h SELECT i, CASE WHEN i % 1000 = 0 THEN 'NaN'::numeric ELSE i END FROM generate_series(1, 3000) i;
INSERT INTO carried_nan_d SELECT i, CASE WHEN i % 1000 = 0 THEN 'NaN'::numeric ELSE i END FROM generate_series(1, 3000) i;
SELECT * FROM carried_nan();
SELECT count(*) FROM (SELECT n FROM carried_nan_d UNION ALL SELECT n FROM carried_nan_d) x WHERE n = 'NaN';
SELECT max(n), min(n), count(n) FROM carried_nan_d;
DROP TABLE carried_nan_d, carried_nan_h;
DROP FUNCTION carried_nan;
DROP FUNCTION carried;
DROP TABLE carried_d, carried_h;
DROP TYPE carried_mood, carried_pair;
DROP DOMAIN carried_small, carried_price, carried_flag;
