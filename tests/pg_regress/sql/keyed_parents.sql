-- Keyed tables below partitioned tables, parents and types: their keys stay what they are.
CREATE SCHEMA keyed_parents;
SET search_path = keyed_parents, doris, public;
SET default_table_access_method = doris;

-- The type of a key column cannot be changed from above.
CREATE TABLE p (d int, k numeric, v int) PARTITION BY LIST (d);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) WITH (unique_key = 'd, k');
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING heap;
INSERT INTO p VALUES (1, 1.2, 1), (1, 1.4, 2);
ALTER TABLE p ALTER k TYPE int;
ALTER TABLE p ALTER v TYPE bigint;
ALTER TABLE p ALTER v SET DEFAULT 5;
INSERT INTO p VALUES (1, 1.20, 3);
SELECT * FROM p ORDER BY k;
CREATE TABLE parent (k numeric, v int) USING heap;
CREATE TABLE child () INHERITS (parent) WITH (unique_key = 'k');
INSERT INTO child VALUES (1.2, 1), (1.4, 2);
ALTER TABLE parent ALTER k TYPE int;
ALTER TABLE ONLY parent ALTER k TYPE int;
CREATE TYPE shape AS (k numeric, v int);
CREATE TABLE shaped OF shape WITH (aggregate_key = 'k', sum = 'v');
INSERT INTO shaped VALUES (1.2, 1);
ALTER TYPE shape ALTER ATTRIBUTE k TYPE int CASCADE;
ALTER TYPE shape ALTER ATTRIBUTE v TYPE bigint CASCADE;
INSERT INTO shaped VALUES (1.20, 1);
SELECT * FROM shaped ORDER BY k;
SELECT * FROM child ORDER BY k;

-- Where an index or constraint of the partitioned table goes, that of a partition's key comes back.
CREATE FUNCTION indexes(regclass) RETURNS SETOF text LANGUAGE sql
  AS $$ SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1 ORDER BY 1 $$;
CREATE UNIQUE INDEX pi ON p (d, k) NULLS NOT DISTINCT;
SELECT indexes('p1');
DROP INDEX pi;
SELECT indexes('p1');
INSERT INTO p VALUES (1, 1.2, 4);
SELECT * FROM p ORDER BY k;
ALTER TABLE p ADD PRIMARY KEY (d, k);
SELECT indexes('p1');
INSERT INTO p VALUES (1, 1.2, 5);
ALTER TABLE p DROP CONSTRAINT p_pkey;
SELECT indexes('p1');
INSERT INTO p VALUES (1, 1.2, 6), (1, 1.4, 6);
SELECT * FROM p ORDER BY k;
BEGIN;
CREATE UNIQUE INDEX pi ON p (d, k) NULLS NOT DISTINCT;
SAVEPOINT s;
DROP INDEX pi;
ROLLBACK TO s;
INSERT INTO p VALUES (1, 1.2, 7);
COMMIT;
SELECT indexes('p1');
DROP INDEX p1_key_idx;
ALTER TABLE p DETACH PARTITION p1;
DROP INDEX p1_key_idx;
DROP INDEX pi;
INSERT INTO p1 VALUES (1, 1.2, 8);
SELECT * FROM p1 ORDER BY k;
-- Several levels, and an index of the same columns that is another table's.
CREATE TABLE q (d int, e int, v int) PARTITION BY LIST (d);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1) PARTITION BY LIST (e);
CREATE TABLE q11 PARTITION OF q1 FOR VALUES IN (1) WITH (unique_key = 'd, e');
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2) USING heap;
ALTER TABLE q ADD CONSTRAINT qk PRIMARY KEY (d, e);
INSERT INTO q VALUES (1, 1, 1), (2, 2, 2);
ALTER TABLE q DROP CONSTRAINT qk;
INSERT INTO q VALUES (1, 1, 2), (2, 2, 3);
SELECT * FROM q ORDER BY d, v;
SELECT indexes('q11');
SELECT indexes('q2');
DROP TABLE q;
SELECT * FROM doris.verify('p1');

-- Two indexes on the key: each finds all rows, and one may go.
CREATE TABLE twice (k int PRIMARY KEY, v int) WITH (unique_key = 'k');
CREATE UNIQUE INDEX twice_u ON twice (k);
SET doris.rows_to_heap = 0;
INSERT INTO twice SELECT g, 0 FROM generate_series(1, 3000) g;
RESET doris.rows_to_heap;
INSERT INTO twice VALUES (1, 1), (4000, 1);
INSERT INTO twice VALUES (1, 2), (2, 2), (4000, 2), (4001, 2);
INSERT INTO twice VALUES (4001, 3) ON CONFLICT (k) DO UPDATE SET v = 4;
INSERT INTO twice VALUES (4002, 3) ON CONFLICT (k) DO UPDATE SET v = 4;
UPDATE twice SET k = 5000 WHERE k = 4000;
ALTER TABLE twice DROP CONSTRAINT twice_pkey;
INSERT INTO twice VALUES (1, 5), (2, 5), (4001, 5), (4002, 5), (5000, 5);
INSERT INTO twice VALUES (1, 6) ON CONFLICT DO NOTHING;
SET enable_seqscan = off;
SELECT * FROM twice WHERE k = ANY ('{1, 2, 4000, 4001, 4002, 5000}') ORDER BY k, v;
RESET enable_seqscan;
SELECT count(*), count(DISTINCT k) FROM twice;

SET client_min_messages = warning;
DROP SCHEMA keyed_parents CASCADE;
