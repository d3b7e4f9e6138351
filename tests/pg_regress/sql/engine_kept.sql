-- Subplans that start anew for each row of their outer query keep what no parameter changes: tables of joins, the rows of
-- tables, and an index of them by a column that is asked for by its value.
SET doris.rows_to_heap = 0;
CREATE TABLE kept_out (k int, s text, n numeric, o int) USING doris;
INSERT INTO kept_out SELECT NULLIF(g * 37 % 101, 7), NULLIF('t' || g % 13, 't4'), CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' ELSE g / 4.0 END, g
  FROM generate_series(1, 60) g;
CREATE TABLE kept_in (k int, g int, s text, n numeric(10,2), t text) USING doris;
INSERT INTO kept_in SELECT NULLIF(g % 103, 9), g % 211, 't' || g % 11, NULLIF(g % 701, 13) / 4.0, repeat(md5(g::text), 8) FROM generate_series(1, 20000) g;
CREATE TABLE kept_side (g int, w int, n numeric(8,2)) USING doris;
INSERT INTO kept_side SELECT NULLIF(g % 230, 30), g % 17, g / 8.0 FROM generate_series(1, 500) g;
RESET doris.rows_to_heap;
-- Rows that arrived later, and some that went.
INSERT INTO kept_in VALUES (5, 3, 't1', 1.25, 'late'), (NULL, NULL, NULL, NULL, NULL);
DELETE FROM kept_in WHERE k = 20 AND g % 2 = 0;
CREATE TABLE kept_heap USING heap AS TABLE kept_side;
ANALYZE kept_out; ANALYZE kept_in; ANALYZE kept_side; ANALYZE kept_heap;
CREATE TABLE kept_out_twin USING heap AS TABLE kept_out;
CREATE TABLE kept_in_twin USING heap AS TABLE kept_in;
CREATE TABLE kept_side_twin USING heap AS TABLE kept_side;
CREATE TABLE kept_heap_twin USING heap AS TABLE kept_side;
CREATE INDEX ON kept_in_twin (k);
CREATE INDEX ON kept_in_twin (s);
ANALYZE kept_out_twin; ANALYZE kept_in_twin; ANALYZE kept_side_twin; ANALYZE kept_heap_twin;
-- Whether the last start of a subplan had the table of a join from an earlier one, which tables it did not read, and whether
-- the rows are a heap's.
CREATE FUNCTION kept(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; below boolean := false; how text := ''; here text; there text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    below := below OR line ~ 'SubPlan|Nested Loop';
    IF below AND line ~ 'table kept' THEN how := how || 'table kept, '; END IF;
    IF below AND line ~ 'Scan of kept_in|Scan of i:' AND line ~ ' 0 segments' THEN how := how || 'rows kept, '; END IF;
  END LOOP;
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || query || ') x' INTO here;
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || regexp_replace(query, '(kept_\w+)', '\1_twin', 'g') || ') x' INTO there;
  RETURN how || CASE WHEN here IS NOT DISTINCT FROM there THEN 'the same' ELSE concat('different: ', here, ' and ', there) END;
END $$;
CREATE TABLE kept_queries (number serial, q text) USING heap;
INSERT INTO kept_queries (q) VALUES
  ('SELECT o.*, (SELECT count(*) FROM kept_in i WHERE i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT max(i.t) FROM kept_in i WHERE i.k = o.k AND i.g < 100) FROM kept_out o'),
  ('SELECT o.*, (SELECT max(i.t) FROM kept_in i WHERE i.s = o.s AND i.k = 3) FROM kept_out o'),
  ('SELECT o.*, (SELECT max(i.t) FROM kept_in i WHERE i.n = o.n) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT sum(j.n) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k AND j.w > 5) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j ON i.g = j.g AND j.w <> o.k WHERE i.k < o.k - 70) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j ON i.g = j.g + o.k WHERE i.k < 4) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(j.w) FROM kept_in i LEFT JOIN kept_side j ON i.g = j.g AND j.w > o.k WHERE i.k = o.k + 1) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(i.k) FROM kept_side j LEFT JOIN kept_in i ON i.g = j.g AND i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(i.k) FROM kept_side j FULL JOIN kept_in i ON i.g = j.g WHERE j.w = o.k OR i.k = o.k) FROM kept_out o WHERE o.o < 9'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i WHERE i.k = o.k AND EXISTS (SELECT 1 FROM kept_side j WHERE j.g = i.g)) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i WHERE i.k = o.k AND NOT EXISTS (SELECT 1 FROM kept_side j WHERE j.g = i.g AND j.w > 2)) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i WHERE i.k = o.k AND i.g NOT IN (SELECT g FROM kept_side WHERE g IS NOT NULL)) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i WHERE i.k = o.k AND i.g NOT IN (SELECT g FROM kept_side WHERE w = 13)) FROM kept_out o'),
  ('SELECT o.*, (SELECT sum(h.n) FROM kept_in i JOIN kept_heap h USING (g) WHERE i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT sum(h.n) FROM kept_in i JOIN (SELECT g, max(n) n FROM kept_side GROUP BY g) h USING (g) WHERE i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) JOIN kept_side l ON l.w = j.w AND l.g < 40 WHERE i.k = o.k AND i.g > 200) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k AND md5(j.w::text) > ''8'') FROM kept_out o'),
  ('SELECT o.*, (SELECT min(md5(i.g || coalesce(o.s, ''x''))) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k AND j.n > (SELECT avg(n) FROM kept_side)) FROM kept_out o'),
  ('SELECT o.*, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k AND i.n / j.w > 2) FROM kept_out o WHERE false'),
  ('SELECT o.k, x.* FROM kept_out o, LATERAL (SELECT i.g, i.t FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k ORDER BY i.t, i.g LIMIT 2) x');
SELECT number, kept(q) FROM kept_queries ORDER BY number;
-- With next to no memory nothing is kept; on one thread and in small batches rows are the same.
SET doris.work_mem = '256kB';
SELECT number, kept(q) FROM kept_queries WHERE number IN (2, 5, 7, 13, 16) ORDER BY number;
RESET doris.work_mem;
SET doris.batch_rows = 61; SET doris.threads = 1;
SELECT number, kept(q) FROM kept_queries WHERE number IN (5, 9, 15, 16) ORDER BY number;
RESET doris.batch_rows; RESET doris.threads;
-- An error of one row is that row's, after many starts, too.
SELECT o.o, (SELECT sum(j.w / (o.o - 40)) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k) FROM kept_out o WHERE o.o < 40 ORDER BY 1 DESC LIMIT 2;
SELECT o.o, (SELECT sum(j.w / (o.o - 40)) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k) FROM kept_out o ORDER BY 1;
-- A cursor that reads again from its start after its own transaction wrote: it sees what it saw.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT o.o, (SELECT count(*) FROM kept_in i JOIN kept_side j USING (g) WHERE i.k = o.k) FROM kept_out o WHERE o.o > 20 ORDER BY 1;
FETCH ABSOLUTE 30 FROM c;
INSERT INTO kept_side SELECT g, 1, 1 FROM generate_series(1, 200) g;
DELETE FROM kept_in WHERE k > 50;
FETCH ABSOLUTE 1 FROM c;
FETCH ABSOLUTE 30 FROM c;
ROLLBACK;
-- Cancelled between starts and within one; the next statement is not disturbed.
SET statement_timeout = '300ms';
SELECT sum((SELECT count(*) FROM kept_in i JOIN kept_in j USING (g) WHERE i.k <> o.k AND i.t < j.t)) FROM kept_out o;
RESET statement_timeout;
SELECT kept(q) FROM kept_queries WHERE number = 5;
DROP TABLE kept_out, kept_out_twin, kept_in, kept_in_twin, kept_side, kept_side_twin, kept_heap, kept_heap_twin, kept_queries;
DROP FUNCTION kept;
