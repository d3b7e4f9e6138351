-- One large group beside many small ones, in less memory than the large one needs: PostgreSQL's plan must have taken over
-- before the first row leaves.
CREATE SCHEMA skew;
SET search_path TO skew;
CREATE TABLE d (id int, s text, ts timestamp) USING doris;
CREATE TABLE h (LIKE d) USING heap;
INSERT INTO h SELECT i, md5(i::text) || md5('a' || i) || repeat('x', 52), timestamp '2024-01-01' + i * interval '1 minute'
  FROM generate_series(0, 80000) i;
INSERT INTO d SELECT * FROM h;
ANALYZE d;
ANALYZE h;
CREATE TABLE queries (memory text, query text);
INSERT INTO queries VALUES
  ('8MB', 'SELECT CASE WHEN id < 50000 THEN -1 ELSE id END AS k, count(DISTINCT s) AS a, count(DISTINCT ts) AS b FROM $t GROUP BY 1'),
  ('4MB', 'SELECT CASE WHEN id < 60000 THEN -1 ELSE id END AS k, count(DISTINCT id) AS a, count(DISTINCT ts) AS b FROM $t GROUP BY 1'),
  ('4MB', 'SELECT CASE WHEN id < 60000 THEN -1 ELSE id END AS k, count(DISTINCT id) AS a, count(DISTINCT s) AS b FROM $t GROUP BY 1 HAVING count(*) > 0'),
  ('2MB', 'SELECT CASE WHEN id < 50000 THEN -1 ELSE id END AS k, length(string_agg(s, '','')) AS a, count(*) AS b FROM $t GROUP BY 1'),
  ('2MB', 'SELECT CASE WHEN id < 50000 THEN -1 ELSE id END AS k, percentile_disc(0.5) WITHIN GROUP (ORDER BY s) AS a, count(*) AS b FROM $t GROUP BY 1'),
  ('2MB', 'SELECT id % 3000 AS k, count(DISTINCT s) AS a, length(string_agg(s, '','')) AS b FROM $t GROUP BY 1');

CREATE FUNCTION answer(query text, relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
  EXECUTE format('SELECT md5(string_agg(r::text, '','' ORDER BY k)) FROM (%s) r', replace(query, '$t', relation)) INTO found;
  RETURN found;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION in_memory(memory text, query text, relation text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('doris.work_mem', memory, true);
  RETURN answer(query, relation);
END $$;
SELECT q.*, threads FROM queries q, unnest('{1,4}'::text[]) threads, set_config('doris.threads', threads, false)
WHERE in_memory(memory, query, 'd') IS DISTINCT FROM in_memory(memory, query, 'h');

DROP SCHEMA skew CASCADE;
