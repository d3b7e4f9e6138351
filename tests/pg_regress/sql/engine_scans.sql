-- What scans leave unread: row blocks beyond a sort's first rows, ranges compared as they are encoded, filters in any order.
CREATE TABLE scanned (id int, kind int, n numeric(10,2), d date, s text, nothing int) USING doris;
INSERT INTO scanned SELECT g, CASE WHEN g BETWEEN 70000 AND 70100 THEN 5 WHEN g % 2 = 0 THEN 1 ELSE 9000 END, g % 1000 / 4.0,
  DATE '2020-01-01' + g % 1000, 'text ' || g % 7000, NULLIF(g % 100, 0) FROM generate_series(1, 100000) g;
ANALYZE scanned;
CREATE TABLE scanned_twin USING heap AS TABLE scanned;
SET doris.threads = 1;
CREATE FUNCTION scan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line ~ 'Scan of' THEN
      RETURN regexp_replace(line, '^ *Scan of \w+: \d+ segments, | by delete marks.*$', '', 'g');
    END IF;
  END LOOP;
END $$;
CREATE FUNCTION same(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE here text; there text;
BEGIN
  EXECUTE 'SELECT array_agg(x)::text FROM (' || query || ') x' INTO here;
  EXECUTE 'SELECT array_agg(x)::text FROM (' || replace(query, 'scanned', 'scanned_twin') || ') x' INTO there;
  RETURN here = there;
END $$;
-- The first rows of a sort: the rest of the table is not read.
SELECT scan_of('SELECT * FROM scanned ORDER BY id LIMIT 5');
SELECT scan_of('SELECT * FROM scanned WHERE s <> '''' ORDER BY id + 0 LIMIT 5');
SELECT q, same(q) FROM (VALUES
  ('SELECT * FROM scanned ORDER BY id LIMIT 5'),
  ('SELECT * FROM scanned WHERE s <> ''text 3'' ORDER BY d, id LIMIT 7 OFFSET 200'),
  ('SELECT * FROM scanned ORDER BY id DESC LIMIT 5'),
  ('SELECT * FROM scanned ORDER BY n DESC, id LIMIT 12'),
  ('SELECT * FROM scanned ORDER BY nothing DESC, id LIMIT 1100'),
  ('SELECT * FROM scanned ORDER BY nothing NULLS FIRST, id DESC LIMIT 1010'),
  ('SELECT * FROM scanned ORDER BY nothing, id LIMIT 40'),
  ('SELECT * FROM scanned ORDER BY nothing DESC NULLS LAST, id LIMIT 3000')) v(q);
-- A row that the sort does not want may still fail.
SELECT id, 1 / (id - 99999) FROM scanned ORDER BY id LIMIT 3;
-- A column of few rows' kind.
SELECT scan_of('SELECT s, n FROM scanned WHERE kind = 5 AND d < ''2022-01-01''');
SELECT q, same(q) FROM (VALUES
  ('SELECT count(*), sum(n), min(s), max(d) FROM scanned WHERE kind = 5 AND d < ''2022-01-01'''),
  ('SELECT count(*), sum(n), min(s), max(d) FROM scanned WHERE s <> ''text 7'' AND d >= ''2021-03-01'' AND n BETWEEN 10.01 AND 90 AND kind IN (1, 5)'),
  ('SELECT count(*), sum(id) FROM scanned WHERE d < DATE ''2020-01-01'' + interval ''10 days 3 hours'''),
  ('SELECT count(*), sum(id) FROM scanned WHERE d >= TIMESTAMP ''2022-09-01 00:00:01'' AND d <> TIMESTAMP ''2022-09-10'''),
  ('SELECT count(*), sum(id) FROM scanned WHERE TIMESTAMP ''infinity'' > d AND d = TIMESTAMP ''2020-05-05 01:00'''),
  ('SELECT count(*), sum(id) FROM scanned WHERE nothing BETWEEN 3 AND 5 AND kind < 2'),
  ('SELECT count(*), sum(id) FROM scanned WHERE n = 12.345 OR n = 12.25'),
  ('SELECT kind, nothing, count(*), sum(n) FROM scanned WHERE id < 60000 GROUP BY kind, nothing ORDER BY kind, nothing')) v(q);
RESET doris.threads;
DROP TABLE scanned, scanned_twin;
DROP FUNCTION scan_of, same;
