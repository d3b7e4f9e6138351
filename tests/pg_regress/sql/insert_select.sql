-- INSERT ... SELECT from segments into tables that have a dropped or a generated column, where PostgreSQL looks for
-- the constant NULL. Each source runs twice: in the engine, and in PostgreSQL for a heap of the same shape.
CREATE SCHEMA insert_select;
SET search_path = insert_select, public;
CREATE TABLE src (k int, b int) USING doris;
INSERT INTO src SELECT g, g % 7 FROM generate_series(1, 500) g;
CALL doris.compact('src');

CREATE FUNCTION vectorised(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line LIKE '%Custom Scan%' THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END $$;

-- Makes a target, whose column x is dropped or generated.
CREATE FUNCTION make(name text, kind text, with_column text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  columns text := CASE with_column WHEN 'dropped' THEN 'k int, x int, b int'
    ELSE 'k int, x int GENERATED ALWAYS AS (b * 2) STORED, b int' END;
BEGIN
  EXECUTE format('CREATE TABLE %I (%s) %s', name, columns, CASE kind
    WHEN 'partition' THEN 'PARTITION BY RANGE (k)' WHEN 'heap' THEN 'USING heap'
    WHEN 'doris' THEN 'USING doris' ELSE 'USING doris WITH (unique_key = ''k'')' END);
  IF kind = 'partition' THEN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (0) TO (100) USING heap', name || 1, name);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT USING doris', name || 2, name);
  END IF;
  IF with_column = 'dropped' THEN
    EXECUTE format('ALTER TABLE %I DROP COLUMN x', name);
  END IF;
END $$;

DO $$
DECLARE
  kind text; with_column text; source text; there bigint; wrong bigint; ran int := 0;
  sources text[] := ARRAY[
    'SELECT k, b FROM src',
    'SELECT k + 1000, b * 3 FROM src WHERE b > 2',
    'SELECT max(k), b FROM src GROUP BY b',
    'SELECT s.k, t.b FROM src s JOIN src t ON t.k = s.b',
    'SELECT s.k, t.b FROM src s LEFT JOIN src t ON t.k = s.b AND t.b = 2',
    'SELECT k, b FROM src ORDER BY b, k LIMIT 20',
    'SELECT k, count(*) OVER (PARTITION BY b) FROM src',
    'SELECT k, b FROM src UNION ALL SELECT k + 1000, NULL FROM src',
    'SELECT k, NULL FROM src',
    'SELECT DISTINCT b, 5 FROM src',
    'SELECT k, 5 FROM src WHERE k < length(repeat(''x'', b + 5))'];
BEGIN
  SET LOCAL client_min_messages = warning;
  FOREACH kind IN ARRAY ARRAY['heap', 'doris', 'unique', 'partition'] LOOP
    FOREACH with_column IN ARRAY ARRAY['dropped', 'generated'] LOOP
      PERFORM make('target', kind, with_column);
      PERFORM make('twin', 'heap', with_column);
      FOREACH source IN ARRAY sources LOOP
        IF NOT vectorised('INSERT INTO target(k, b) ' || source) THEN
          RAISE WARNING 'not vectorised: % %', kind, source;
        END IF;
        EXECUTE 'INSERT INTO target(k, b) ' || source;
        SET LOCAL doris.enable_vectorization = off;
        EXECUTE 'INSERT INTO twin(k, b) ' || source;
        RESET doris.enable_vectorization;
        SELECT count(*) INTO there FROM target;
        EXECUTE 'SELECT count(*) FROM (TABLE target EXCEPT ALL TABLE twin) x' INTO wrong;
        IF there = 0 OR wrong > 0 OR there <> (SELECT count(*) FROM twin) THEN
          RAISE WARNING '% with a % column, %: % rows, % wrong', kind, with_column, source, there, wrong;
        END IF;
        TRUNCATE target, twin;
        ran := ran + 1;
      END LOOP;
      DROP TABLE target, twin;
    END LOOP;
  END LOOP;
  RAISE WARNING '% statements', ran;
END $$;

-- Into itself, and with RETURNING.
ALTER TABLE src ADD g int GENERATED ALWAYS AS (k + b) STORED, ADD x int;
ALTER TABLE src DROP COLUMN x;
CALL doris.compact('src');
INSERT INTO src SELECT k + 500, b FROM src;
WITH i AS (INSERT INTO src SELECT k + 1000, b FROM src RETURNING k, g) SELECT count(*), sum(g - k) FROM i;
SELECT count(*), sum(k), sum(b), sum(g) FROM src;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO src SELECT k, b FROM src;

SET client_min_messages = warning;
DROP SCHEMA insert_select CASCADE;
