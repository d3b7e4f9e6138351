-- Partitions chosen while a query runs: by what the client gave, by InitPlans, by the outer side of a nested loop.
SET doris.rows_to_heap = 0;
CREATE TABLE parts (k int, day date, v numeric(10,2), s text) PARTITION BY RANGE (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000) USING doris;
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (2000) USING doris;
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (2000) TO (3000) PARTITION BY LIST (s);
CREATE TABLE parts_3a PARTITION OF parts_3 FOR VALUES IN ('s0', 's1') USING doris;
CREATE TABLE parts_3b PARTITION OF parts_3 DEFAULT USING doris;
CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (3000) TO (4000) USING heap;
CREATE TABLE parts_5 PARTITION OF parts DEFAULT USING doris;
INSERT INTO parts SELECT NULLIF(g, 4500), DATE '2024-01-01' + g % 90, g % 700 / 8.0, 's' || g % 5 FROM generate_series(1, 5000) g;
CREATE TABLE pick (k int, s text) USING doris;
INSERT INTO pick SELECT NULLIF(g * 170, 1020), 's' || g % 3 FROM generate_series(0, 30) g;
RESET doris.rows_to_heap;
ANALYZE parts; ANALYZE pick;
CREATE TABLE parts_heap USING heap AS TABLE parts;
CREATE TABLE pick_heap USING heap AS TABLE pick;
ANALYZE parts_heap; ANALYZE pick_heap;
SET plan_cache_mode = force_generic_plan;
SET enable_nestloop = off; -- but where a test says so
CREATE FUNCTION parts_shown(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;
-- What a query reads: scans with their rows, and how many partitions were left out.
CREATE FUNCTION parts_reads(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line ~ 'Subplans Removed|Engine: +Scan|Custom Scan|Seq Scan|Scan on' THEN
      RETURN NEXT trim(regexp_replace(line, ' \(actual.*\)| loops=.*', ''));
    END IF;
  END LOOP;
END $$;
-- By parameters of a prepared statement: before execution, EXPLAIN knows what is left.
PREPARE one(int) AS SELECT count(*), sum(v), min(s) FROM parts WHERE k = $1;
SELECT * FROM parts_shown('EXECUTE one(1500)');
SELECT * FROM parts_reads('EXECUTE one(1500)');
SELECT * FROM parts_reads('EXECUTE one(3500)');
SELECT * FROM parts_reads('EXECUTE one(NULL)');
EXECUTE one(1500); EXECUTE one(3500); EXECUTE one(4501); EXECUTE one(NULL);
PREPARE few(int, int, text) AS SELECT s, count(*), sum(v) FROM parts WHERE k BETWEEN $1 AND $2 AND s = $3 GROUP BY s ORDER BY s;
SELECT * FROM parts_reads('EXECUTE few(900, 2100, ''s1'')');
EXECUTE few(900, 2100, 's1'); EXECUTE few(2500, 2100, 's1'); EXECUTE few(2500, 4100, 's4');
PREPARE first(int) AS SELECT k, v FROM parts WHERE k >= $1 ORDER BY k LIMIT 3;
SELECT * FROM parts_reads('EXECUTE first(3998)');
EXECUTE first(3998); EXECUTE first(4499); EXECUTE first(5001);
-- By values that are computed when the query runs.
SELECT * FROM parts_reads('SELECT count(*), sum(v) FROM parts WHERE k = (SELECT max(k) - 100 FROM pick WHERE k < 2000)');
SELECT count(*), sum(v) FROM parts WHERE k = (SELECT max(k) - 100 FROM pick WHERE k < 2000);
SELECT count(*), sum(v) FROM parts_heap WHERE k = (SELECT max(k) - 100 FROM pick WHERE k < 2000);
SELECT count(*) FROM parts WHERE k = (SELECT k FROM pick WHERE s = 'none');
PREPARE mixed(int) AS SELECT count(*), sum(v) FROM parts WHERE k > $1 AND k < (SELECT max(k) FROM pick WHERE k < 2500);
SELECT * FROM parts_reads('EXECUTE mixed(1200)');
EXECUTE mixed(1200);
SELECT count(*), sum(v) FROM parts_heap WHERE k > 1200 AND k < (SELECT max(k) FROM pick WHERE k < 2500);
-- By the rows of an outer query, anew for each.
CREATE FUNCTION parts_same(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE here text; there text;
BEGIN
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || query || ') x' INTO here;
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || regexp_replace(query, '\m(parts|pick)\M', '\1_heap', 'g') || ') x' INTO there;
  RETURN here = there;
END $$;
SELECT * FROM parts_shown('SELECT p.*, (SELECT v FROM parts WHERE parts.k = p.k LIMIT 1) FROM pick p');
SELECT q, parts_same(q) FROM (VALUES
  ('SELECT p.*, (SELECT v FROM parts WHERE parts.k = p.k ORDER BY v LIMIT 1) FROM pick p'),
  ('SELECT p.*, (SELECT count(*) FROM parts WHERE parts.k BETWEEN p.k AND p.k + 50 AND parts.s = p.s) FROM pick p'),
  ('SELECT p.*, (SELECT sum(v) FROM parts WHERE parts.k < p.k) FROM pick p'),
  ('SELECT p.*, x.* FROM pick p, LATERAL (SELECT parts.k kk, v FROM parts WHERE parts.k > p.k ORDER BY 1 LIMIT 2) x'),
  ('SELECT p.*, x.* FROM pick p LEFT JOIN LATERAL (SELECT s ss, count(*) FROM parts WHERE parts.k = p.k + 1 GROUP BY s) x ON true')) v(q);
SET enable_nestloop = on; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
SELECT parts_same('SELECT p.k, parts.v FROM pick p JOIN parts ON parts.k = p.k WHERE p.s = ''s1''');
-- A partition that comes or goes makes a new plan.
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
DROP TABLE parts_2;
EXECUTE one(1500); EXECUTE one(3500);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (2000) USING doris;
INSERT INTO parts VALUES (1500, '2024-01-01', 7, 'new');
EXECUTE one(1500);
-- A cursor over chosen partitions, read again from its start.
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM parts WHERE k = (SELECT 2500 + count(*) - count(*) FROM pick);
FETCH ALL FROM c;
MOVE ABSOLUTE 0 FROM c;
FETCH ALL FROM c;
COMMIT;
DROP TABLE parts, parts_heap, pick, pick_heap;
DROP FUNCTION parts_shown, parts_reads, parts_same;
DEALLOCATE ALL;
