-- Row blocks that are skipped, and by what; the answers are those of a heap.
CREATE SCHEMA pruning;
SET search_path = pruning, doris, public;
SET TimeZone = 'UTC';
SET doris.rows_to_heap = 0;
SET doris.compaction = off;

CREATE TABLE h (id int, big bigint, n numeric(12, 2), d date, t text COLLATE "C", word text, code text, f float4);
INSERT INTO h
  SELECT g, g * 1000000007::bigint, g / 4.0, date '2020-01-01' + g / 100, 'k' || lpad(g::text, 8, '0'),
         'w' || md5(g::text), nullif('c' || g % 7, 'c6'), g
  FROM generate_series(1, 200000) g;
CREATE TABLE d (LIKE h) USING doris WITH (duplicate_key = 'id', bloom_filter = 'word, big, code');
INSERT INTO d SELECT * FROM h;
ALTER TABLE d ADD COLUMN late int DEFAULT 7;
ALTER TABLE h ADD COLUMN late int DEFAULT 7;

-- The number of row blocks read and skipped, and whether the rows are the heap's.
CREATE FUNCTION pruned(condition text, OUT read int, OUT zone int, OUT key int, OUT bloom int, OUT answer text) LANGUAGE plpgsql AS $$
DECLARE
  plan json;
  one text;
  two text;
BEGIN
  EXECUTE format('EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM d WHERE %s', condition) INTO plan;
  SELECT sum(v::int) FILTER (WHERE k = 'Row Blocks Read'),
         sum(v::int) FILTER (WHERE k = 'Row Blocks Pruned by Zone Map'),
         sum(v::int) FILTER (WHERE k = 'Row Blocks Pruned by Key Index'),
         sum(v::int) FILTER (WHERE k = 'Row Blocks Pruned by Bloom Filter')
    FROM (SELECT m[1] AS k, m[2] AS v FROM regexp_matches(plan::text, '"(Row Blocks [^"]*)": (\d+)', 'g') m) all_of
    INTO read, zone, key, bloom;
  EXECUTE format('SELECT count(*) || '' '' || coalesce(sum(id), 0) FROM d WHERE %s', condition) INTO one;
  EXECUTE format('SELECT count(*) || '' '' || coalesce(sum(id), 0) FROM h WHERE %s', condition) INTO two;
  answer := CASE WHEN one = two THEN 'as the heap' ELSE one || ' instead of ' || two END;
END $$;

SELECT c, p.* FROM (VALUES
  ('id = 70000'),
  ('id BETWEEN 70000 AND 70010'),
  ('id IN (5, 199999)'),
  ('id = ANY (''{5, 199999, NULL}'')'),
  ('id NOT IN (5, 199999)'),
  ('id NOT IN (5, NULL)'),
  ('id = 5::bigint'),
  ('id = 5000000000'),
  ('id = 5.0'),
  ('id > 199999.5'),
  ('id = 5.5'),
  ('id IN (5.5, 6.5)'),
  ('n < 10'),
  ('n = 10.25'),
  ('n >= 49999.999'),
  ('n IN (10.25, 20.5)'),
  ('d < date ''2020-01-05'''),
  ('d = date ''2020-03-01'''),
  ('d >= date ''2020-01-01'' + interval ''5 years 20 days'''),
  ('t < ''k00000100'''),
  ('t LIKE ''k000001%'''),
  ('t LIKE ''k00000100'''),
  ('t LIKE ''k000001%9'''),
  ('t NOT LIKE ''k0001%'''),
  ('t ILIKE ''K000001%'''),
  ('NOT (t LIKE ''k0001%'' OR id > 100)'),
  ('word = ''w'' || md5(''150000'')'),
  ('word IN (''w'' || md5(''150000''), ''w'' || md5(''7''), ''nothing'')'),
  ('word = ''none of them'''),
  ('word LIKE ''none%'''),
  ('code = ''c9'''),
  ('code IS NULL AND id < 100'),
  ('f = 5'),
  ('f = 0.5'),
  ('f IN (5, 6.25)'),
  ('big = 70000::bigint * 1000000007'),
  ('big = 70000::bigint * 1000000007 + 1'),
  ('late = 8'),
  ('late IN (6, 7) AND id < 10'),
  ('d > timestamp ''infinity'''),
  ('d < timestamp ''infinity'' AND id = 3'),
  ('d = timestamp ''2020-03-01 00:00:01'''),
  ('t < ''k00000100'' COLLATE "C"'),
  ('t >= ''k00199999'''),
  ('code > ''c5'''),
  ('id = (SELECT 70000)')
) v(c), pruned(c) p;

-- Dates and timestamps, infinite ones among them: infinity is no number of days.
INSERT INTO h (id, d) SELECT 200000 + g, CASE WHEN g % 2 = 0 THEN 'infinity' ELSE '-infinity' END::date FROM generate_series(1, 40000) g;
INSERT INTO d (id, d) SELECT id, d FROM h WHERE id > 200000 ORDER BY id;
SELECT c, p.answer FROM (VALUES
  ('d IN (timestamp ''2020-03-01'', timestamp ''infinity'')'),
  ('d IN (timestamp ''2020-03-01'', timestamp ''2020-03-02 00:00:01'')'),
  ('d NOT IN (timestamp ''2020-03-01'', timestamp ''-infinity'')'),
  ('d = timestamp ''infinity'''),
  ('d < timestamp ''infinity'''),
  ('d > timestamp ''-infinity'''),
  ('d <= timestamp ''2020-03-01 12:00''')
) v(c), pruned(c) p;

-- Long lists are asked about by their ends.
SELECT p.* FROM pruned('id IN (' || (SELECT string_agg((g * 3)::text, ', ') FROM generate_series(100, 1000) g) || ')') p;
-- Parameters, again and again with other values.
PREPARE point(int) AS SELECT id, word FROM d WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE point(5); EXECUTE point(150000); EXECUTE point(NULL); EXECUTE point(0);
-- First rows: what may hold them is read first, and their bound leaves out the rest, whichever end they are at.
CREATE TABLE latest (at int, v int) USING doris;
CREATE TABLE latest_h (at int, v int);
INSERT INTO latest_h SELECT CASE WHEN g % 50000 > 10 THEN g END, g FROM generate_series(1, 200000) g;
INSERT INTO latest SELECT * FROM latest_h WHERE v <= 70000 ORDER BY v;
INSERT INTO latest SELECT * FROM latest_h WHERE v BETWEEN 70001 AND 140000 ORDER BY v;
INSERT INTO latest SELECT * FROM latest_h WHERE v > 140000 ORDER BY v;
CREATE FUNCTION first_rows(orders text, OUT few boolean, OUT answer boolean) LANGUAGE plpgsql AS $$
DECLARE
  plan json;
  one text;
  two text;
  query text := 'SELECT at, v FROM %s WHERE v > 5 ORDER BY ' || orders || ' LIMIT 20';
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || replace(query, '%s', 'latest') INTO plan;
  few := substring(plan::text, '"Row Blocks Read": (\d+)')::int <= 10;
  EXECUTE 'SELECT string_agg(q::text, '' '') FROM (' || replace(query, '%s', 'latest') || ') q' INTO one;
  EXECUTE 'SELECT string_agg(q::text, '' '') FROM (' || replace(query, '%s', 'latest_h') || ') q' INTO two;
  answer := one = two;
END $$;
SET doris.threads = 1;
SELECT o, f.* FROM (VALUES ('at, v'), ('at DESC, v'), ('at NULLS FIRST, v DESC'), ('at DESC NULLS LAST, v'), ('v'), ('v DESC')) o(o),
  first_rows(o) f;
SELECT * FROM doris.verify('d');
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA pruning CASCADE;
