-- Rows as JSON: deletes by key, triggers of the user, partitioned tables.
CREATE SCHEMA upsert_json;
SET search_path = upsert_json, doris, public;
SET default_table_access_method = doris;

-- Deletes search the key's index, but for keys with NULLs.
CREATE TABLE n (a int, b int, v int) WITH (unique_key = 'a, b');
INSERT INTO n SELECT g, g, g FROM generate_series(1, 5000) g;
INSERT INTO n VALUES (NULL, 1, 1), (1, NULL, 2), (NULL, NULL, 3), (NULL, 2, 4), (9999, 9999, 5);
ANALYZE n;
BEGIN;
SELECT coalesce(sum(seq_scan), 0) AS before FROM pg_stat_xact_user_tables WHERE relid = 'n'::regclass \gset
SELECT doris.upsert_json('n', (SELECT jsonb_agg(jsonb_build_object('a', g, 'b', g, '__DORIS_DELETE_SIGN__', 1)) FROM generate_series(1, 100) g));
SELECT seq_scan - :before AS scans, idx_scan > 0 AS looked_up FROM pg_stat_xact_user_tables WHERE relid = 'n'::regclass;
COMMIT;
SELECT count(*) FROM n;
SELECT doris.upsert_json('n', '[{"a": null, "b": 1, "__DORIS_DELETE_SIGN__": 1}, {"a": 200, "b": 200, "__DORIS_DELETE_SIGN__": 1},
  {"a": null, "b": null, "__DORIS_DELETE_SIGN__": 1}, {"a": 5, "b": null, "__DORIS_DELETE_SIGN__": 1}]');
SELECT count(*) FROM n;
SELECT * FROM n WHERE a IS NULL OR b IS NULL ORDER BY v;

-- What the user's triggers insert is whole rows.
CREATE TABLE changed (k int, v int, w int DEFAULT 7) WITH (unique_key = 'k');
CREATE TABLE noted (k int, v int, w int DEFAULT 7) WITH (unique_key = 'k');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO noted (k, v) VALUES (NEW.k, NEW.v); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT ON changed FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO noted VALUES (1, 1, 1);
INSERT INTO changed VALUES (1, 1, 1);
UPDATE noted SET w = 1;
SELECT doris.upsert_json('changed', '[{"k": 1, "v": 2}]');
SELECT * FROM changed;
SELECT * FROM noted;
-- Nor is what follows a partial update, also after an error.
SELECT doris.upsert_json('changed', '[{"k": 1, "v": "x"}]');
INSERT INTO changed (k, v) VALUES (1, 3);
SELECT * FROM changed;

-- A generated sequence is that of the columns that a delete names, in which the key may be, too.
CREATE TABLE computed (k int, v int, w int, seq bigint GENERATED ALWAYS AS (v + w) STORED)
  WITH (unique_key = 'k', sequence = 'seq');
INSERT INTO computed VALUES (1, 5, 5), (2, 5, 5), (3, 5, 5);
SELECT doris.upsert_json('computed', '[{"k": 1, "v": 4, "w": 5, "__DORIS_DELETE_SIGN__": 1},
  {"k": 2, "v": 6, "w": 5, "__DORIS_DELETE_SIGN__": 1}, {"k": 4, "v": 6, "w": 6, "__DORIS_DELETE_SIGN__": 1}]');
INSERT INTO computed VALUES (2, 5, 5), (4, 6, 5);
SELECT * FROM computed ORDER BY k;
SELECT doris.upsert_json('computed', '{"k": 1, "v": 9, "__DORIS_DELETE_SIGN__": 1}');
SELECT doris.upsert_json('computed', '{"k": 3, "__DORIS_DELETE_SIGN__": 1}');
SELECT * FROM computed ORDER BY k;

-- Deletes of keys that do not say in which partition their rows are hold for all of them.
CREATE TABLE parted (k int, p int, v int, seq int) PARTITION BY LIST (p);
SET client_min_messages = error;
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) WITH (unique_key = 'k', sequence = 'seq');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2) WITH (unique_key = 'k', sequence = 'seq');
RESET client_min_messages;
INSERT INTO parted VALUES (1, 1, 1, 5);
SELECT doris.upsert_json('parted', '[{"k": 1, "seq": 7, "__DORIS_DELETE_SIGN__": 1}, {"k": 2, "p": 1, "seq": 7, "__DORIS_DELETE_SIGN__": 1}]');
INSERT INTO parted VALUES (1, 1, 2, 6), (1, 2, 2, 6), (2, 1, 2, 6), (2, 2, 2, 6), (3, 1, 1, 1);
SELECT * FROM parted ORDER BY k, p;
INSERT INTO parted VALUES (1, 2, 3, 8);
SELECT * FROM parted ORDER BY k, p;

-- What rolls back while the upsert is planned leaves it one.
CREATE FUNCTION folded() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM 1 / 0; RETURN 1; EXCEPTION WHEN division_by_zero THEN RETURN 2; END $$;
CREATE TABLE planned (k int, v int, w int DEFAULT folded()) WITH (unique_key = 'k');
INSERT INTO planned VALUES (1, 1, 1);
SELECT doris.upsert_json('planned', '{"k": 1, "v": 2}');
TABLE planned;
