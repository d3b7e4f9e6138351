-- Keys that are too long for an index are refused, whether a load goes to segments or not.
CREATE SCHEMA long_keys;
SET search_path = long_keys, doris, public;
SET default_table_access_method = doris;
-- Text that does not compress.
CREATE FUNCTION noise(seed int, length int) RETURNS text LANGUAGE sql AS
  $$ SELECT left(string_agg(md5(seed || ' ' || g), ''), length) FROM generate_series(1, length / 32 + 1) g $$;
CREATE TABLE l (k text, n int, v int) WITH (unique_key = 'k, n');
SET doris.rows_to_heap = 0;
INSERT INTO l SELECT noise(g, 6400), g, g FROM generate_series(1, 10) g;
INSERT INTO l SELECT CASE g WHEN 2999 THEN noise(g, 100000) ELSE 'short' END, g, g FROM generate_series(1, 3000) g;
SET doris.rows_to_heap = 1000;
INSERT INTO l SELECT noise(g, 6400), g, g FROM generate_series(1, 2100) g;
RESET doris.rows_to_heap;
SELECT count(*) FROM l;
-- What row by row is stored is stored by a load, to the byte.
CREATE TABLE edges (length int, by_row bool, by_load bool) USING heap;
DO $$
DECLARE n int; by_row bool; by_load bool;
BEGIN
  FOR n IN SELECT * FROM generate_series(2600, 3400, 20) LOOP
    BEGIN
      PERFORM set_config('doris.enable_bulk_load', 'off', true);
      INSERT INTO l VALUES (noise(1, n), 1, 1);
      by_row := true;
    EXCEPTION WHEN program_limit_exceeded THEN by_row := false;
    END;
    BEGIN
      PERFORM set_config('doris.enable_bulk_load', 'on', true);
      PERFORM set_config('doris.rows_to_heap', '0', true);
      INSERT INTO l SELECT noise(1, n), g, 1 FROM generate_series(2, 20) g;
      by_load := true;
    EXCEPTION WHEN program_limit_exceeded THEN by_load := false;
    END;
    INSERT INTO edges VALUES (n, by_row, by_load);
    DELETE FROM l;
  END LOOP;
END $$;
SELECT by_row, by_load, count(*) > 0 AS some FROM edges GROUP BY 1, 2 ORDER BY 1, 2;
-- Long keys that compress are keys.
CREATE TABLE wide (k text, c char(5000), v int, s int) WITH (unique_key = 'k, c', sequence = 's');
SET doris.rows_to_heap = 0;
INSERT INTO wide SELECT repeat('a', 64000 + g), 'c', g, g FROM generate_series(1, 20) g;
RESET doris.rows_to_heap;
INSERT INTO wide SELECT repeat('a', 64000 + g), 'c', g, g FROM generate_series(15, 25) g;
UPDATE wide SET v = 0 WHERE k = repeat('a', 64001);
DELETE FROM wide WHERE v > 5;
SELECT count(*), sum(v) FROM wide;
-- A delete of such a key is remembered, and of no other that begins like it.
INSERT INTO wide SELECT repeat('a', 64000 + g), 'c', g, 6 FROM generate_series(6, 7) g;
INSERT INTO wide SELECT repeat('a', 64000 + g), 'd', g, 6 FROM generate_series(6, 7) g;
SET doris.rows_to_heap = 0;
INSERT INTO wide SELECT repeat('a', 64000 + g), 'c', 1000, 7 FROM generate_series(5, 8) g;
RESET doris.rows_to_heap;
SELECT length(k), c::text, v, s FROM wide WHERE length(k) BETWEEN 64005 AND 64008 ORDER BY 1, 2;
