-- regexp_replace in the engine, where the pattern matches in one way only, beside PostgreSQL's own.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA engine_patterns;
SET search_path = engine_patterns, public;
CREATE TABLE urls (id int, url text) USING doris;
INSERT INTO urls SELECT g, (ARRAY['http://example.com/a/b', 'https://www.example.org/', 'https://www./x', 'https://www.', 'ftp://x/y',
  '', 'http://ünïcode.example/ä' || chr(10) || 'b', 'http:///x', 'https://www.www.www/', 'abbcc', 'aab', 'äöü', 'abc12', NULL])[1 + g % 14]
  FROM generate_series(1, 20000) g;
VACUUM FULL urls;
ANALYZE urls;

CREATE FUNCTION engine_patterns.replaced(pattern text, replacement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; answers text[]; answer text; mode text; native boolean := false;
  query text := format('SELECT regexp_replace(url, %L, %L) AS k, count(*) FROM urls GROUP BY 1', pattern, replacement);
BEGIN
  FOREACH mode IN ARRAY ARRAY['off', 'on'] LOOP
    PERFORM set_config('doris.enable_vectorization', mode, true);
    EXECUTE format('SELECT string_agg(x::text, '' '' ORDER BY x::text COLLATE "C") FROM (%s) x', query) INTO answer;
    answers := answers || answer;
  END LOOP;
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    native := native OR line LIKE '%Engine%Aggregate%';
  END LOOP;
  RETURN NEXT pattern || CASE WHEN native THEN ': native, ' ELSE ': PostgreSQL, ' END
    || CASE WHEN answers[1] = answers[2] THEN 'same answer' ELSE 'DIFFERENT: ' || answers[1] || ' / ' || answers[2] END;
END $$;

SELECT engine_patterns.replaced('^https?://(?:www\.)?([^/]+)/.*$', '\1');
SELECT engine_patterns.replaced('^https?://(?:www\.)?([^/]+)/.*$', '<\&|\1|\\>');
SELECT engine_patterns.replaced('^a?b*c+$', '[\&]');
SELECT engine_patterns.replaced('^([a-c]+)([0-9]*)$', '\2\1');
SELECT engine_patterns.replaced('^(.)(..)$', '\2\1');
SELECT engine_patterns.replaced('^(a?)(.*)$', '\1:\2');
SELECT engine_patterns.replaced('^(?:aa)?(a?)([^a].*)$', '\1:\2');
SELECT engine_patterns.replaced('^$', 'empty');
SELECT engine_patterns.replaced('^.*$', '');
-- What may match in several ways, or says more.
SELECT engine_patterns.replaced('https?', 'x');
SELECT engine_patterns.replaced('^(a|b)+', 'x');
SELECT engine_patterns.replaced('^.*/.*$', 'x');
SELECT engine_patterns.replaced('^a{1,2}b.*$', 'x');
SELECT engine_patterns.replaced('^(?:a?b)?.*?$', 'x');
SELECT engine_patterns.replaced('^\w+://(.*)$', '\1');
SELECT regexp_replace(url, '^(h)', '\2') FROM urls WHERE id = 14;
SELECT regexp_replace(url, '^(', '') FROM urls WHERE id = 14;
DROP SCHEMA engine_patterns CASCADE;
