-- Aggregates that put rows together, in the engine, against a heap with the same rows.
CREATE TABLE lst_heap (id int, k int, s text COLLATE "C", d text COLLATE "C", y bytea, i2 int2, i8 int8, f float8, dt date, iv interval, u uuid,
  bo boolean, n numeric, j jsonb, ch "char");
INSERT INTO lst_heap SELECT g, nullif(g % 7, 3), CASE WHEN g % 9 <> 0 THEN 'w' || g % 40 END, CASE WHEN g % 11 <> 0 THEN repeat('-', g % 3) END,
  CASE WHEN g % 5 <> 0 THEN decode(lpad(to_hex(g % 300), 4, '0'), 'hex') END, nullif(g % 13, 4), g::int8 * 1000000007,
  CASE WHEN g % 17 = 0 THEN 'NaN' ELSE g / 8.0 END, '2024-02-27'::date + g % 9, g % 50 * interval '1 day 2 hours',
  md5((g % 30)::text)::uuid, nullif(g % 3, 2) = 1, g / 4.0, jsonb_build_object('a', g % 3), 'x' FROM generate_series(1, 3000) g;
CREATE TABLE lst_doris (LIKE lst_heap) USING doris;
INSERT INTO lst_doris SELECT * FROM lst_heap ORDER BY id;
ANALYZE lst_heap;
ANALYZE lst_doris;

CREATE FUNCTION lst_differ(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT r FROM (%1$s) r FULL JOIN (%2$s) h ON r::text = h::text '
                 'WHERE r IS NULL AND h IS NOT NULL OR h IS NULL AND r IS NOT NULL) x',
                 format(query, 'lst_doris'), format(query, 'lst_heap')) INTO differing;
  RETURN differing;
END $$;

EXPLAIN (COSTS OFF) SELECT k, string_agg(s, ', ' ORDER BY id) FROM lst_doris GROUP BY k;
EXPLAIN (COSTS OFF) SELECT array_agg(id), string_agg(s, d) FILTER (WHERE bo) FROM lst_doris;
EXPLAIN (COSTS OFF) SELECT k, string_agg(s, ',') FROM (SELECT * FROM lst_doris ORDER BY f DESC) x GROUP BY k;

SELECT lst_differ('SELECT k, string_agg(s, d ORDER BY id), string_agg(s, NULL ORDER BY s DESC NULLS LAST, id), string_agg(s, '','' ORDER BY id DESC) FILTER (WHERE bo)
  FROM %s GROUP BY k');
-- Without an order of its own, that of the rows. (PostgreSQL's sort for groups would change it.)
SET enable_sort = off;
SELECT lst_differ('SELECT k, string_agg(s, d), string_agg(y, ''\x00''), array_agg(id), array_agg(s) FILTER (WHERE i2 > 3) FROM %s GROUP BY k');
SELECT lst_differ('SELECT string_agg(s, ''+''), array_agg(i2) FROM %s');
SELECT lst_differ('SELECT array_agg(DISTINCT i2), array_agg(DISTINCT s ORDER BY s DESC NULLS FIRST) FROM %s');
SELECT lst_differ('SELECT string_agg(s, ''+''), array_agg(id) FROM (SELECT * FROM %s ORDER BY i2 NULLS FIRST, id DESC) x');
SELECT lst_differ('SELECT k, array_agg(id) FROM (SELECT * FROM %s ORDER BY k, dt, id DESC) x GROUP BY k');
RESET enable_sort;
SELECT lst_differ('SELECT k, string_agg(DISTINCT s, ''/''), string_agg(DISTINCT s, d ORDER BY s, d), string_agg(DISTINCT y, NULL) FROM %s GROUP BY k');
SELECT lst_differ('SELECT dt, array_agg(i8 ORDER BY id), array_agg(f ORDER BY id), array_agg(dt ORDER BY id), array_agg(iv ORDER BY id),
  array_agg(u ORDER BY u, id), array_agg(bo ORDER BY id), array_agg(n ORDER BY id), array_agg(j ORDER BY id), array_agg(ch ORDER BY id), array_agg(y ORDER BY id)
  FROM %s GROUP BY dt');
-- Read as arrays again.
SELECT lst_differ('SELECT k, (array_agg(i8 ORDER BY id DESC))[2], array_length(array_agg(iv), 1), unnest((array_agg(s ORDER BY id))[1:3]) FROM %s GROUP BY k');
SELECT lst_differ('SELECT k, string_agg(s, '','' ORDER BY id) FROM %s GROUP BY k HAVING length(string_agg(s, '','')) > 100 AND string_agg(s, '','' ORDER BY id) < ''x''');
-- With what PostgreSQL evaluates, sets, and joins.
SELECT lst_differ('SELECT k, string_agg(initcap(s), md5(d) ORDER BY id) FILTER (WHERE s ~ ''[1-4]''), array_agg(j -> ''a'' ORDER BY n) FROM %s GROUP BY k');
SELECT lst_differ('SELECT k, bo, string_agg(s, '','' ORDER BY id), grouping(k, bo) FROM %s GROUP BY CUBE (k, bo)');
SELECT lst_differ('SELECT a.k, string_agg(b.s, '','' ORDER BY b.id, a.id) FROM %1$s a JOIN %1$s b ON a.id = b.i2 GROUP BY a.k');
-- No rows, and nothing but NULLs.
SELECT string_agg(s, ','), array_agg(id), array_agg(s) FILTER (WHERE id = 9) FROM lst_doris WHERE id < 0;
SELECT string_agg(s, ','), array_agg(s), array_agg(s) FILTER (WHERE false) FROM lst_doris WHERE id IN (9, 18);
-- The rest of the common ones.
SELECT lst_differ('SELECT k, bit_xor(i2), bit_and(i8), every(bo) FROM %s GROUP BY k');
SELECT lst_differ('SELECT k, round(stddev(f)::numeric, 6), round(var_pop(f)::numeric, 6), variance(f) IS NULL FROM %s WHERE f <> ''NaN'' GROUP BY k');
-- Beyond memory, in small batches, and on one thread.
SET doris.work_mem = '64kB';
SET doris.batch_rows = 7;
SET enable_sort = off;
SELECT lst_differ('SELECT id %% 100, string_agg(s, d), array_agg(iv), string_agg(y, NULL) FROM %s GROUP BY 1');
SELECT lst_differ('SELECT id %% 100, string_agg(s, d ORDER BY iv, id), array_agg(iv ORDER BY id DESC), array_agg(DISTINCT i2) FROM %s GROUP BY 1');
SELECT lst_differ('SELECT string_agg(s, d), array_agg(DISTINCT i2) FROM %s');
SET doris.threads = 1;
SELECT lst_differ('SELECT k, string_agg(s, d), array_agg(id) FROM %s GROUP BY k');
RESET doris.work_mem;
RESET doris.batch_rows;
RESET doris.threads;
RESET enable_sort;
-- PostgreSQL puts arrays behind each other.
SELECT lst_differ('SELECT k, (array_agg(s ORDER BY id) || array_agg(s ORDER BY id DESC))::text, pg_column_size(array_agg(s ORDER BY id)), (array_agg(y ORDER BY id) || array_agg(y ORDER BY id))::text
  FROM %s WHERE id < 100 GROUP BY k');
SELECT lst_differ('SELECT array_agg(a ORDER BY k)::text FROM (SELECT k, array_agg(repeat(''x'', k)) AS a FROM %s WHERE id < 6 AND k IS NOT NULL GROUP BY k) x');
-- The order of a subquery, whatever it comes from.
SET enable_hashagg = off;
SELECT lst_differ('SELECT string_agg(k::text, '','') FROM (SELECT k FROM %s GROUP BY k ORDER BY k) q');
RESET enable_hashagg;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT lst_differ('SELECT string_agg(id::text, '','') FROM (SELECT a.id FROM %1$s a JOIN %1$s b USING (id) ORDER BY a.id) q');
RESET enable_hashjoin;
RESET enable_nestloop;
-- Too long: PostgreSQL's limit.
\set VERBOSITY sqlstate
SELECT length(string_agg(repeat('x', 1000000), '')) FROM lst_doris WHERE id <= 1100;
\set VERBOSITY default
DROP TABLE lst_heap, lst_doris;
DROP FUNCTION lst_differ;
