-- Windows and sorts by intervals, and frames of days and months over timestamptz, against a heap.
SET doris.rows_to_heap = 0;
CREATE TABLE iwn_heap AS SELECT g AS id, g % 3 AS k, CASE g % 9 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity'
  WHEN 3 THEN '-Infinity' WHEN 4 THEN '-0' ELSE (g % 20 / 4.0)::text END::float8 AS f, (g % 11 / 2.0)::float4 AS r,
  time '00:00' + g * interval '5 minutes' AS t,
  (ARRAY['1 mon','30 days','720 hours','-1 day','0',NULL,'2 mons','1 day 1 hour'])[1 + g % 8]::interval + g % 4 * interval '1 hour' AS iv,
  CASE WHEN g % 50 = 0 THEN 'infinity' WHEN g % 51 <> 0 THEN '2024-03-08 12:00+00'::timestamptz + g * interval '31 minutes' END AS tz
  FROM generate_series(1, 300) g;
CREATE TABLE iwn_doris USING doris AS SELECT * FROM iwn_heap;
CREATE FUNCTION iwn(keys text, start text, stop text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE query text := 'SELECT id, count(*) OVER w, min(id) OVER w, max(id) OVER w FROM iwn_%s WINDOW w AS (PARTITION BY k ORDER BY '
  || keys || ' RANGE BETWEEN ' || start || ' AND ' || stop || ')';
  differ boolean;
BEGIN
  EXECUTE format('SELECT EXISTS ((%1$s EXCEPT %2$s) UNION ALL (%2$s EXCEPT %1$s))', format(query, 'heap'), format(query, 'doris')) INTO differ;
  RETURN differ;
END $$;
-- Intervals compare by their length; days and months of timestamptz are the session's, around a change of clocks too.
EXPLAIN (COSTS OFF) SELECT count(*) OVER (ORDER BY iv RANGE BETWEEN '1 day' PRECEDING AND CURRENT ROW) FROM iwn_doris;
EXPLAIN (COSTS OFF) SELECT count(*) OVER (ORDER BY tz RANGE BETWEEN '1 day' PRECEDING AND CURRENT ROW) FROM iwn_doris;
SELECT keys, start, stop, iwn(keys, start || ' PRECEDING', stop || ' FOLLOWING') AS differ,
  iwn(keys, start || ' FOLLOWING', 'UNBOUNDED FOLLOWING') AS differ, iwn(keys, 'UNBOUNDED PRECEDING', stop || ' PRECEDING') AS differ
  FROM (VALUES ('iv'), ('iv DESC'), ('iv NULLS FIRST'), ('tz'), ('tz DESC'), ('tz DESC NULLS LAST')) a(keys),
  (VALUES ('''1 day''', '''1 mon'''), ('''2 hours''', '''0'''), ('''1 mon 1 hour''', '''3 days 90 minutes'''), ('''40 days -1 hour''', '''-1 mon 31 days''')) b(start, stop);
SELECT count(*) OVER (ORDER BY iv RANGE BETWEEN '-1 day' PRECEDING AND CURRENT ROW) FROM iwn_doris;
SELECT count(*) OVER (ORDER BY tz RANGE BETWEEN '-1 day' PRECEDING AND CURRENT ROW) FROM iwn_doris;
SELECT iwn('iv, id', 'UNBOUNDED PRECEDING', 'CURRENT ROW'), iwn('k', 'UNBOUNDED PRECEDING', 'CURRENT ROW');
SELECT count(*) AS differ FROM (SELECT row_number() OVER () AS place, iv, id FROM (SELECT iv, id FROM iwn_doris ORDER BY iv DESC, id) d) d
  FULL JOIN (SELECT row_number() OVER () AS place, iv, id FROM (SELECT iv, id FROM iwn_heap ORDER BY iv DESC, id) h) h
  ON d.place = h.place WHERE d.id IS DISTINCT FROM h.id OR d.iv::text IS DISTINCT FROM h.iv::text;
SELECT count(*) FROM (SELECT d.id FROM (SELECT id, dense_rank() OVER (PARTITION BY iv ORDER BY k, id) AS r FROM iwn_doris) d
  JOIN (SELECT id, dense_rank() OVER (PARTITION BY iv ORDER BY k, id) AS r FROM iwn_heap) h ON d.id = h.id AND d.r <> h.r) x;
-- Groups are told apart by length, and show one of their values.
CREATE FUNCTION iwn_rows(query text) RETURNS TABLE (iv interval, rest text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT coalesce(a, ''-99 years''), format(''%%s %%s'', b, c), count(*) FROM (%s) AS q(a, b, c) GROUP BY 1, 2', query);
END $$;
CREATE FUNCTION iwn_left(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; vectorised boolean = false; postgres boolean = false;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
    vectorised = vectorised OR line ~ 'DorisVectorized';
    postgres = postgres OR line ~ 'postgres|Aggregate$|HashAggregate|Unique|SetOp';
  END LOOP;
  RETURN postgres OR NOT vectorised;
END $$;
SELECT q, iwn_left(replace(q, '@', 'doris')) AS left_to_postgres, (SELECT count(*) FROM iwn_rows(replace(q, '@', 'doris')) d
  FULL JOIN iwn_rows(replace(q, '@', 'heap')) h USING (iv, rest) WHERE d.n IS DISTINCT FROM h.n) AS differ
FROM unnest(ARRAY['SELECT iv, k::text, count(*)::text FROM iwn_@ GROUP BY iv, k', 'SELECT iv, count(*)::text, count(DISTINCT iv)::text FROM iwn_@ GROUP BY iv',
  'SELECT iv, count(*)::text, sum(id)::text FROM iwn_@ GROUP BY ROLLUP (iv)', 'SELECT iv, k::text, count(*)::text FROM iwn_@ GROUP BY GROUPING SETS ((iv, k), (k), ())',
  'SELECT DISTINCT iv, k::text, NULL FROM iwn_@', 'SELECT iv, k::text, NULL FROM iwn_@ WHERE id < 99 UNION SELECT iv, k::text, NULL FROM iwn_@',
  'SELECT iv, NULL, count(DISTINCT iv)::text FROM iwn_@ GROUP BY iv HAVING iv > interval ''1 day''']) q;
-- Sums, averages and extremes.
CREATE FUNCTION iwn_sums(am text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT q::text FROM (SELECT k, sum(iv), avg(iv), min(iv + id * interval ''1 day''), max(iv - id * interval ''3 days''), avg(id * interval ''1 mon 2 days 1 second''),
    sum(id * iv), avg(-iv), avg(t - time ''03:00'') FILTER (WHERE id > 5), min(iv) FILTER (WHERE id < 0) FROM iwn_%s GROUP BY ROLLUP (k)) q', am);
END $$;
SELECT iwn_left('SELECT k, sum(iv), avg(iv), min(iv), max(iv) FROM iwn_doris GROUP BY k');
SELECT * FROM iwn_sums('doris') EXCEPT ALL SELECT * FROM iwn_sums('heap');
SELECT min(iv) = interval '-21 hours', max(iv) = interval '2 mons 2 hours' FROM iwn_doris;
SELECT sum(id * interval '100000000 days') FROM iwn_doris;
SELECT sum(id * interval '100000000 days') FROM iwn_heap;
SELECT avg((CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END) * interval '2000000000 days') FROM iwn_doris;
SELECT avg((CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END) * interval '2000000000 days') FROM iwn_heap;
DROP FUNCTION iwn_sums;
SELECT count(*), count(DISTINCT iv), count(DISTINCT iv + interval '1 mon') FROM iwn_doris;
SELECT count(*), count(DISTINCT iv), count(DISTINCT iv + interval '1 mon') FROM iwn_heap;
-- What is shown is in the table, and several intervals are of one row.
SELECT count(*) AS unknown FROM (SELECT iv, a, b FROM (SELECT iv, CASE WHEN id % 2 = 0 THEN iv END AS a, -iv AS b FROM iwn_doris) x GROUP BY iv, a, b) g
  WHERE NOT EXISTS (SELECT 1 FROM iwn_heap h WHERE h.iv::text IS NOT DISTINCT FROM g.iv::text AND (-h.iv)::text IS NOT DISTINCT FROM g.b::text);
SELECT count(*) FROM (SELECT iv FROM iwn_doris WHERE k = 0 INTERSECT SELECT iv FROM iwn_doris WHERE k = 1) x;
SELECT count(*) FROM (SELECT iv FROM iwn_heap WHERE k = 0 INTERSECT SELECT iv FROM iwn_heap WHERE k = 1) x;
SELECT count(*) FROM (SELECT iv FROM iwn_doris WHERE k = 0 EXCEPT ALL SELECT iv FROM iwn_doris WHERE k = 1) x;
SELECT count(*) FROM (SELECT iv FROM iwn_heap WHERE k = 0 EXCEPT ALL SELECT iv FROM iwn_heap WHERE k = 1) x;
DROP FUNCTION iwn_left, iwn_rows;
RESET doris.rows_to_heap;
DROP TABLE iwn_heap, iwn_doris;
DROP FUNCTION iwn;
