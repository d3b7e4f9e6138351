-- Text in the orders of locales, in the engine, against a heap with the same rows.
SELECT count(*) > 0 AS icu FROM pg_collation WHERE collname = 'de-x-icu' \gset
\if :icu
\else
\echo PostgreSQL was built without ICU
\quit
\endif
CREATE COLLATION col_bytes (provider = libc, locale = 'C.UTF-8');
CREATE COLLATION col_case (provider = libc, lc_collate = 'C', lc_ctype = 'C.UTF-8');
CREATE COLLATION col_upper (provider = icu, locale = 'en-u-kf-upper');
CREATE COLLATION col_loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
CREATE TABLE col_heap (id int, k int, s text COLLATE "de-x-icu", v varchar(20) COLLATE "en-x-icu", p char(8) COLLATE "sv-x-icu",
  b text COLLATE col_bytes, l text COLLATE col_loose, c text COLLATE "C");
INSERT INTO col_heap SELECT g, g % 7, w, w, left(w, 8), w, w, w FROM (
  SELECT g, CASE WHEN g % 10 = 0 THEN NULL ELSE (ARRAY['Zebra','zebra','Äpfel','apfel','Apfel','äpfel','Öl','ol','straße','strasse',
    'a-b','ab','a b','','co-op','coop','Ünïcode','résumé','resume','Resume','ø','o','z','å','é'])[1 + g % 25] ||
    CASE WHEN g % 3 = 0 THEN '' ELSE (g % 40)::text END END AS w FROM generate_series(1, 4000) g) x;
CREATE TABLE col_doris (LIKE col_heap) USING doris;
INSERT INTO col_doris SELECT * FROM col_heap;
ANALYZE col_heap;
ANALYZE col_doris;

-- The number of rows in which the answers over the two tables differ, their places counted too.
CREATE FUNCTION col_differ(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE differing bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM (SELECT row_number() OVER () AS place, r::text FROM (%1$s) r) d '
                 'FULL JOIN (SELECT row_number() OVER () AS place, h::text FROM (%2$s) h) h ON d.place = h.place '
                 'WHERE d.r IS DISTINCT FROM h.h', format(query, 'col_doris'), format(query, 'col_heap')) INTO differing;
  RETURN differing;
END $$;

EXPLAIN (COSTS OFF) SELECT id, s FROM col_doris ORDER BY s, id DESC;
EXPLAIN (COSTS OFF) SELECT s, v FROM col_doris WHERE s > 'o' ORDER BY v COLLATE col_upper, s LIMIT 5;
EXPLAIN (COSTS OFF) SELECT min(s), max(v) FROM col_doris;
EXPLAIN (COSTS OFF) SELECT s, count(*) FROM col_doris GROUP BY s ORDER BY s;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM col_doris ORDER BY l, id;

SELECT col_differ('SELECT id, s FROM %s ORDER BY s, id');
SELECT col_differ('SELECT id, s FROM %s ORDER BY s DESC NULLS LAST, id DESC');
SELECT col_differ('SELECT id, v, s FROM %s ORDER BY k DESC, v NULLS FIRST, s DESC, id');
SELECT col_differ('SELECT id, p FROM %s ORDER BY p, id');
SELECT col_differ('SELECT id, b FROM %s ORDER BY b DESC, id');
SELECT col_differ('SELECT id, c FROM %s ORDER BY c COLLATE "de-x-icu", id');
SELECT col_differ('SELECT id, s FROM %s ORDER BY s COLLATE col_upper, id');
SELECT col_differ('SELECT id, s FROM %s ORDER BY s COLLATE "C", id');
SELECT col_differ('SELECT id, s FROM %s ORDER BY upper(s || v COLLATE "de-x-icu"), id');
SELECT col_differ('SELECT s, v, id FROM %s ORDER BY s, id LIMIT 17 OFFSET 300');
SELECT col_differ('SELECT s, v, id FROM %s ORDER BY k, v DESC, id LIMIT 40');
SELECT col_differ('SELECT v, count(*), min(s), max(s), min(c COLLATE "sv-x-icu"), max(b) FROM %s GROUP BY v ORDER BY v DESC');
SELECT col_differ('SELECT k, min(s), max(v) FROM %s GROUP BY k ORDER BY k');
SELECT col_differ('SELECT DISTINCT s FROM %s ORDER BY s');
SELECT col_differ('SELECT DISTINCT ON (s) s, id FROM %s ORDER BY s, id DESC');
SELECT col_differ('SELECT id, s FROM %s WHERE s BETWEEN ''apfel'' AND ''Öl'' ORDER BY id');
SELECT col_differ('SELECT id FROM %s WHERE s < v COLLATE "de-x-icu" OR p >= ''z'' OR c > ''Ä'' COLLATE "sv-x-icu" ORDER BY id');
SELECT col_differ('SELECT id, greatest(s, ''o''), least(v, ''Z'', ''a'') FROM %s ORDER BY id');
SELECT col_differ('SELECT id, CASE WHEN k = 1 THEN ''x'' ELSE s END AS e FROM %s ORDER BY e, id');
SELECT col_differ('SELECT min(CASE WHEN k = 1 THEN ''x'' ELSE s END), max(coalesce(v, ''Å'')) FROM %s');
SELECT col_differ('SELECT id, rank() OVER (ORDER BY s), min(v) OVER (PARTITION BY k ORDER BY s DESC),
  max(s) OVER (PARTITION BY v ORDER BY id ROWS 3 PRECEDING) FROM %s ORDER BY id');
SELECT col_differ('SELECT s FROM %1$s UNION SELECT v COLLATE "de-x-icu" FROM %1$s ORDER BY 1');
SELECT col_differ('SELECT a.s, b.id FROM %1$s a JOIN %1$s b ON a.s = b.c COLLATE "de-x-icu" AND a.s > b.s WHERE a.id < 200 AND b.id < 400 ORDER BY a.s, b.id, a.id');
SELECT col_differ('SELECT l, count(*) FROM %s GROUP BY l ORDER BY lower(min(c COLLATE "C")), l');
SELECT col_differ('SELECT count(*) FROM %s WHERE l = ''APFEL'' OR l > ''z''');
-- The order is C's, letter case is not.
SELECT col_differ('SELECT id, upper(c COLLATE col_case), initcap(c COLLATE col_case), c COLLATE col_case ILIKE ''Ä%%'' FROM %s ORDER BY id');
-- Beyond memory, and in small batches.
SET doris.work_mem = '64kB';
-- One column by several collations.
SELECT col_differ('SELECT k::numeric, min(c COLLATE "C"), min(c COLLATE "en-x-icu"), max(c COLLATE "de-x-icu") FROM %s GROUP BY 1 ORDER BY 1');
SELECT col_differ('SELECT min(DISTINCT c COLLATE "C"), min(DISTINCT c COLLATE "en-x-icu") FROM %s');
SELECT col_differ('SELECT c, avg(id) FROM %s GROUP BY c ORDER BY c COLLATE "en-x-icu", c COLLATE "C" LIMIT 20');
SET doris.batch_rows = 7;
SELECT col_differ('SELECT s, v, id FROM %s ORDER BY s, v DESC, id');
SELECT col_differ('SELECT s, max(v), count(*) FROM %s GROUP BY s ORDER BY s DESC');
SELECT col_differ('SELECT s, id FROM %s ORDER BY s DESC, id LIMIT 30');
RESET doris.work_mem;
RESET doris.batch_rows;
DROP TABLE col_heap, col_doris;
DROP FUNCTION col_differ;
