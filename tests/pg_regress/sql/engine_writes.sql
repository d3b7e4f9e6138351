-- Statements that change rows: what finds the rows is vectorised, and does what it does over a heap.
CREATE SCHEMA engine_writes;
SET search_path = engine_writes, public;
SET doris.compaction = off;
SET doris.rows_to_heap = 0;
SET doris.bulk_delete_rows = 100;
-- Twins: t_d, big_d and others are doris tables, t_h, big_h and so on heaps. Some rows are in the row store, some deleted.
CREATE FUNCTION make(name text, columns text, options text DEFAULT '') RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN
    EXECUTE format('CREATE TABLE %s_d (%s) USING doris %s', name, columns, options);
    EXECUTE format('CREATE TABLE %s_h (%s) USING heap', name, columns);
  END $$;
SELECT make('t', 'k int, grp int, v numeric(12,2), note text, f float8'), make('big', 'k int, grp int, v numeric(12,2), d date, j jsonb'),
       make('log', 'what text, k int, v numeric');
CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql SET doris.rows_to_heap = 0 AS
  $$ BEGIN
    TRUNCATE t_d, t_h, big_d, big_h, log_d, log_h;
    INSERT INTO t_d SELECT g, g % 50, g, 'note ' || g, g / 8.0 FROM generate_series(1, 12000) g;
    INSERT INTO t_d SELECT g, g % 50, g, NULL, NULL FROM generate_series(12001, 14000) g;
    INSERT INTO big_d SELECT g % 6000, g % 40, g % 977, date '2024-01-01' + g % 366, jsonb_build_object('n', g % 10)
      FROM generate_series(1, 40000) g;
    PERFORM set_config('doris.rows_to_heap', '1000000', true);
    INSERT INTO t_d SELECT g, g % 50, g, 'row store', 1 FROM generate_series(14001, 14300) g;
    INSERT INTO big_d SELECT g, g % 40, g % 977, date '2025-01-01', NULL FROM generate_series(13900, 14400) g;
    DELETE FROM big_d WHERE k % 101 = 0;
    DELETE FROM t_d WHERE k % 103 = 0;
    UPDATE t_d SET note = 'moved' WHERE k % 107 = 0;
    INSERT INTO t_h SELECT * FROM t_d;
    INSERT INTO big_h SELECT * FROM big_d;
    ANALYZE t_d, t_h, big_d, big_h;
  END $$;
SELECT fill();
-- Rows that are not the same in twins.
CREATE FUNCTION differ(name text) RETURNS bigint LANGUAGE plpgsql AS
  $$ DECLARE n bigint; BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE %1$s_d EXCEPT ALL TABLE %1$s_h) UNION ALL (TABLE %1$s_h EXCEPT ALL TABLE %1$s_d)) x', name)
      INTO n;
    RETURN n;
  END $$;
CREATE FUNCTION scans(statement text) RETURNS int LANGUAGE plpgsql AS
  $$ DECLARE line text; n int := 0; BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
      n := n + (line LIKE '%Custom Scan (DorisVectorized)%')::int;
    END LOOP;
    RETURN n;
  END $$;
-- The same on both, with @ for the kind: custom scans, rows changed or returned on both, and how the tables differ after.
CREATE FUNCTION on_both(statement text) RETURNS TABLE (custom_scans int, rows bigint, rows_heap bigint, differing bigint)
  LANGUAGE plpgsql AS
  $$ BEGIN
    custom_scans := scans(replace(statement, '@', 'd'));
    EXECUTE replace(statement, '@', 'd');
    GET DIAGNOSTICS rows = ROW_COUNT;
    EXECUTE replace(statement, '@', 'h');
    GET DIAGNOSTICS rows_heap = ROW_COUNT;
    differing := differ('t') + differ('big') + differ('log');
    RETURN NEXT;
  END $$;
-- What a statement with RETURNING, or a SELECT, gives on both.
CREATE FUNCTION gives(statement text) RETURNS TABLE (custom_scans int, rows bigint, equal bool, differing bigint) LANGUAGE plpgsql AS
  $$ DECLARE ours text[] := '{}'; theirs text[] := '{}'; r record; BEGIN
    custom_scans := scans(replace(statement, '@', 'd'));
    FOR r IN EXECUTE replace(statement, '@', 'd') LOOP ours := ours || r::text; END LOOP;
    FOR r IN EXECUTE replace(statement, '@', 'h') LOOP theirs := theirs || r::text; END LOOP;
    rows := cardinality(ours);
    equal := ARRAY(SELECT unnest(ours) ORDER BY 1) = ARRAY(SELECT unnest(theirs) ORDER BY 1);
    differing := differ('t') + differ('big') + differ('log');
    RETURN NEXT;
  END $$;

-- Plans.
EXPLAIN (COSTS OFF) MERGE INTO t_d t USING (SELECT k, sum(v) AS v FROM big_d GROUP BY k) s ON t.k = s.k
  WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v);
EXPLAIN (COSTS OFF) UPDATE t_d t SET v = b.v FROM big_d b WHERE t.k = b.k AND b.d >= '2025-01-01';
EXPLAIN (COSTS OFF) DELETE FROM t_d USING (SELECT DISTINCT k FROM big_d) s WHERE s.k = t_d.k;
EXPLAIN (COSTS OFF) UPDATE t_d SET f = (SELECT avg(v) FROM big_d);
EXPLAIN (COSTS OFF) DELETE FROM t_d WHERE grp = 3;
EXPLAIN (COSTS OFF) WITH ins AS (INSERT INTO log_d SELECT 'ins', k, sum(v) FROM big_d GROUP BY k RETURNING k)
  SELECT grp, count(*) FROM big_d JOIN ins USING (k) GROUP BY grp;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE t_d t SET v = s.v FROM (SELECT k, max(v) AS v FROM big_d GROUP BY k) s WHERE s.k = t.k;
-- Reasons for what is not.
EXPLAIN (VERBOSE, COSTS OFF) UPDATE t_d t SET v = s.v FROM (SELECT k, v FROM big_d FOR UPDATE) s WHERE s.k = t.k;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM t_d WHERE ctid = '(0,1)';
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM t_h WHERE k = 3;

-- MERGE.
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, sum(v) AS v, count(*) AS n FROM big_@ GROUP BY k) s ON t.k = s.k
  WHEN MATCHED AND s.n % 3 = 0 THEN DELETE WHEN MATCHED AND t.grp < 40 THEN UPDATE SET v = s.v, note = t.note || s.n
  WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (k, v, note) VALUES (s.k, s.v, ''new'')');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s ON t.k = s.k
  WHEN MATCHED THEN UPDATE SET v = s.v');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s ON t.k = s.k + 3000
  WHEN MATCHED THEN DELETE');
SELECT fill();
SELECT * FROM on_both('MERGE INTO t_@ t USING big_@ s ON t.k = s.k AND s.d >= ''2025-01-01''
  WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED AND s.v < 20 THEN INSERT (k, v, note) VALUES (-s.k, s.v, s.j::text)');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT DISTINCT ON (k) * FROM big_@ ORDER BY k, v, d, grp) s ON t.k = s.k
  WHEN MATCHED THEN UPDATE SET v = s.v, note = s.j->>''n''');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, v, rank() OVER (PARTITION BY grp ORDER BY v, k, d) AS r FROM big_@) s
  ON t.k = s.k AND s.r = 5 WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.r < 3 THEN INSERT (k, grp) VALUES (s.k, 1000 + s.r)');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, sum(v) AS v FROM big_@ WHERE k < 3000 GROUP BY k
    UNION ALL SELECT k, min(v) FROM big_@ WHERE k >= 3000 GROUP BY k) s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v');
MERGE INTO t_d t USING big_d s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v;
MERGE INTO t_h t USING big_h s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v;
SELECT differ('t');

-- UPDATE.
SELECT fill();
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v, f = s.a FROM (SELECT k, sum(v) AS v, avg(v)::float8 AS a FROM big_@ GROUP BY k) s WHERE t.k = s.k');
SELECT * FROM on_both('UPDATE t_@ t SET v = b.v FROM (SELECT DISTINCT k, 5 AS v FROM big_@ WHERE grp = 7) b WHERE t.k = b.k AND t.note IS NOT NULL');
SELECT * FROM on_both('UPDATE t_@ t SET v = b.v FROM big_@ b WHERE t.k = b.k AND b.d = ''2025-01-01''');
SELECT * FROM on_both('UPDATE t_@ SET v = (SELECT avg(v) FROM big_@), note = (SELECT string_agg(DISTINCT grp::text, '','') FROM big_@)');
SELECT * FROM on_both('UPDATE t_@ t SET v = (SELECT max(v) FROM big_@ b WHERE b.k = t.k) WHERE t.k < 60');
SELECT * FROM on_both('UPDATE t_@ t SET (v, grp) = (SELECT max(v), count(*) FROM big_@ b WHERE b.k = t.k) WHERE t.k % 500 = 1');
SELECT * FROM on_both('UPDATE t_@ t SET v = v + 1 WHERE v > (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM big_@)');
SELECT * FROM on_both('UPDATE t_@ SET v = v + 1, note = upper(note) WHERE grp BETWEEN 10 AND 20');
SELECT * FROM on_both('UPDATE t_@ SET v = v * 2 WHERE note LIKE ''note 1%'' OR f IS NULL');
SELECT * FROM on_both('WITH s AS MATERIALIZED (SELECT grp, sum(v) AS v FROM big_@ GROUP BY grp)
  UPDATE t_@ t SET v = s.v FROM s WHERE s.grp = t.grp');
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v FROM (SELECT k, max(v) AS v FROM big_@ GROUP BY k ORDER BY 2 DESC, k LIMIT 100) s WHERE s.k = t.k');
SELECT * FROM on_both('UPDATE t_@ t SET v = s.n FROM (SELECT count(*) AS n FROM big_@) s WHERE t.grp = 1');
SELECT * FROM on_both('UPDATE t_@ t SET v = x.v FROM (SELECT DISTINCT grp FROM big_@) g, LATERAL (SELECT sum(b.v) AS v FROM big_@ b WHERE b.grp = g.grp) x
  WHERE t.grp = g.grp AND t.k < 300');

-- DELETE.
SELECT fill();
SELECT * FROM on_both('DELETE FROM t_@ t USING (SELECT k FROM big_@ GROUP BY k HAVING count(*) > 6) s WHERE s.k = t.k');
SELECT * FROM on_both('DELETE FROM t_@ WHERE k IN (SELECT k FROM big_@ WHERE grp = 3)');
SELECT * FROM on_both('DELETE FROM t_@ WHERE k IN (SELECT max(k) + grp % 7 FROM big_@ WHERE k < 5000 GROUP BY grp)');
SELECT * FROM on_both('DELETE FROM t_@ WHERE k NOT IN (SELECT k FROM big_@) AND k % 10 = 0');
SELECT * FROM on_both('DELETE FROM t_@ t WHERE NOT EXISTS (SELECT FROM big_@ b WHERE b.k = t.k) AND t.k % 10 = 1');
SELECT * FROM on_both('DELETE FROM t_@ t WHERE EXISTS (SELECT FROM big_@ b WHERE b.k = t.k AND b.v > t.grp) AND grp < 5');
SELECT * FROM on_both('DELETE FROM t_@ t USING big_@ b WHERE b.k = t.k AND b.d < ''2024-02-01''');
SELECT * FROM on_both('DELETE FROM t_@ WHERE k > 14100');

-- The target among the sources.
SELECT fill();
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v FROM (SELECT grp, max(v) AS v FROM t_@ GROUP BY grp) s WHERE s.grp = t.grp');
SELECT * FROM on_both('UPDATE t_@ a SET v = b.v FROM t_@ b WHERE a.k = b.k + 1');
SELECT * FROM on_both('DELETE FROM t_@ WHERE k IN (SELECT max(k) FROM t_@ GROUP BY grp)');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k + 200 AS k, v FROM t_@ WHERE k > 13900) s ON s.k = t.k
  WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)');
INSERT INTO t_d SELECT * FROM t_d WHERE k < 4000;
INSERT INTO t_h SELECT * FROM t_h WHERE k < 4000;
SELECT * FROM on_both('DELETE FROM t_@ a USING t_@ b WHERE a.k = b.k AND a.ctid > b.ctid');
SELECT count(*), count(DISTINCT k) FROM t_d;
SELECT scans('DELETE FROM t_d WHERE ctid IN (SELECT min(ctid) FROM t_d GROUP BY grp)');

-- RETURNING.
SELECT fill();
SELECT * FROM gives('UPDATE t_@ t SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = t.k RETURNING t.*, s.v + 1');
SELECT * FROM gives('DELETE FROM t_@ t USING big_@ b WHERE b.k = t.k AND b.grp = 9 AND b.d > ''2024-10-01'' RETURNING t.k, b.k, t.tableoid = ''t_@''::regclass');
SELECT * FROM gives('UPDATE t_@ SET v = v + 1 WHERE k < 50 RETURNING k, v, (SELECT sum(v) FROM t_@), (SELECT count(*) FROM big_@ b WHERE b.k = t_@.k)');

-- Parts in WITH that write: all read the rows as they were.
SELECT fill();
SELECT * FROM gives('WITH ins AS (INSERT INTO log_@ SELECT ''ins'', k, sum(v) FROM big_@ GROUP BY k RETURNING k, v)
  SELECT b.grp, count(*), sum(ins.v) FROM big_@ b JOIN ins USING (k) GROUP BY b.grp');
SELECT * FROM gives('WITH del AS (DELETE FROM t_@ WHERE grp = 2 RETURNING *) SELECT count(*), sum(v), (SELECT count(*) FROM t_@) FROM del');
SELECT * FROM gives('WITH upd AS (UPDATE t_@ t SET v = s.v FROM (SELECT grp, sum(v) AS v FROM big_@ GROUP BY grp) s WHERE s.grp = t.grp RETURNING t.k),
    ins AS (INSERT INTO big_@ SELECT k, 1, 1, ''2026-01-01'', NULL FROM upd)
  SELECT count(*), sum(v), (SELECT count(*) FROM upd), (SELECT count(*) FROM big_@) FROM t_@');
SELECT * FROM gives('WITH gone AS (DELETE FROM big_@ WHERE d = ''2026-01-01'') SELECT count(*), max(d) FROM big_@');
SELECT * FROM on_both('WITH moved AS (DELETE FROM t_@ WHERE grp = 4 RETURNING k, v) INSERT INTO log_@ SELECT ''moved'', grp, sum(moved.v)
  FROM moved JOIN big_@ USING (k) GROUP BY grp');
SELECT * FROM gives('WITH unused AS (INSERT INTO log_@ SELECT ''unused'', grp, sum(v) FROM big_@ GROUP BY grp) SELECT max(v) FROM big_@');
SELECT * FROM gives('WITH few AS (UPDATE t_@ SET v = 0 WHERE grp = 5 RETURNING k) SELECT k FROM few ORDER BY k LIMIT 3');

-- Triggers see each row, and may read and change tables.
SELECT fill();
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN
    EXECUTE format('INSERT INTO %I VALUES ($1, $2, (SELECT count(*) FROM %I WHERE grp = 1))', TG_ARGV[0], TG_RELNAME)
      USING TG_OP || TG_WHEN, coalesce(NEW.k, OLD.k);
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    NEW.note := 'triggered';
    RETURN NEW;
  END $$;
CREATE FUNCTION note_all() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN
    EXECUTE format('INSERT INTO %I SELECT ''all'', count(*), sum(v) FROM changed', TG_ARGV[0]);
    RETURN NULL;
  END $$;
CREATE TRIGGER a BEFORE UPDATE OR DELETE ON t_d FOR EACH ROW WHEN (OLD.k % 300 = 0) EXECUTE FUNCTION note('log_d');
CREATE TRIGGER a BEFORE UPDATE OR DELETE ON t_h FOR EACH ROW WHEN (OLD.k % 300 = 0) EXECUTE FUNCTION note('log_h');
CREATE TRIGGER b AFTER UPDATE ON t_d REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_all('log_d');
CREATE TRIGGER b AFTER UPDATE ON t_h REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_all('log_h');
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = t.k AND t.grp <> 1');
SELECT * FROM on_both('DELETE FROM t_@ t USING (SELECT DISTINCT k FROM big_@) s WHERE s.k = t.k AND t.grp <> 1');
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k + 6000 AS k, sum(v) AS v FROM big_@ GROUP BY k) s ON s.k = t.k
  WHEN MATCHED AND t.grp = 1 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k)');
DROP TRIGGER a ON t_d; DROP TRIGGER a ON t_h; DROP TRIGGER b ON t_d; DROP TRIGGER b ON t_h;

-- Prepared statements, functions, loops, exception blocks.
SELECT fill();
SET plan_cache_mode = force_generic_plan;
PREPARE ours(int, numeric) AS UPDATE t_d t SET v = s.v + $2 FROM (SELECT k, sum(v) AS v FROM big_d WHERE grp < $1 GROUP BY k) s WHERE s.k = t.k;
PREPARE theirs(int, numeric) AS UPDATE t_h t SET v = s.v + $2 FROM (SELECT k, sum(v) AS v FROM big_h WHERE grp < $1 GROUP BY k) s WHERE s.k = t.k;
EXECUTE ours(10, 1); EXECUTE ours(0, 2); EXECUTE ours(NULL, 3); EXECUTE ours(40, 4);
EXECUTE theirs(10, 1); EXECUTE theirs(0, 2); EXECUTE theirs(NULL, 3); EXECUTE theirs(40, 4);
EXPLAIN (COSTS OFF) EXECUTE ours(1, 1);
SELECT differ('t');
RESET plan_cache_mode;
CREATE FUNCTION loops(kind text) RETURNS text LANGUAGE plpgsql AS
  $$ DECLARE r record; n int := 0; BEGIN
    FOR i IN 1..8 LOOP
      EXECUTE replace('MERGE INTO t_@ t USING (SELECT k, sum(v) AS v FROM big_@ WHERE grp % 8 = $1 GROUP BY k) s ON s.k = t.k
        WHEN MATCHED AND t.grp = $1 THEN DELETE WHEN MATCHED THEN UPDATE SET v = t.v + s.v', '@', kind) USING i;
      BEGIN
        EXECUTE replace('DELETE FROM t_@ t USING (SELECT DISTINCT k FROM big_@) s WHERE s.k = t.k', '@', kind);
        RAISE EXCEPTION 'back';
      EXCEPTION WHEN raise_exception THEN n := n + 1;
      END;
    END LOOP;
    FOR r IN EXECUTE replace('WITH w AS (INSERT INTO log_@ SELECT ''loop'', grp, sum(v) FROM t_@ GROUP BY grp RETURNING k, v) SELECT * FROM w ORDER BY k', '@', kind) LOOP
      EXECUTE replace('UPDATE t_@ SET v = v - $1 WHERE grp = $2', '@', kind) USING r.v, r.k;
      n := n + 1;
    END LOOP;
    RETURN n;
  END $$;
SELECT loops('d') = loops('h'), differ('t'), differ('log');
-- An open cursor keeps its rows; a transaction sees its own changes, and loses those of a savepoint.
SELECT fill();
BEGIN;
DECLARE c CURSOR FOR SELECT count(*), sum(v) FROM t_d GROUP BY grp % 2 ORDER BY 1;
DECLARE d CURSOR FOR SELECT k FROM t_d WHERE k < 12000;
FETCH 1 FROM d;
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = t.k');
SAVEPOINT a;
SELECT * FROM on_both('DELETE FROM t_@ WHERE k IN (SELECT k FROM big_@)');
SELECT * FROM gives('SELECT count(*), sum(v) FROM t_@');
ROLLBACK TO a;
SELECT * FROM gives('SELECT count(*), sum(v) FROM t_@');
SELECT * FROM on_both('UPDATE t_@ SET v = (SELECT sum(v) FROM t_@) WHERE grp = 1');
FETCH ALL FROM c;
MOVE ALL FROM d;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM on_both('MERGE INTO t_@ t USING (SELECT k, min(v) AS v FROM big_@ GROUP BY k) s ON s.k = t.k WHEN MATCHED THEN UPDATE SET v = s.v');
COMMIT;
DO $$ DECLARE c CURSOR FOR SELECT * FROM t_d WHERE grp = 7 FOR UPDATE; BEGIN
  FOR r IN c LOOP UPDATE t_d SET v = (SELECT max(v) FROM big_d) WHERE CURRENT OF c; END LOOP; END $$;
UPDATE t_h SET v = (SELECT max(v) FROM big_h) WHERE grp = 7;
SELECT differ('t');

-- Partitions, inheritance, both kinds of table in one statement, views, row security, rules.
CREATE TABLE p_d (k int, v numeric, note text) PARTITION BY RANGE (k);
CREATE TABLE p1_d PARTITION OF p_d FOR VALUES FROM (0) TO (3000) USING doris;
CREATE TABLE p2_d (note text, v numeric, k int NOT NULL) USING doris;
ALTER TABLE p_d ATTACH PARTITION p2_d FOR VALUES FROM (3000) TO (6000);
CREATE TABLE p3_d PARTITION OF p_d FOR VALUES FROM (6000) TO (9000) USING heap;
CREATE TABLE p_h (LIKE p_d) USING heap;
INSERT INTO p_d SELECT g, g, 'p' FROM generate_series(0, 8999) g;
INSERT INTO p_h TABLE p_d;
ANALYZE p_d; ANALYZE p_h;
CREATE FUNCTION parts(statement text) RETURNS TABLE (custom_scans int, rows bigint, rows_heap bigint, differing bigint) LANGUAGE sql AS
  $$ SELECT o.custom_scans, o.rows, o.rows_heap, differ('p') FROM on_both(statement) o $$;
SELECT * FROM parts('UPDATE p_@ p SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = p.k');
SELECT * FROM parts('UPDATE p_@ p SET k = 8999 - p.k, note = s.n::text FROM (SELECT count(*) AS n FROM big_@) s');
SELECT * FROM parts('MERGE INTO p_@ p USING (SELECT k + 1500 AS k, sum(v) AS v FROM big_@ GROUP BY k) s ON s.k = p.k
  WHEN MATCHED AND s.k % 5 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED AND s.k < 9000 THEN INSERT VALUES (s.k, s.v, ''new'')');
SELECT * FROM parts('DELETE FROM p_@ WHERE k BETWEEN 2900 AND 3100 AND v > (SELECT min(v) FROM big_@)');
SELECT * FROM parts('UPDATE t_@ t SET v = p.v FROM p_@ p WHERE p.k = t.k');
SELECT * FROM parts('DELETE FROM p_@ p USING t_@ t WHERE p.k = t.k AND t.grp = 1');
UPDATE p_d SET note = tableoid::regclass::text WHERE tableoid <> 'p1_d'::regclass AND k % 7 = 0;
SELECT note, count(*) > 0 FROM p_d WHERE note LIKE 'p%\_d' GROUP BY note ORDER BY note;
UPDATE p_h SET v = d.v FROM p_d d WHERE d.k = p_h.k;
UPDATE p_d SET v = h.v + 1 FROM p_h h WHERE h.k = p_d.k;
SELECT count(*), count(*) FILTER (WHERE d.v = h.v + 1) FROM p_d d JOIN p_h h USING (k);
CREATE VIEW v_d AS SELECT k, v, grp FROM t_d WHERE grp < 25 WITH CHECK OPTION;
CREATE VIEW v_h AS SELECT k, v, grp FROM t_h WHERE grp < 25 WITH CHECK OPTION;
SELECT * FROM on_both('UPDATE v_@ t SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = t.k');
UPDATE v_d t SET grp = 30 FROM (SELECT count(*) AS n FROM big_d) s WHERE t.k = 1 AND s.n > 0;
CREATE ROLE engine_writes_user;
GRANT USAGE ON SCHEMA engine_writes TO engine_writes_user;
GRANT ALL ON t_d, t_h, big_d, big_h TO engine_writes_user;
ALTER TABLE t_d ENABLE ROW LEVEL SECURITY; ALTER TABLE t_h ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t_d USING (grp % 2 = 0); CREATE POLICY p ON t_h USING (grp % 2 = 0);
SET ROLE engine_writes_user;
UPDATE t_d t SET v = s.v + 7 FROM (SELECT k, sum(v) AS v FROM big_d GROUP BY k) s WHERE s.k = t.k;
UPDATE t_h t SET v = s.v + 7 FROM (SELECT k, sum(v) AS v FROM big_h GROUP BY k) s WHERE s.k = t.k;
DELETE FROM t_d WHERE k IN (SELECT k FROM big_d WHERE grp = 11);
DELETE FROM t_h WHERE k IN (SELECT k FROM big_h WHERE grp = 11);
RESET ROLE;
ALTER TABLE t_d DISABLE ROW LEVEL SECURITY; ALTER TABLE t_h DISABLE ROW LEVEL SECURITY;
SELECT differ('t');
CREATE RULE also AS ON DELETE TO t_d DO ALSO INSERT INTO log_d SELECT 'rule', OLD.k, (SELECT count(*) FROM big_d WHERE grp = OLD.grp);
CREATE RULE also AS ON DELETE TO t_h DO ALSO INSERT INTO log_h SELECT 'rule', OLD.k, (SELECT count(*) FROM big_h WHERE grp = OLD.grp);
SELECT * FROM on_both('DELETE FROM t_@ t USING (SELECT max(k) AS k FROM big_@ GROUP BY grp) s WHERE s.k = t.k');
DROP RULE also ON t_d; DROP RULE also ON t_h;

-- Tables with keys: parts in WITH, sources, and changes of them.
CREATE TABLE u_d (k int, v numeric, n bigint) USING doris WITH (unique_key = 'k');
CREATE TABLE u_h (k int PRIMARY KEY, v numeric, n bigint) USING heap;
CREATE TABLE a_d (g int, v numeric, n bigint) USING doris WITH (aggregate_key = 'g', sum = 'v', max = 'n');
INSERT INTO u_d SELECT k, sum(v), count(*) FROM big_d GROUP BY k;
INSERT INTO u_h SELECT k, sum(v), count(*) FROM big_h GROUP BY k;
ANALYZE u_d;
SELECT scans('UPDATE u_d u SET v = s.v FROM (SELECT k, max(v) AS v FROM big_d GROUP BY k) s WHERE s.k = u.k');
UPDATE u_d u SET v = s.v FROM (SELECT k, max(v) AS v FROM big_d GROUP BY k) s WHERE s.k = u.k AND u.n > 3;
UPDATE u_h u SET v = s.v FROM (SELECT k, max(v) AS v FROM big_h GROUP BY k) s WHERE s.k = u.k AND u.n > 3;
DELETE FROM u_d USING (SELECT DISTINCT k FROM big_d WHERE grp = 3) s WHERE s.k = u_d.k;
DELETE FROM u_h USING (SELECT DISTINCT k FROM big_h WHERE grp = 3) s WHERE s.k = u_h.k;
SELECT differ('u');
WITH up AS (INSERT INTO u_d SELECT k, 1, count(*) FROM big_d WHERE k < 2000 GROUP BY k RETURNING k)
  SELECT count(*), (SELECT count(*) FROM u_d) = (SELECT count(*) FROM u_h), sum(u.n) FROM up JOIN u_d u USING (k);
WITH up AS (INSERT INTO u_h SELECT k, 1, count(*) FROM big_h WHERE k < 2000 GROUP BY k ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n RETURNING k)
  SELECT count(*), sum(u.n) FROM up JOIN u_h u USING (k);
SELECT differ('u');
BEGIN;
INSERT INTO u_d SELECT g, 5, 5 FROM generate_series(1000, 9000) g;
INSERT INTO u_h SELECT g, 5, 5 FROM generate_series(1000, 9000) g ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n;
UPDATE u_d u SET n = s.n FROM (SELECT k % 1000 + 5000 AS k, count(*) AS n FROM u_d GROUP BY 1) s WHERE s.k = u.k;
UPDATE u_h u SET n = s.n FROM (SELECT k % 1000 + 5000 AS k, count(*) AS n FROM u_h GROUP BY 1) s WHERE s.k = u.k;
SELECT differ('u');
COMMIT;
SELECT differ('u');
WITH up AS (INSERT INTO a_d SELECT grp, sum(v), max(k) FROM big_d GROUP BY grp RETURNING g) SELECT count(*), (SELECT count(*) FROM a_d) FROM up;
WITH up AS (INSERT INTO a_d SELECT grp, sum(v), max(k) FROM big_d GROUP BY grp) SELECT count(*), sum(v) = (SELECT sum(v) FROM big_h) FROM a_d;
SELECT count(*), sum(v) = 2 * (SELECT sum(v) FROM big_h) FROM a_d;
UPDATE t_d SET v = a.v FROM a_d a WHERE a.g = t_d.grp;
UPDATE t_h SET v = a.v FROM (SELECT grp AS g, 2 * sum(v) AS v FROM big_h GROUP BY grp) a WHERE a.g = t_h.grp;
SELECT differ('t');

-- Errors, and what the engine gives back to PostgreSQL.
UPDATE t_d t SET v = 1 / s.n FROM (SELECT k, count(*) - 6 AS n FROM big_d GROUP BY k) s WHERE s.k = t.k;
UPDATE t_h t SET v = 1 / s.n FROM (SELECT k, count(*) - 6 AS n FROM big_h GROUP BY k) s WHERE s.k = t.k;
UPDATE t_d SET v = (SELECT v FROM big_d);
SELECT differ('t');
UPDATE big_d SET v = 'NaN' WHERE k = 14000; UPDATE big_h SET v = 'NaN' WHERE k = 14000;
SELECT * FROM on_both('UPDATE t_@ t SET v = s.v FROM (SELECT k, sum(v) AS v FROM big_@ GROUP BY k) s WHERE s.k = t.k');
SELECT * FROM on_both('UPDATE t_@ t SET v = b.v FROM big_@ b WHERE b.k = t.k AND b.d = ''2025-01-01''');
SELECT * FROM on_both('WITH i AS (INSERT INTO log_@ SELECT ''nan'', k, v FROM big_@ WHERE k > 13990 RETURNING k, v) UPDATE t_@ t SET v = i.v FROM i WHERE i.k = t.k');
SELECT * FROM doris.verify('t_d');
SET client_min_messages = warning;
DROP SCHEMA engine_writes CASCADE;
DROP ROLE engine_writes_user;
