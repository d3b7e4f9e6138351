-- COPY in and out.
CREATE SCHEMA am_copy;
SET search_path = am_copy, public;
SET default_table_access_method = doris;
CREATE TABLE t (id int, name text, amount numeric(10, 2), at timestamp) WITH (duplicate_key = 'id');
COPY t FROM PROGRAM $$seq 5000 -1 1 | awk '{ printf "%d\tname %d\t%d.%02d\t2024-01-01 00:00:%02d\n", $1, $1 % 100, $1, $1 % 100, $1 % 60 }'$$;
SELECT count(*), sum(id), sum(amount), min(at), max(at) FROM t;
SELECT count(*) FILTER (WHERE ctid < '(2147483648,1)') AS heap_rows FROM t;
-- Rows of one segment are sorted by the key: nobody had seen their TIDs.
SELECT bool_and(id >= before) AS sorted FROM (SELECT id, lag(id) OVER (ORDER BY ctid) AS before FROM t WHERE ctid >= '(2147483648,1)') x;
COPY (SELECT * FROM t ORDER BY id LIMIT 2) TO STDOUT;
COPY (SELECT * FROM t WHERE id IN (4999, 5000) ORDER BY id) TO STDOUT (FORMAT csv, HEADER);
COPY t TO PROGRAM 'wc -l | tr -d " " >&2; true';
\copy t (id, name) FROM STDIN
6001	\N
6002	from stdin
\.
SELECT * FROM t WHERE id > 6000 ORDER BY id;

-- A failed COPY leaves nothing behind; what was there stays.
COPY t (id) FROM PROGRAM 'seq 1 4000; echo bad';
SELECT count(*) FROM t;
BEGIN;
COPY t (id) FROM PROGRAM 'seq 7001 10000';
SELECT count(*) FROM t;
SAVEPOINT s;
COPY t (id) FROM PROGRAM 'seq 10001 14000';
SELECT count(*) FROM t;
ROLLBACK TO s;
SELECT count(*) FROM t;
COMMIT;
SELECT count(*) FROM t;

-- COPY WHERE, defaults, into a table made in the same transaction, FREEZE, through a trigger, into partitions.
CREATE TABLE d (id int DEFAULT -1, n serial, twice int GENERATED ALWAYS AS (id * 2) STORED);
COPY d (id) FROM PROGRAM 'seq 1 6000' WHERE id % 2 = 0;
SELECT count(*), sum(id), max(n), sum(twice) FROM d;
BEGIN;
CREATE TABLE f (id int);
COPY f FROM PROGRAM 'seq 1 6000' (FREEZE);
SELECT count(*), sum(id) FROM f;
COMMIT;
SELECT count(*), sum(id) FROM f;
BEGIN;
TRUNCATE f;
COPY f FROM PROGRAM 'seq 1 10' (FREEZE);
ROLLBACK;
SELECT count(*) FROM f;
CREATE TABLE p (id int) PARTITION BY HASH (id);
CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
COPY p FROM PROGRAM 'seq 1 10000';
SELECT count(*), sum(id) FROM p;
SELECT count(*) > 0 AS in_segments FROM p WHERE ctid >= '(2147483648,1)';
COPY p0 TO PROGRAM 'cat > /dev/null' (FORMAT binary);

-- A load with a unique key finds duplicates within itself and in what was there.
CREATE TABLE u (id int PRIMARY KEY);
COPY u FROM PROGRAM 'seq 1 5000';
COPY u FROM PROGRAM 'seq 6000 10000; echo 6001';
COPY u FROM PROGRAM 'seq 10000 -1 4000';
SELECT count(*), max(id) FROM u;

-- Everything goes to the row store when asked.
SET doris.enable_bulk_load = off;
CREATE TABLE r (id int);
COPY r FROM PROGRAM 'seq 1 5000';
SELECT count(*), count(*) FILTER (WHERE ctid < '(2147483648,1)') AS heap_rows FROM r;
RESET doris.enable_bulk_load;
-- Little memory makes more segments, not other rows.
SET doris.load_memory = '8MB';
CREATE TABLE m (id int, pad text);
INSERT INTO m SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 12000) g;
SELECT count(*), sum(id), count(DISTINCT md5(pad)) FROM m;
\set VERBOSITY terse
DROP SCHEMA am_copy CASCADE;
