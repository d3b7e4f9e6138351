-- Rows that UPDATE and MERGE move between partitions with keys: they are no loads. Each statement runs on heap partitions
-- with the same unique constraints, too.
CREATE SCHEMA keyed_moves;
SET search_path = keyed_moves, doris, public;

-- Makes two partitioned tables, d with these options and h of heaps.
CREATE PROCEDURE make(columns text, options text) LANGUAGE plpgsql AS $$
DECLARE t text;
BEGIN
  DROP TABLE IF EXISTS d, h;
  FOREACH t IN ARRAY ARRAY['d', 'h'] LOOP
    EXECUTE format('CREATE TABLE %I (%s) PARTITION BY LIST (r)', t, columns);
    FOR r IN 1..2 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s) %s', t || r, t, r,
        CASE t WHEN 'd' THEN 'USING doris WITH (unique_key = ''k''' || options || ')' ELSE 'USING heap' END);
    END LOOP;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (3) PARTITION BY LIST (r)', t || 3, t);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (3) %s', t || 31, t || 3,
      CASE t WHEN 'd' THEN 'USING doris WITH (unique_key = ''k''' || options || ')' ELSE 'USING heap' END);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (4) USING heap', t || 4, t);
  END LOOP;
  CREATE UNIQUE INDEX ON h1 (k); CREATE UNIQUE INDEX ON h2 (k); CREATE UNIQUE INDEX ON h31 (k);
END $$;
-- Runs a statement on both; says what became of it, and whether they hold the same rows.
CREATE PROCEDURE twice(statement text) LANGUAGE plpgsql AS $$
DECLARE t text; n bigint; said text[]; wrong bigint;
BEGIN
  FOREACH t IN ARRAY ARRAY['d', 'h'] LOOP
    BEGIN
      EXECUTE replace(statement, '@', t);
      GET DIAGNOSTICS n = ROW_COUNT;
      said := said || (n || ' rows');
    EXCEPTION WHEN others THEN
      said := said || sqlstate;
    END;
  END LOOP;
  SELECT (SELECT count(*) FROM (TABLE d EXCEPT ALL TABLE h) x) + (SELECT count(*) FROM (TABLE h EXCEPT ALL TABLE d) x)
    INTO wrong;
  RAISE NOTICE '%, %', said[1], CASE WHEN said[1] = said[2] AND wrong = 0 THEN 'the same'
    ELSE said[2] || ' in the heap, ' || wrong || ' rows differ' END;
END $$;

-- Another row has the key: in the row store, and in segments.
CALL make('k int, r int, v text', '');
CALL twice('INSERT INTO @ (r, k, v) VALUES (1, 1, ''moved''), (2, 1, ''stays''), (1, 2, ''free''), (3, 3, ''below'')');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1 AND k = 2');
CALL twice('UPDATE @ SET r = 3, k = 3 WHERE k = 2');
CALL twice('UPDATE @ SET r = 3 WHERE k = 2');
CALL twice('UPDATE @ SET r = 3 WHERE k = 1');
CALL twice('MERGE INTO @ USING (VALUES (1)) s (r) ON @.r = s.r WHEN MATCHED THEN UPDATE SET r = 2');
CALL twice('MERGE INTO @ USING (VALUES (3, 3), (7, 7)) s (r, k) ON @.r = s.r AND @.k = s.k
  WHEN MATCHED THEN UPDATE SET r = 1, v = ''merged'' WHEN NOT MATCHED THEN INSERT (r, k, v) VALUES (2, s.k, ''new'')');
SELECT * FROM d ORDER BY r, k;
SELECT * FROM d1 WHERE k = 3;
SET doris.rows_to_heap = 0;
CALL twice('INSERT INTO @ (r, k, v) SELECT 1 + g % 2, g, ''many'' FROM generate_series(100, 3000) g');
CALL twice('INSERT INTO @ (r, k, v) VALUES (2, 200, ''too'')');
RESET doris.rows_to_heap;
CALL twice('UPDATE @ SET r = 2 WHERE r = 1 AND k = 200');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1 AND k BETWEEN 201 AND 1500');
CALL twice('UPDATE @ SET r = 3 - r WHERE k > 1000 AND r < 3');
CALL twice('UPDATE @ SET r = 3 - r, k = k - 1 WHERE k > 2900');
CALL twice('UPDATE @ SET r = 4 WHERE k > 2500');
CALL twice('UPDATE @ SET r = 1 WHERE r = 4');
CALL twice('DELETE FROM @ WHERE k = 300');
CALL twice('INSERT INTO @ (r, k, v) VALUES (1, 300, ''again'')');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1 AND k = 300');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1');
SELECT count(*), count(DISTINCT k) FROM d;
CALL doris.compact('d2');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1');
-- One that goes back in its transaction, and one that a savepoint undoes.
BEGIN;
CALL twice('UPDATE @ SET r = 3 WHERE k = 400');
CALL twice('UPDATE @ SET r = 2 WHERE k = 400');
SAVEPOINT s;
CALL twice('DELETE FROM @ WHERE k = 401');
CALL twice('UPDATE @ SET k = 401, r = 3 - r WHERE k = 400');
ROLLBACK TO s;
CALL twice('UPDATE @ SET k = 401, r = 2 WHERE k = 7');
COMMIT;
-- A load goes on replacing rows, also one of MERGE.
INSERT INTO d (r, k, v) VALUES (2, 1, 'replaced');
MERGE INTO d USING (VALUES (2, 1)) s (r, k) ON d.r = s.r AND d.v = 'nowhere'
  WHEN MATCHED THEN UPDATE SET r = 1 WHEN NOT MATCHED THEN INSERT (r, k, v) VALUES (s.r, s.k, 'by merge');
SELECT * FROM d WHERE k = 1 ORDER BY r;

-- Where both come in one statement they are not told apart.
WITH i AS (INSERT INTO d (r, k, v) VALUES (2, 1, 'by with') RETURNING *) UPDATE d SET v = 'stays' FROM i WHERE d.k = 3;
SELECT * FROM d WHERE k IN (1, 3) ORDER BY r, k;
WITH u AS (UPDATE d SET r = 2 WHERE r = 1 AND k = 3 RETURNING *) INSERT INTO d (r, k, v) SELECT 2, k, 'both' FROM u;
WITH u AS (UPDATE d SET r = 2 WHERE r = 1 AND k = 3 RETURNING *) SELECT * FROM u;

-- Statements of triggers are loads, though they run while a row moves.
CALL make('k int, r int, v text', '');
CREATE FUNCTION copy_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO keyed_moves.d (r, k, v) VALUES (2, 50, TG_OP || ' of ' || new.k); RETURN new; END $$;
CREATE TRIGGER t BEFORE INSERT ON d2 FOR EACH ROW WHEN (new.k <> 50) EXECUTE FUNCTION copy_row();
INSERT INTO d (r, k, v) VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 50, 'there');
UPDATE d SET r = 2 WHERE r = 1;
SELECT * FROM d ORDER BY r, k;
CREATE FUNCTION no_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER u BEFORE INSERT ON d31 FOR EACH ROW WHEN (new.k < 50) EXECUTE FUNCTION no_row();
MERGE INTO d USING (VALUES (1), (60)) s (k) ON d.k = s.k
  WHEN MATCHED THEN UPDATE SET r = 3 WHEN NOT MATCHED THEN INSERT (r, k, v) VALUES (2, 50, 'not matched');
SELECT * FROM d ORDER BY r, k;

-- Sequences, remembered deletes and delete signs decide about loads.
CALL make('k int, r int, v text, s int, gone bool', ', sequence = ''s'', delete_sign = ''gone''');
CALL twice('INSERT INTO @ (r, k, v, s, gone) VALUES (1, 1, ''old'', 5, false), (2, 1, ''new'', 9, false), (1, 2, ''x'', 5, false)');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1');
CALL twice('DELETE FROM @ WHERE r = 2');
CALL twice('UPDATE @ SET r = 2 WHERE r = 1');
CALL twice('UPDATE @ SET gone = true WHERE k = 1');
CALL twice('UPDATE @ SET r = 1 WHERE k = 1');
CALL twice('MERGE INTO @ USING (VALUES (1), (2)) s (k) ON @.k = s.k WHEN MATCHED THEN UPDATE SET r = 3, gone = true');
SELECT * FROM d ORDER BY k;

-- Row security: a row that is hidden is not replaced.
CALL make('k int, r int, v text', '');
INSERT INTO d (r, k, v) VALUES (1, 1, 'keyed_mover'), (2, 1, 'other');
CREATE ROLE keyed_mover;
ALTER TABLE d ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON d USING (v = current_user);
GRANT USAGE ON SCHEMA keyed_moves TO keyed_mover;
GRANT ALL ON d TO keyed_mover;
SET ROLE keyed_mover;
UPDATE d SET r = 2 WHERE r = 1;
UPDATE d SET r = 3 WHERE r = 1;
RESET ROLE;
SELECT * FROM d ORDER BY r, k;

SET client_min_messages = warning;
DROP SCHEMA keyed_moves CASCADE;
DROP ROLE keyed_mover;
