-- Keyed partitions as one table: JSON, compaction, keys that do not name the partition.
CREATE SCHEMA keyed_partitions;
SET search_path = keyed_partitions, doris, public;
SET default_table_access_method = doris;
CREATE TABLE p (k int, v int, w int DEFAULT 7, s int) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) WITH (unique_key = 'k', sequence = 's');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) PARTITION BY HASH (k);
CREATE TABLE p21 PARTITION OF p2 FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (unique_key = 'k', sequence = 's');
CREATE TABLE p22 (k int, s int, w int, v int) WITH (unique_key = 'k', sequence = 's');
ALTER TABLE p2 ATTACH PARTITION p22 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO p SELECT g, g, g, 10 FROM generate_series(98, 105) g;
SELECT upsert_json('p', '[{"k": 98, "v": 1, "s": 11}, {"k": 105, "v": 1, "s": 11}, {"k": 104, "v": 1, "s": 9}, {"k": 1, "v": 1, "s": 1}]');
SELECT upsert_json('p', '[{"k": 99, "s": 10, "__DORIS_DELETE_SIGN__": 1}, {"k": 100, "s": 9, "__DORIS_DELETE_SIGN__": 1},
  {"k": 150, "s": 9, "__DORIS_DELETE_SIGN__": 1}, {"k": 101, "s": 12, "__DORIS_DELETE_SIGN__": 1}]');
SELECT * FROM p ORDER BY k;
-- The deletes are remembered where their keys belong.
INSERT INTO p (k, v, s) VALUES (99, 0, 9), (150, 0, 8), (101, 0, 11), (102, 0, 11), (151, 0, 1);
SELECT * FROM p WHERE v = 0 ORDER BY k;
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300) WITH (unique_key = 'k');
SELECT upsert_json('p', '[{"k": 98, "v": 1}]');
DROP TABLE p3;
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300) USING heap;
SELECT upsert_json('p', '[{"k": 98, "v": 1}]');
CREATE TABLE empty (k int) PARTITION BY LIST (k);
SELECT upsert_json('empty', '[]');

-- Compaction of a partitioned table is that of its partitions.
CALL compact('p');
SELECT DISTINCT "table" FROM doris.segments WHERE "table" IN ('p1'::regclass, 'p21'::regclass, 'p22'::regclass) ORDER BY 1;
SELECT count(*), sum(v) FROM p;
CREATE ROLE keyed_partitions_owner;
ALTER TABLE p OWNER TO keyed_partitions_owner;
GRANT USAGE ON SCHEMA keyed_partitions TO keyed_partitions_owner;
SET ROLE keyed_partitions_owner;
CALL compact('keyed_partitions.p');
RESET ROLE;

-- Partition columns outside of the key.
CREATE TABLE q (k int, r int, v int) PARTITION BY LIST (r);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1) WITH (unique_key = 'k, r');
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2) WITH (unique_key = 'k');
CREATE TABLE q3 (k int, r int, v int) WITH (unique_key = 'k');
ALTER TABLE q ATTACH PARTITION q3 FOR VALUES IN (3);
CREATE TABLE e (k int, r int) PARTITION BY RANGE ((k + r));
CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (10) WITH (unique_key = 'k');
CREATE TABLE e2 PARTITION OF e FOR VALUES FROM (10) TO (20) WITH (duplicate_key = 'k');

-- A trigger of the whole is shown the rows as they are stored.
CREATE TABLE shown (k int, p int, v int, w int DEFAULT 9) PARTITION BY LIST (p);
CREATE TABLE shown_1 PARTITION OF shown FOR VALUES IN (1) WITH (aggregate_key = 'k, p', sum = 'v', max = 'w');
CREATE TABLE shown_2 PARTITION OF shown FOR VALUES IN (2) WITH (unique_key = 'k, p');
CREATE FUNCTION show_rows() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM new_rows ORDER BY k, p, v LIMIT 4 LOOP RAISE NOTICE '%', r; END LOOP; RETURN NULL; END $$;
CREATE TRIGGER show_rows AFTER INSERT ON shown REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION show_rows();
INSERT INTO shown VALUES (1, 1, 10, 1), (1, 2, 10, 1);
INSERT INTO shown SELECT 1, 1, 5, 0;
SET doris.partial_update = on;
INSERT INTO shown (k, p, v) SELECT 1, p, 5 FROM generate_series(1, 2) p;
COPY shown (k, p, v) FROM stdin;
1	1	5
1	2	6
\.
RESET doris.partial_update;
COPY shown FROM stdin;
1	1	5	10
1	2	6	10
\.
SET doris.rows_to_heap = 0;
INSERT INTO shown SELECT g, 1, 1, 1 FROM generate_series(1, 2000) g;
RESET doris.rows_to_heap;
SELECT * FROM shown ORDER BY k, p LIMIT 3;

SET client_min_messages = warning;
DROP SCHEMA keyed_partitions CASCADE;
DROP ROLE keyed_partitions_owner;
