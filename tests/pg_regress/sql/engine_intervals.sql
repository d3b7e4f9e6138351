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
RESET doris.rows_to_heap;
DROP TABLE iwn_heap, iwn_doris;
DROP FUNCTION iwn;
