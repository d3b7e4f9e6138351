-- Subplans that start anew for each row of their outer query: a template of their plan is filled with the parameters' values.
SET doris.rows_to_heap = 0;
CREATE TABLE again_out (k int, n numeric, s text, d date, f float8, b bool) USING doris;
INSERT INTO again_out SELECT NULLIF(g % 40, 7), CASE g % 9 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN g * 1e30
    WHEN 3 THEN g / 8.000 ELSE g * 10 ^ (g % 5) END, NULLIF('t' || g % 13, 't4'), DATE '2024-01-01' + NULLIF(g % 50, 3),
    CASE g % 11 WHEN 0 THEN 'NaN' WHEN 1 THEN NULL ELSE g / 3.0 END, NULLIF(g % 3, 2)::bool
  FROM generate_series(1, 300) g;
CREATE TABLE again_in (k int, g int, n numeric(10,2), s text, d date, f float8) USING doris;
INSERT INTO again_in SELECT NULLIF(g % 50, 9), g % 23, NULLIF(g % 700, 13) / 16.0, 't' || g % 11, DATE '2024-01-01' + g % 40,
    g % 60 / 4.0 FROM generate_series(1, 600) g;
CREATE TABLE again_side (g int, w int) USING doris;
INSERT INTO again_side SELECT NULLIF(g, 30), g * 3 FROM generate_series(1, 100) g;
RESET doris.rows_to_heap;
-- Rows that arrived later, and some that went.
INSERT INTO again_in VALUES (5, 3, 1.25, 'late', NULL, NULL), (NULL, NULL, NULL, NULL, '2024-02-01', 2);
DELETE FROM again_in WHERE k = 20 AND g % 2 = 0;
ANALYZE again_out; ANALYZE again_in; ANALYZE again_side;
CREATE TABLE again_out_twin USING heap AS TABLE again_out;
CREATE TABLE again_in_twin USING heap AS TABLE again_in;
CREATE TABLE again_side_twin USING heap AS TABLE again_side;
ANALYZE again_out_twin; ANALYZE again_in_twin; ANALYZE again_side_twin;
-- Whether a query's subplan is vectorised, and its rows are a heap's.
CREATE FUNCTION again(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; below boolean := false; how text := 'not vectorised'; here text; there text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    below := below OR line ~ 'SubPlan|Nested Loop';
    IF below AND line ~ 'DorisVectorized' THEN how := 'vectorised'; END IF;
  END LOOP;
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || query || ') x' INTO here;
  EXECUTE 'SELECT array_agg(x ORDER BY x::text)::text FROM (' || regexp_replace(query, '(again_\w+)', '\1_twin', 'g') || ') x' INTO there;
  RETURN how || CASE WHEN here = there THEN ', the same' ELSE ', different: ' || here || ' and ' || there END;
END $$;
SELECT q, again(q) FROM (VALUES
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE i.k < o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT sum(i.n) FROM again_in i WHERE i.n > o.n) FROM again_out o'),
  ('SELECT o.*, (SELECT sum(i.n * coalesce(o.n, 1.5)) FROM again_in i WHERE i.k <= o.k AND o.n < 1000) FROM again_out o'),
  ('SELECT o.*, (SELECT max(i.s) FROM again_in i WHERE i.s > o.s COLLATE "C") FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE i.s LIKE o.s || ''%'' AND i.k > 3) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE i.d BETWEEN o.d - 3 AND o.d) FROM again_out o'),
  ('SELECT o.*, (SELECT max(i.f) FROM again_in i WHERE i.f < o.f) FROM again_out o'),
  ('SELECT o.*, (SELECT i.n FROM again_in i WHERE i.g = o.k ORDER BY i.k, i.n LIMIT 1) FROM again_out o'),
  ('SELECT o.*, (SELECT string_agg(c::text, '','' ORDER BY c) FROM (SELECT count(*) c FROM again_in i WHERE i.k > o.k GROUP BY i.g + o.k) x) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i JOIN again_side j USING (g) WHERE i.k > o.k AND j.w <> o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i JOIN again_side j ON i.g = j.g + o.k WHERE i.n < 20) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i LEFT JOIN again_side j ON i.g = j.g AND j.w > o.k WHERE i.k = o.k + 1 LIMIT 1) FROM again_out o'),
  ('SELECT o.*, (SELECT sum(CASE WHEN o.k = 0 THEN 0 ELSE i.k / o.k END) FROM again_in i WHERE i.g <> o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE (i.k, i.g) < (o.k, 5)) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE i.k IS NOT DISTINCT FROM o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE o.b AND i.k > 10) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FROM again_in i WHERE md5(i.s || o.s) > ''8'' AND i.k <> o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT min(md5(i.s || coalesce(o.s, ''none''))) FROM again_in i WHERE i.k <> o.k) FROM again_out o'),
  ('SELECT o.*, (SELECT count(*) FILTER (WHERE i.n > o.k) FROM again_in i WHERE i.n < (SELECT avg(j.w) + o.k FROM again_side j WHERE j.g < o.k)) FROM again_out o'),
  ('SELECT o.*, (SELECT max(r) FROM (SELECT rank() OVER (PARTITION BY i.g ORDER BY i.k + o.k) r FROM again_in i WHERE i.g < o.k) x) FROM again_out o'),
  ('SELECT o.k, x.* FROM again_out o, LATERAL (SELECT i.k kk, i.n FROM again_in i WHERE i.g < o.k ORDER BY i.n DESC, i.k LIMIT 2) x'),
  ('SELECT o.k, x.* FROM again_out o LEFT JOIN LATERAL (SELECT i.g, count(*), sum(n) FROM again_in i WHERE i.k > o.k GROUP BY i.g ORDER BY 2 DESC, 1 LIMIT 1) x ON true'),
  ('SELECT o.k FROM again_out o WHERE EXISTS (SELECT 1 FROM again_in i WHERE i.k > o.k AND i.n > o.n OFFSET 3)'),
  ('SELECT o.k, ARRAY(SELECT i.n FROM again_in i WHERE i.n < o.f AND i.k = 5 ORDER BY 1) FROM again_out o')) v(q);
-- An error of one row is that row's.
SELECT o.k, (SELECT sum(i.g / (o.k - 6)) FROM again_in i WHERE i.k > o.k) FROM again_out o WHERE o.k < 6 ORDER BY 1, 2 LIMIT 3;
SELECT o.k, (SELECT sum(i.g / (o.k - 6)) FROM again_in i WHERE i.k > o.k) FROM again_out o WHERE o.k < 9 ORDER BY 1, 2 LIMIT 3;
-- Parameters of the client, with a generic plan; another client's value is another constant.
SET plan_cache_mode = force_generic_plan;
PREPARE ask(int, text) AS SELECT sum(c) FROM (SELECT (SELECT count(*) FROM again_in i WHERE i.k > o.k + $1 AND i.s LIKE $2) c FROM again_out o) x;
EXECUTE ask(3, 't1%');
EXECUTE ask(30, 't%');
EXECUTE ask(NULL, 't%');
DEALLOCATE ask;
RESET plan_cache_mode;
-- A cursor that is read again from its start, and rows that it does not see.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT o.k, (SELECT count(*) FROM again_in i WHERE i.k > o.k) FROM (SELECT DISTINCT k FROM again_out WHERE k < 4) o ORDER BY 1;
FETCH 2 FROM c;
INSERT INTO again_in SELECT 49, 1, 1, 'new', NULL, NULL FROM generate_series(1, 5000);
FETCH ABSOLUTE 0 FROM c;
FETCH ALL FROM c;
ROLLBACK;
-- In PL/pgSQL, where errors are caught while the outer query goes on.
DO $$
DECLARE r record; caught int := 0; total bigint := 0;
BEGIN
  FOR r IN SELECT o.k, (SELECT sum(i.k) FROM again_in i WHERE i.k > o.k) s FROM again_out o WHERE o.k < 20 ORDER BY o.k LOOP
    BEGIN
      total := total + r.s / (r.k % 5);
    EXCEPTION WHEN division_by_zero THEN caught := caught + 1;
    END;
  END LOOP;
  RAISE NOTICE '% caught, % in all', caught, total;
END $$;
-- Aggregates whose rows are all parameters.
SELECT o.k, (SELECT string_agg(o.s, ',') FILTER (WHERE i.g > 21) FROM again_in i WHERE i.k < o.k) FROM (VALUES (1, 'a'), (9, 'b'), (20, 'c')) o(k, s);
SELECT o.k, (SELECT array_agg(o.k) FILTER (WHERE i.g > 21) FROM again_in i WHERE i.k < o.k) FROM (VALUES (1), (9), (20)) o(k);
SELECT o.k, (SELECT string_agg(o.s, ',') FILTER (WHERE i.g > 21) FROM again_in_twin i WHERE i.k < o.k) FROM (VALUES (1, 'a'), (9, 'b'), (20, 'c')) o(k, s);
DROP TABLE again_out, again_out_twin, again_in, again_in_twin, again_side, again_side_twin;
DROP FUNCTION again;
