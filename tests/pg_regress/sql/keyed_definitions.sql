-- Constraints, indexes and kinds of tables beside a key model.
CREATE SCHEMA keyed_definitions;
SET search_path = keyed_definitions, doris, public;
SET default_table_access_method = doris;

-- A deferrable UNIQUE constraint on another column is checked when it is due.
CREATE TABLE u (k int, n int UNIQUE DEFERRABLE INITIALLY DEFERRED, v int) WITH (unique_key = 'k');
INSERT INTO u VALUES (1, 1, 1), (2, 2, 2);
BEGIN;
INSERT INTO u VALUES (1, 2, 3);
INSERT INTO u VALUES (2, 1, 4);
COMMIT;
INSERT INTO u VALUES (3, 1, 5);
BEGIN;
INSERT INTO u VALUES (3, 1, 5);
INSERT INTO u VALUES (1, 7, 7), (2, 8, 8);
COMMIT;
SELECT * FROM u ORDER BY k;

-- A deferrable PRIMARY KEY cannot be the key's index, which is another then.
CREATE TABLE d (k int PRIMARY KEY DEFERRABLE, v int) WITH (unique_key = 'k');
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'd'::regclass ORDER BY indexrelid::regclass::text;
INSERT INTO d VALUES (1, 1), (1, 2);
INSERT INTO d VALUES (1, 3);
SELECT * FROM d;

-- The key's index is built anew, and becomes the PRIMARY KEY.
CREATE TABLE r (k int NOT NULL, v int) WITH (unique_key = 'k');
INSERT INTO r SELECT g, g FROM generate_series(1, 3000) g;
INSERT INTO r VALUES (1, 0), (4000, 1);
REINDEX TABLE CONCURRENTLY r;
INSERT INTO r VALUES (1, 1), (2, 0), (4000, 2);
SELECT count(*), sum(v) FROM r;
ALTER TABLE r ADD PRIMARY KEY USING INDEX r_key_idx;
INSERT INTO r VALUES (1, 2), (3, 0), (4000, 3);
SELECT count(*), sum(v) FROM r;
SELECT indexrelid::regclass, indisprimary FROM pg_index WHERE indrelid = 'r'::regclass;

-- An exclusion constraint holds for rows that replace others.
CREATE TABLE e (k int, at int4range, EXCLUDE USING gist (at WITH &&)) WITH (unique_key = 'k');
INSERT INTO e VALUES (1, '[1,5)'), (2, '[5,9)');
INSERT INTO e VALUES (1, '[3,6)');
INSERT INTO e VALUES (1, '[2,5)');
INSERT INTO e VALUES (3, '[1,2)');
SELECT * FROM e ORDER BY k;

-- Transition tables have the rows of the statement as they are stored.
CREATE TABLE t (k int, s int) WITH (aggregate_key = 'k', sum = 's');
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE NOTICE '%', (SELECT string_agg(n::text, ' ' ORDER BY n::text) FROM new_rows n); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO t VALUES (1, 1), (2, 2);
INSERT INTO t VALUES (1, 10), (3, 3);
SET doris.rows_to_heap = 0;
INSERT INTO t VALUES (1, 100), (4, 4);
RESET doris.rows_to_heap;
SELECT * FROM t ORDER BY k;

-- COPY FREEZE, and temporary tables that are emptied by COMMIT.
BEGIN;
CREATE TABLE f (k int, v int) WITH (unique_key = 'k');
COPY f FROM stdin WITH (FREEZE);
1	1
2	2
1	3
\.
COMMIT;
INSERT INTO f VALUES (2, 4);
SELECT * FROM f ORDER BY k;
BEGIN;
CREATE TEMPORARY TABLE passing (k int, v int) USING doris WITH (unique_key = 'k') ON COMMIT DELETE ROWS;
INSERT INTO passing VALUES (1, 1), (1, 2);
SELECT * FROM passing;
COMMIT;
INSERT INTO passing VALUES (1, 3);
SELECT * FROM passing;

-- ON CONFLICT about another unique column, where the key conflicts; and by the name of a constraint.
CREATE TABLE c (k int PRIMARY KEY, n int CONSTRAINT c_n UNIQUE, v int) WITH (unique_key = 'k');
INSERT INTO c VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO c VALUES (1, 3, 3) ON CONFLICT (n) DO UPDATE SET v = 9;
INSERT INTO c VALUES (3, 2, 3) ON CONFLICT (n) DO UPDATE SET v = 9;
INSERT INTO c VALUES (1, 3, 4) ON CONFLICT ON CONSTRAINT c_pkey DO UPDATE SET v = excluded.v;
INSERT INTO c VALUES (4, 1, 5) ON CONFLICT ON CONSTRAINT c_n DO NOTHING;
INSERT INTO c VALUES (2, 9, 6) ON CONFLICT DO NOTHING;
SELECT * FROM c ORDER BY k;
SELECT count(*) FROM verify('c');
