-- EXPLAIN of vectorised plans: valid in every format, with what each operator did.
CREATE TABLE explained (id int, k int, n numeric(10,2), s text) USING doris;
INSERT INTO explained SELECT g, g % 5, g / 4.0, 's' || g % 3 FROM generate_series(1, 9000) g;
ANALYZE explained;
SET doris.threads = 1;

EXPLAIN (VERBOSE, COSTS OFF) SELECT k, sum(n * 2) FILTER (WHERE id > 5) FROM explained WHERE id < 100 AND upper(s) <> 'X' GROUP BY k;
EXPLAIN (VERBOSE, COSTS OFF) SELECT a.id FROM explained a JOIN explained b ON a.id = b.k AND a.n > b.n ORDER BY a.n, a.id LIMIT 3;
EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM explained WHERE id > 100000;

-- Keys of the nested objects, in any depth.
CREATE FUNCTION explained_keys(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT JSON) ' || query INTO plan;
  RETURN QUERY WITH RECURSIVE parts(part) AS (
    SELECT plan::jsonb
    UNION ALL
    SELECT inner_part.value FROM parts, LATERAL (
      SELECT value FROM jsonb_array_elements(CASE jsonb_typeof(part) WHEN 'array' THEN part ELSE '[]' END)
      UNION ALL SELECT value FROM jsonb_each(CASE jsonb_typeof(part) WHEN 'object' THEN part ELSE '{}' END)) inner_part)
  SELECT DISTINCT jsonb_object_keys(part) FROM parts WHERE jsonb_typeof(part) = 'object' AND part ? 'Operator';
END $$;
SELECT * FROM explained_keys('SELECT a.k, count(*) FROM explained a JOIN explained b USING (id) GROUP BY a.k') k ORDER BY k COLLATE "C";
-- Two scans of one table are two objects: no key comes twice in one.
CREATE FUNCTION explained_is_valid(format text, query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; whole text := '';
BEGIN
  FOR line IN EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT %s) %s', format, query) LOOP
    whole := whole || line || E'\n';
  END LOOP;
  IF format = 'XML' THEN
    RETURN whole ~ '^<explain .*<Operator>Hash Join Inner</Operator>.*</explain>\s*$';
  ELSIF format = 'YAML' THEN
    RETURN whole LIKE '%Operator: "Hash Join Inner"%Inputs:%';
  END IF;
  RETURN (SELECT count(*) = count(DISTINCT key) FROM json_each(whole::json -> 0 -> 'Plan' -> 'Engine'));
END $$;
SELECT f, explained_is_valid(f, 'SELECT a.id FROM explained a JOIN explained b USING (id) WHERE a.s < ''s2'' OR upper(a.s) = ''X''')
  FROM (VALUES ('XML'), ('YAML'), ('JSON')) v(f);
-- Operators that went to temporary files say so.
SET doris.work_mem = '64kB';
CREATE FUNCTION explained_plan(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
  RETURN plan;
END $$;
SELECT bool_or(kb::int > 0) AS spilled
  FROM jsonb_path_query(explained_plan('SELECT count(*) FROM (SELECT id, n FROM explained GROUP BY id, n) x'), '$.**."Spilled (kB)"') kb;
RESET doris.work_mem;
-- Why something stays with PostgreSQL: at the node below it ...
EXPLAIN (VERBOSE, COSTS OFF) SELECT k, jsonb_agg(id) FROM explained WHERE id > 5 GROUP BY k;
EXPLAIN (COSTS OFF) SELECT k, jsonb_agg(id) FROM explained WHERE id > 5 GROUP BY k;
-- ... or, where there is none, behind the plan.
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM explained WHERE k = 1 FOR UPDATE;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE explained SET k = 2 WHERE k = 1;
EXPLAIN (COSTS OFF) UPDATE explained SET k = 2 WHERE k = 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM explained WHERE id < 0 FOR UPDATE;
CREATE FUNCTION explained_reasons(query text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) ' || query INTO plan;
  RETURN json_build_array(plan -> 0 -> 'Plan' -> 'Node Type', plan -> 1);
END $$;
SELECT explained_reasons('SELECT id FROM explained WHERE id < 0 FOR UPDATE');
SELECT explained_reasons('SELECT count(*) FROM explained');
-- Other statements have none, nor who turned the engine off.
EXPLAIN (VERBOSE, COSTS OFF) SELECT 1;
SET doris.enable_vectorization = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM explained;
SELECT explained_reasons('SELECT count(*) FROM explained');
RESET doris.enable_vectorization;
DROP FUNCTION explained_reasons;
RESET doris.threads;
DROP TABLE explained;
DROP FUNCTION explained_keys, explained_is_valid, explained_plan;
