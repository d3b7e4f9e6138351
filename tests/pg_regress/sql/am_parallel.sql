-- Tables in PostgreSQL's own parallel plans, the order that CLUSTER gives, and loads that go on while a segment is encoded.
SET client_min_messages = warning;
CREATE TABLE am_par (id int, grp int, label text) USING doris;
INSERT INTO am_par SELECT g, g % 7, 'label ' || g FROM generate_series(1, 30000) g;
INSERT INTO am_par SELECT g, g % 7, 'label ' || g FROM generate_series(30001, 60000) g;
ANALYZE am_par;
SELECT segments > 1 AS several FROM doris.tables WHERE "table" = 'am_par'::regclass;

-- Behind the last heap row come the segments': the column is in order.
SELECT correlation > 0.8 AS ordered FROM pg_stats WHERE tablename = 'am_par' AND attname = 'id';

-- With the engine off, segments are shared out to the participants.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 3;
SET doris.enable_vectorization = off;
EXPLAIN (COSTS OFF) SELECT count(*), sum(id) FROM am_par;
SELECT count(*), sum(id) FROM am_par;
SET parallel_leader_participation = off;
SELECT count(*), sum(id) FROM am_par;
RESET parallel_leader_participation;
SELECT grp, count(*), sum(id), min(label) FROM am_par GROUP BY grp ORDER BY grp;
-- A scan that is begun again, in each participant.
SELECT x, (SELECT count(*) FROM am_par WHERE id < x) FROM (VALUES (10), (20000), (50000)) v (x);
-- Rows of this transaction that are not yet written are in no worker's memory.
CREATE FUNCTION am_par_seen() RETURNS bigint LANGUAGE plpgsql VOLATILE AS
  'BEGIN RETURN (SELECT count(*) FROM am_par); END';
SELECT count(*), max(seen) FROM (SELECT am_par_seen() AS seen) s;
BEGIN;
DELETE FROM am_par WHERE id % 2 = 0;
SELECT count(*), sum(id) FROM am_par;
SAVEPOINT s;
INSERT INTO am_par SELECT g, 0, 'more' FROM generate_series(1, 10000) g;
SELECT count(*), sum(id) FROM am_par;
ROLLBACK TO s;
SELECT count(*), sum(id) FROM am_par;
ROLLBACK;
-- With the engine on, a table with segments is the engine's, one without is PostgreSQL's.
RESET doris.enable_vectorization;
EXPLAIN (COSTS OFF) SELECT count(*), sum(id) FROM am_par;
CREATE TABLE am_par_few USING doris AS SELECT g AS id FROM generate_series(1, 1000) g;
ANALYZE am_par_few;
EXPLAIN (COSTS OFF) SELECT count(*) FROM am_par_few WHERE id > 10;
SELECT count(*) FROM am_par_few WHERE id > 10;
-- Index scans of keyed tables are not shared.
CREATE TABLE am_par_key (id int, v int) USING doris WITH (unique_key = 'id');
INSERT INTO am_par_key SELECT g, g FROM generate_series(1, 10000) g;
SET doris.enable_vectorization = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM am_par_key;
SELECT count(*) FROM am_par_key;
RESET doris.enable_vectorization;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- Partitions get segments, too.
CREATE TABLE am_par_top (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE am_par_1 PARTITION OF am_par_top FOR VALUES FROM (0) TO (5000) USING doris;
CREATE TABLE am_par_2 PARTITION OF am_par_top FOR VALUES FROM (5000) TO (10000) USING doris;
INSERT INTO am_par_top SELECT g, 'x' FROM generate_series(0, 9999) g;
SELECT "table", segments, segment_rows FROM doris.tables WHERE "table" IN ('am_par_1'::regclass, 'am_par_2'::regclass) ORDER BY 1;

-- CLUSTER orders heap and segment rows by the index; the key of a table goes before that.
CREATE TABLE am_clu (id int, shuffled int) USING doris;
INSERT INTO am_clu SELECT g, (g * 7919) % 20011 FROM generate_series(1, 20000) g;
CREATE INDEX am_clu_shuffled ON am_clu (shuffled);
CREATE TABLE am_clu_key (id int, shuffled int) USING doris WITH (duplicate_key = 'id');
INSERT INTO am_clu_key SELECT g, (g * 7919) % 20011 FROM generate_series(1, 20000) g;
CREATE INDEX am_clu_key_shuffled ON am_clu_key (shuffled);
CREATE TABLE am_clu_gist (p point) USING doris;
INSERT INTO am_clu_gist SELECT point(g % 100, g / 100) FROM generate_series(1, 10000) g;
CREATE INDEX am_clu_gist_p ON am_clu_gist USING gist (p);
CLUSTER am_clu USING am_clu_shuffled;
CLUSTER am_clu_key USING am_clu_key_shuffled;
CLUSTER am_clu_gist USING am_clu_gist_p;
SET doris.enable_vectorization = off;
SELECT count(*), sum(id), sum(shuffled) FROM am_clu;
SELECT count(*) AS out_of_order FROM (SELECT shuffled, lag(shuffled) OVER () AS before FROM am_clu) s WHERE before > shuffled;
SELECT count(*) AS out_of_order FROM (SELECT id, lag(id) OVER () AS before FROM am_clu_key) s WHERE before > id;
RESET doris.enable_vectorization;
SELECT "table", segments, segment_rows FROM doris.tables WHERE "table" IN ('am_clu'::regclass, 'am_clu_key'::regclass, 'am_clu_gist'::regclass) ORDER BY 1;
SELECT doris.verify('am_clu');
SELECT count(*), sum(p[0]), sum(p[1]) FROM am_clu_gist;
SELECT id FROM am_clu WHERE shuffled = 5;

-- An error in an index's expression says where it comes from.
CREATE FUNCTION am_par_fails(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN IF $1 = 3 THEN RAISE EXCEPTION ''three''; END IF; RETURN $1; END';
CREATE INDEX am_par_fails_idx ON am_par_few (am_par_fails(id));
-- The table is the same as before.
SELECT count(*), sum(id) FROM am_par_few;
INSERT INTO am_par_few VALUES (1001);
SELECT max(id) FROM am_par_few;

-- A load of several segments is read while it goes on: the rows so far are there, in both halves, with and without a key.
SET doris.load_memory = '8MB';
CREATE TABLE am_load (id int, label text) USING doris;
CREATE TABLE am_load_key (id int, label text) USING doris WITH (duplicate_key = 'id');
CREATE FUNCTION am_load_look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  seen bigint;
BEGIN
  IF NEW.id % 50000 = 0 THEN
    EXECUTE format('SELECT count(*) FROM %I WHERE id <= %s', TG_TABLE_NAME, NEW.id) INTO seen;
    IF seen <> NEW.id - 1 THEN
      RAISE EXCEPTION '% rows of % are seen', seen, NEW.id - 1;
    END IF;
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER look BEFORE INSERT ON am_load FOR EACH ROW EXECUTE FUNCTION am_load_look();
INSERT INTO am_load SELECT g, repeat('x', 50) || g FROM generate_series(1, 300000) g;
SELECT segments > 2 AS several FROM doris.tables WHERE "table" = 'am_load'::regclass;
SELECT count(*), sum(id), count(DISTINCT label) FROM am_load;
INSERT INTO am_load_key SELECT 300001 - g, repeat('x', 50) || g FROM generate_series(1, 300000) g;
SELECT count(*), sum(id), count(DISTINCT label) FROM am_load_key;
SELECT doris.verify('am_load_key');
-- A load that fails, and one that is rolled back, leave nothing.
INSERT INTO am_load_key SELECT 1 / (299990 - g), repeat('y', 50) || g FROM generate_series(1, 300000) g;
BEGIN;
INSERT INTO am_load_key SELECT g, repeat('z', 50) || g FROM generate_series(1, 200000) g;
ROLLBACK;
SELECT count(*), sum(id), count(DISTINCT label) FROM am_load_key;
RESET doris.load_memory;

DROP TABLE am_par, am_par_few, am_par_key, am_par_top, am_clu, am_clu_key, am_clu_gist, am_load, am_load_key;
DROP FUNCTION am_par_seen, am_par_fails, am_load_look;
