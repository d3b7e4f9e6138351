-- Triggers, constraints and rules see rows on their way into segments, and segment rows that change.
CREATE SCHEMA am_triggers;
SET search_path = am_triggers, public;
SET default_table_access_method = doris;
CREATE TABLE log (what text, n bigint) USING heap;
CREATE TABLE t (id int, v text);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log VALUES (TG_WHEN || ' ' || TG_OP || ' row', coalesce(NEW.id, 0) - coalesce(OLD.id, 0));
  RETURN coalesce(NEW, OLD);
END $$;
CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log SELECT TG_WHEN || ' ' || TG_OP || ' statement sees', count(*) FROM t;
  RETURN NULL;
END $$;
CREATE FUNCTION note_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP <> 'DELETE' THEN INSERT INTO log SELECT 'new rows of ' || TG_OP, count(*) FROM new_rows; END IF;
  IF TG_OP <> 'INSERT' THEN INSERT INTO log SELECT 'old rows of ' || TG_OP, count(*) FROM old_rows; END IF;
  RETURN NULL;
END $$;
CREATE VIEW summary AS SELECT what, count(*), sum(n) FROM log GROUP BY what ORDER BY what;

-- AFTER ROW triggers fetch rows by TID, out of memory and out of pages.
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note_row();
SET doris.rows_to_heap = 100;
INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 3000) g;
UPDATE t SET id = id + 10000 WHERE id % 100 = 0;
DELETE FROM t WHERE id % 100 = 1;
SELECT * FROM summary;
TRUNCATE log;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TRIGGER before_statement BEFORE INSERT OR UPDATE OR DELETE ON t EXECUTE FUNCTION note_statement();
CREATE TRIGGER after_statement AFTER INSERT OR UPDATE OR DELETE ON t EXECUTE FUNCTION note_statement();
CREATE TRIGGER new_rows AFTER INSERT ON t REFERENCING NEW TABLE AS new_rows EXECUTE FUNCTION note_transition();
CREATE TRIGGER both_rows AFTER UPDATE ON t REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows EXECUTE FUNCTION note_transition();
CREATE TRIGGER old_rows AFTER DELETE ON t REFERENCING OLD TABLE AS old_rows EXECUTE FUNCTION note_transition();
INSERT INTO t SELECT g, 'v' || g FROM generate_series(3001, 3500) g;
UPDATE t SET v = 'u' WHERE id BETWEEN 100 AND 150;
DELETE FROM t WHERE id BETWEEN 200 AND 250;
SELECT * FROM summary;
SELECT count(*), sum(id) FROM t;

-- A deferred trigger runs at commit, after the rows were written out.
CREATE TABLE checked (id int);
CREATE FUNCTION must_be_small() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.id > 4000 THEN RAISE EXCEPTION 'id % is too large', NEW.id; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION must_be_small();
INSERT INTO checked SELECT g FROM generate_series(1, 4000) g;
INSERT INTO checked SELECT g FROM generate_series(1, 4001) g;
SELECT count(*) FROM checked;

-- A BEFORE trigger may change or drop rows; a trigger may write the table it is on, and fail inside a block of its own.
CREATE TABLE filtered (id int, v text);
CREATE FUNCTION filter_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.id % 2 = 0 THEN RETURN NULL; END IF;
  NEW.v := 'kept ' || NEW.id; RETURN NEW; END $$;
CREATE TRIGGER filter BEFORE INSERT ON filtered FOR EACH ROW EXECUTE FUNCTION filter_row();
INSERT INTO filtered SELECT g, 'x' FROM generate_series(1, 3000) g;
SELECT count(*), min(v), max(id) FROM filtered;
CREATE TABLE nested (id int, depth int);
CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.depth < 2 AND NEW.id % 500 = 0 THEN
    BEGIN
      INSERT INTO nested VALUES (NEW.id + 1, NEW.depth + 1);
      IF NEW.id % 1000 = 0 THEN PERFORM 1 / 0; END IF;
    EXCEPTION WHEN division_by_zero THEN
      INSERT INTO nested SELECT -1, count(*) FROM nested;
    END;
  END IF; RETURN NULL; END $$;
CREATE TRIGGER nest AFTER INSERT ON nested FOR EACH ROW EXECUTE FUNCTION nest();
INSERT INTO nested SELECT g, 0 FROM generate_series(1, 3000) g;
SELECT depth > 2 AS caught, count(*), sum(id) FROM nested GROUP BY 1 ORDER BY 1;

-- A default that reads the table during the load sees the rows before it.
CREATE TABLE reads (id int, seen bigint);
CREATE FUNCTION seen() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN (SELECT count(*) FROM reads); END $$;
ALTER TABLE reads ALTER seen SET DEFAULT seen();
INSERT INTO reads (id) SELECT g FROM generate_series(1, 300) g;
SELECT count(*), sum(seen) FROM reads;
COPY reads (id) FROM PROGRAM 'seq 1 300';
SELECT count(*), count(DISTINCT seen) > 100 AS saw_rows_of_its_own_load FROM reads;

-- Constraints, views that can be updated, rules, row security, foreign keys in both directions.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE SET NULL);
INSERT INTO parent SELECT g FROM generate_series(1, 1000) g;
INSERT INTO child SELECT g, g % 1000 + 1 FROM generate_series(1, 3000) g;
INSERT INTO child SELECT g, g FROM generate_series(900, 1100) g;
DELETE FROM parent WHERE id <= 10;
UPDATE parent SET id = id + 100000 WHERE id <= 20;
SELECT count(*), count(parent) FROM child;
ALTER TABLE child ADD CHECK (id > 0), ALTER parent DROP NOT NULL;
INSERT INTO child SELECT 5 - g, 500 FROM generate_series(1, 3000) g;
SELECT count(*) FROM child;
CREATE VIEW evens AS SELECT * FROM child WHERE id % 2 = 0 WITH CHECK OPTION;
UPDATE evens SET parent = 500 WHERE id < 100;
INSERT INTO evens VALUES (3, 500);
DELETE FROM evens WHERE id < 50;
SELECT count(*) FROM child;
CREATE ROLE regress_am_triggers;
GRANT USAGE ON SCHEMA am_triggers TO regress_am_triggers;
GRANT SELECT, DELETE ON child TO regress_am_triggers;
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON child USING (id < 1000);
SET ROLE regress_am_triggers;
SELECT count(*), max(id) FROM child;
DELETE FROM child WHERE id > 900;
RESET ROLE;
SELECT count(*), count(*) FILTER (WHERE id BETWEEN 901 AND 999) FROM child;
DROP OWNED BY regress_am_triggers;
DROP ROLE regress_am_triggers;
\set VERBOSITY terse
DROP SCHEMA am_triggers CASCADE;
