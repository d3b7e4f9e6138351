-- Plans that were made before a table had segments are made anew when it gets the first one.
CREATE SCHEMA cached;
SET search_path TO cached;
CREATE FUNCTION engine_in(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; found boolean = false;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP found = found OR line ~ 'DorisVectorized'; END LOOP;
  RETURN found;
END $$;
CREATE TABLE young (id int, v int) USING doris;
CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (100000) USING doris;
CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (100000) TO (1000000) USING doris;
SET plan_cache_mode = force_generic_plan;
PREPARE of_young AS SELECT count(*), sum(v) FROM young;
PREPARE of_parts AS SELECT count(*), sum(v) FROM parts;
EXECUTE of_young;
EXECUTE of_parts;
SELECT engine_in('EXECUTE of_young') AS young, engine_in('EXECUTE of_parts') AS parts;
INSERT INTO young SELECT i, i FROM generate_series(1, 150000) i;
INSERT INTO parts SELECT i, i FROM generate_series(1, 150000) i;
SELECT engine_in('EXECUTE of_young') AS young, engine_in('EXECUTE of_parts') AS parts;
EXECUTE of_young;
EXECUTE of_parts;
-- Rows that a compaction moves into the first segment.
CREATE TABLE moved (id int) USING doris WITH (disable_auto_compaction = true);
SET doris.enable_bulk_load = off;
INSERT INTO moved SELECT generate_series(1, 5000);
RESET doris.enable_bulk_load;
PREPARE of_moved AS SELECT count(*) FROM moved;
EXECUTE of_moved;
CALL doris.compact('moved');
SELECT engine_in('EXECUTE of_moved') AS moved;
EXECUTE of_moved;
-- All segments go, and come again.
DELETE FROM young;
VACUUM young;
EXECUTE of_young;
INSERT INTO young SELECT i, i FROM generate_series(1, 150000) i;
SELECT engine_in('EXECUTE of_young') AS young;
EXECUTE of_young;

DROP SCHEMA cached CASCADE;
