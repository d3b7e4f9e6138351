-- ALTER TABLE and its kin on a table with segments, heap rows, and anchors.
CREATE SCHEMA am_ddl;
SET search_path = am_ddl, public;
SET default_table_access_method = doris;
CREATE FUNCTION fill(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  SET LOCAL doris.rows_to_heap = 0;
  EXECUTE format('INSERT INTO %s (a, b) SELECT g, ''b'' || g FROM generate_series(1, 3000) g', t);
  SET LOCAL doris.rows_to_heap = 2048;
  EXECUTE format('INSERT INTO %s (a, b) SELECT g, ''b'' || g FROM generate_series(3001, 3010) g', t);
  EXECUTE format('DELETE FROM %s WHERE a %% 100 = 0', t);
  EXECUTE format('UPDATE %s SET b = ''changed'' WHERE a %% 100 = 1', t);
END $$;
CREATE TABLE t (a int, b text);
SELECT fill('t');
CREATE VIEW summary AS SELECT count(*), sum(a), count(*) FILTER (WHERE b = 'changed') AS changed FROM t;
SELECT * FROM summary;

-- Columns come and go.
ALTER TABLE t ADD COLUMN c int DEFAULT 7;
ALTER TABLE t ADD COLUMN d text;
SELECT count(*), sum(c), count(d) FROM t;
SELECT a, b, c, d FROM t WHERE a IN (1, 2, 3005) ORDER BY a;
UPDATE t SET d = 'd' || a WHERE a < 10;
ALTER TABLE t DROP COLUMN c;
ALTER TABLE t ADD COLUMN c numeric DEFAULT 1.5;
SELECT sum(c), count(d) FROM t;
ALTER TABLE t RENAME COLUMN d TO e;
SELECT e FROM t WHERE e IS NOT NULL ORDER BY a;
SELECT fill('t');
SELECT count(*), sum(c), count(e) FROM t;
ALTER TABLE t ADD COLUMN now_stable timestamptz DEFAULT now();
SELECT count(DISTINCT now_stable) FROM t;
ALTER TABLE t ADD COLUMN each_its_own int DEFAULT random() * 1e9;
SELECT count(DISTINCT each_its_own) > 5000 AS differ FROM t;
SELECT * FROM summary;

-- A table that is copied keeps what rows have in columns younger than they are.
CREATE TABLE young (id int, n numeric(10, 2)) WITH (duplicate_key = 'id');
SET doris.rows_to_heap = 0;
INSERT INTO young SELECT g, CASE WHEN g % 9 = 0 THEN 'NaN' ELSE g::numeric END FROM generate_series(1, 3000) g;
ALTER TABLE young ADD COLUMN a int DEFAULT 7, ADD COLUMN b text DEFAULT 'b', ADD COLUMN c numeric(5, 1) DEFAULT 1.5, ADD COLUMN d date;
DELETE FROM young WHERE id % 10 = 0;
INSERT INTO young (id, n) SELECT g, g FROM generate_series(3001, 4000) g;
ALTER TABLE young ALTER a SET DEFAULT 8, DROP COLUMN d, ADD COLUMN e int DEFAULT 1;
CREATE INDEX young_id ON young (id);
SELECT count(*), sum(a), count(b), sum(c), sum(e), count(*) FILTER (WHERE n = 'NaN') FROM young;
VACUUM FULL young;
SELECT count(*), sum(a), count(b), sum(c), sum(e), count(*) FILTER (WHERE n = 'NaN') FROM young;
CLUSTER young USING young_id;
SELECT count(*), sum(a), count(b), sum(c), sum(e), count(*) FILTER (WHERE n = 'NaN') FROM young;
SELECT * FROM doris.verify('young');
SELECT * FROM young WHERE id IN (9, 11, 3500) ORDER BY id;
RESET doris.rows_to_heap;

-- Rewrites.
DROP VIEW summary;
ALTER TABLE t ALTER COLUMN a TYPE bigint;
ALTER TABLE t ALTER COLUMN a TYPE text USING a::text;
ALTER TABLE t ALTER COLUMN a TYPE int USING a::int;
CREATE VIEW summary AS SELECT count(*), sum(a), count(*) FILTER (WHERE b = 'changed') AS changed FROM t;
SELECT * FROM summary;
ALTER TABLE t SET UNLOGGED;
SELECT * FROM summary;
ALTER TABLE t SET LOGGED;
SELECT * FROM summary;
ALTER TABLE t SET ACCESS METHOD heap;
SELECT * FROM summary;
ALTER TABLE t SET ACCESS METHOD doris;
SELECT * FROM summary;
SELECT count(*) > 0 AS has_segment_rows FROM t WHERE ctid >= '(2147483648,1)';
VACUUM FULL t;
SELECT * FROM summary;
CREATE INDEX t_a ON t (a);
CLUSTER t USING t_a;
SELECT * FROM summary;
SELECT a FROM t ORDER BY a LIMIT 3;
REINDEX TABLE t;
SET enable_seqscan = off;
SELECT a, b FROM t WHERE a = 3001;
RESET enable_seqscan;

-- Constraints on rows that are there already.
ALTER TABLE t ADD CONSTRAINT small CHECK (a < 100);
ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0);
ALTER TABLE t ALTER COLUMN b SET NOT NULL;
\set VERBOSITY terse
ALTER TABLE t ADD PRIMARY KEY (a);
\set VERBOSITY default
DELETE FROM t x USING t y WHERE x.a = y.a AND x.ctid > y.ctid;
ALTER TABLE t ADD PRIMARY KEY (a);
CREATE TABLE refers (a int REFERENCES t);
INSERT INTO refers SELECT a FROM t;
DELETE FROM t WHERE a = 1;
INSERT INTO refers VALUES (-1);
ALTER TABLE refers DROP CONSTRAINT refers_a_fkey;
ALTER TABLE refers ADD FOREIGN KEY (a) REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE;
DELETE FROM t WHERE a <= 5;
UPDATE t SET a = a + 100000 WHERE a BETWEEN 6 AND 9;
SELECT count(*), min(a), max(a) FROM refers;

-- TRUNCATE of tables with indexes, in the transaction that made them and later.
CREATE TABLE emptied (id int PRIMARY KEY, v text);
SET doris.rows_to_heap = 0;
INSERT INTO emptied SELECT g, 'v' FROM generate_series(1, 3000) g;
TRUNCATE emptied;
INSERT INTO emptied SELECT g, 'w' FROM generate_series(2001, 4000) g;
SELECT count(*), min(id), max(v) FROM emptied;
BEGIN;
CREATE TABLE short_lived (id int PRIMARY KEY, v text);
INSERT INTO short_lived SELECT g, 'v' FROM generate_series(1, 3000) g;
TRUNCATE short_lived;
INSERT INTO short_lived SELECT g, 'w' FROM generate_series(1, 20) g;
COMMIT;
SET enable_seqscan = off;
SELECT count(*) FROM short_lived WHERE id BETWEEN 1 AND 3000;
RESET enable_seqscan;
SELECT * FROM doris.verify('emptied') UNION ALL SELECT * FROM doris.verify('short_lived');
DROP TABLE emptied, short_lived;
RESET doris.rows_to_heap;

-- Generated, identity and default columns.
CREATE TABLE g (id bigint GENERATED ALWAYS AS IDENTITY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, n text DEFAULT 'x');
SET doris.rows_to_heap = 0;
INSERT INTO g (a) SELECT g FROM generate_series(1, 3000) g;
SELECT count(*), min(id), max(id), sum(twice) = 2 * sum(a) AS generated, count(n) FROM g;
UPDATE g SET a = a + 1 WHERE id < 10;
SELECT sum(twice) = 2 * sum(a) AS generated FROM g;

-- Partitions, inheritance, tables without columns, many columns, temporary tables, templates.
CREATE TABLE p (k int, v text) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE TABLE p3 PARTITION OF p DEFAULT USING heap;
INSERT INTO p SELECT g % 4, 'v' || g FROM generate_series(1, 4000) g;
SELECT tableoid::regclass, count(*) FROM p GROUP BY 1 ORDER BY tableoid::regclass::text;
UPDATE p SET k = 2 WHERE k = 1 AND v < 'v2';
UPDATE p SET k = 1 WHERE k = 3;
SELECT tableoid::regclass, count(*) FROM p GROUP BY 1 ORDER BY tableoid::regclass::text;
ALTER TABLE p DETACH PARTITION p2;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
SELECT count(*) FROM p;
CREATE TABLE base (a int);
CREATE TABLE derived (b int) INHERITS (base);
INSERT INTO derived SELECT g, g FROM generate_series(1, 3000) g;
INSERT INTO base VALUES (1);
SELECT count(*) FROM base;
DELETE FROM base WHERE a = 1;
SELECT count(*) FROM base;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT count(*) FROM nothing;
DO $$ BEGIN EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || g || ' int', ', ') FROM generate_series(1, 1600) g) || ')'; END $$;
INSERT INTO wide (c1, c1600) SELECT g, -g FROM generate_series(1, 20) g;
SELECT count(*), sum(c1), sum(c1600), count(c800) FROM wide;
CREATE TEMP TABLE tmp (a int) ON COMMIT DELETE ROWS;
BEGIN;
INSERT INTO tmp SELECT g FROM generate_series(1, 3000) g;
SELECT count(*) FROM tmp;
COMMIT;
SELECT count(*) FROM tmp;
CREATE MATERIALIZED VIEW mv AS SELECT a, count(*) AS n FROM g GROUP BY a;
CREATE UNIQUE INDEX ON mv (a);
INSERT INTO g (a) VALUES (1), (1), (77777);
REFRESH MATERIALIZED VIEW mv;
SELECT count(*), sum(n) FROM mv;
DELETE FROM g WHERE a = 77777;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
SELECT count(*), sum(n) FROM mv;
-- Types that change without a row being written anew, and yet are stored in another layout: rows of before and after.
CREATE DOMAIN dn AS numeric(10,2);
CREATE DOMAIN df AS float8;
CREATE DOMAIN db AS bool;
CREATE TABLE layouts (id int, n numeric(10,2), m dn, u numeric(10,2), w numeric(12,2), f float8, b bool, g df, c db);
CREATE FUNCTION fill_layouts() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  SET LOCAL doris.rows_to_heap = 0;
  INSERT INTO layouts SELECT g, g / 4.0, g / 4.0, g / 4.0, g / 4.0, g, g % 2 = 0, g, g % 2 = 0 FROM generate_series(1, 6000) g;
  SET LOCAL doris.rows_to_heap = 2048;
  INSERT INTO layouts VALUES (0, 1.5, 1.5, 1.5, 1.5, 1.5, true, 1.5, true);
END $$;
CREATE FUNCTION layouts_are(OUT how text, OUT rows bigint, OUT sums text) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN
  FOREACH how IN ARRAY ARRAY['on', 'off'] LOOP
    PERFORM set_config('doris.enable_vectorization', how, true);
    CREATE TEMP TABLE seen ON COMMIT DROP AS SELECT * FROM layouts;
    SELECT count(*), concat_ws(' ', sum(n), sum(m), sum(u), sum(w), sum(f), sum(g), count(*) FILTER (WHERE b), count(*) FILTER (WHERE c)) INTO rows, sums FROM seen;
    DROP TABLE seen;
    RETURN NEXT;
    SELECT count(*), concat_ws(' ', sum(n), sum(m), sum(u), sum(w), sum(f), sum(g), count(*) FILTER (WHERE b), count(*) FILTER (WHERE c)) INTO rows, sums FROM layouts;
    RETURN NEXT;
  END LOOP;
END $$;
SELECT fill_layouts();
ALTER TABLE layouts ALTER n TYPE dn, ALTER m TYPE numeric(10,2), ALTER u TYPE numeric, ALTER w TYPE numeric(30,2),
  ALTER f TYPE df, ALTER b TYPE db, ALTER g TYPE float8, ALTER c TYPE bool;
SELECT fill_layouts();
SELECT * FROM layouts_are();
SELECT id, n, m, u, w, f, b, g, c FROM layouts WHERE n = 2.5 OR m = 3.5 OR u = 4.5 OR w = 5.5 ORDER BY id, u::text;
ALTER TABLE layouts ALTER m TYPE dn, ALTER g TYPE df, ALTER c TYPE db;
SELECT fill_layouts();
SELECT * FROM layouts_are();
UPDATE layouts SET id = id + 1 WHERE n < 1;
CALL doris.compact('layouts');
SELECT * FROM layouts_are();
VACUUM FULL layouts;
SELECT * FROM layouts_are();
SELECT * FROM doris.verify('layouts');
\set VERBOSITY terse
DROP SCHEMA am_ddl CASCADE;
