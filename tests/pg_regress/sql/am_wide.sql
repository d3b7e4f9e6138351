-- Rows that no page of the row store holds are refused by bulk loads as they are by a heap: else UPDATE and dumps' small
-- INSERTs could not write them.
CREATE SCHEMA am_wide;
SET search_path = am_wide, public;
SET doris.rows_to_heap = 0;
CREATE FUNCTION tried(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE statement; RETURN 'ok'; EXCEPTION WHEN program_limit_exceeded THEN RETURN SQLERRM; END $$;
-- Loads 5 rows of so many columns, some filled and the others NULL, into a new table; then changes them.
CREATE FUNCTION loaded(am text, type text, columns int, filled int, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
  DROP TABLE IF EXISTS w;
  EXECUTE (SELECT format('CREATE TABLE w (%s) USING %I', string_agg(format('c%s %s', c, type), ', ' ORDER BY c), am) FROM generate_series(1, columns) c);
  result := tried((SELECT format('INSERT INTO w SELECT %s FROM generate_series(1, 5) g', string_agg(CASE WHEN c <= filled THEN value ELSE 'NULL' END, ', ' ORDER BY c))
                   FROM generate_series(1, columns) c));
  IF result = 'ok' THEN
    EXECUTE 'SELECT count(*) FROM w WHERE ctid >= ''(2147483648,1)''' INTO result;
    result := result || ' rows in segments, update: ' || tried('UPDATE w SET c1 = c1');
  END IF;
  RETURN result;
END $$;
SELECT type, columns, filled, am, loaded(am, type, columns, filled, value)
FROM (VALUES ('float8', 1100, 1100, 'g'), ('float8', 1100, 1000, 'g'), ('float8', 1100, 998, 'g'), ('int', 1600, 1600, 'g'),
             ('text', 600, 600, 'repeat(md5(g::text), 3)'), ('text', 400, 400, 'repeat(md5(g::text), 3)'), ('text', 600, 600, '''0123456789'''),
             ('text', 400, 400, 'left(md5(g::text), 23)'), ('text', 320, 320, 'left(md5(g::text), 23)'), ('text', 500, 500, 'repeat(''a'', 100)'),
             ('numeric', 1500, 1500, 'g'), ('uuid', 600, 600, 'md5(g::text)::uuid'), ('uuid', 600, 300, 'md5(g::text)::uuid')) v(type, columns, filled, value),
     (VALUES ('heap'), ('doris')) a(am) ORDER BY type, columns, filled, value, am DESC;
-- Wide values themselves are no matter, nor are columns that stay in the row while they are short.
CREATE TABLE long (a text, b text) USING doris;
ALTER TABLE long ALTER b SET STORAGE PLAIN;
INSERT INTO long SELECT repeat(md5(g::text), 1000), 'short' FROM generate_series(1, 10) g;
INSERT INTO long SELECT 'short', repeat(md5(g::text), 300) FROM generate_series(1, 10) g;
SELECT count(*), sum(length(a)) FROM long;
DROP SCHEMA am_wide CASCADE;
