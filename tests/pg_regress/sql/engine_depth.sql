-- Queries that are nested more deeply than anybody writes: the engine leaves to PostgreSQL what its own recursions could
-- not finish, and answers as over a heap.
CREATE SCHEMA depth;
SET search_path TO depth;
CREATE TABLE d (id int, b bigint, f boolean, s text) USING doris;
CREATE TABLE h (LIKE d) USING heap;
INSERT INTO h SELECT i, i % 7 - 3, i % 3 = 0, 's' || i % 5 FROM generate_series(1, 5000) i;
INSERT INTO d SELECT * FROM h;

-- What `query` gives over both tables: '$t' is the table.
CREATE FUNCTION both_give(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answers text[] := '{}';
  answer text;
  name text;
BEGIN
  FOREACH name IN ARRAY '{d,h}'::text[] LOOP
    BEGIN
      EXECUTE format('SELECT md5(string_agg(r::text, '','' ORDER BY r::text)) FROM (%s) r', replace(query, '$t', name))
        INTO answer;
    EXCEPTION WHEN OTHERS THEN
      answer := SQLSTATE;
    END;
    answers := answers || answer;
  END LOOP;
  RETURN CASE WHEN answers[1] = answers[2] THEN CASE WHEN length(answer) = 5 THEN answer ELSE 'the same' END
              ELSE format('differ: %s', answers) END;
END $$;

-- An expression in which `wrap` is around itself, so many times; '$x' is the inner one.
CREATE FUNCTION nested(wrap text, innermost text, levels int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT repeat(split_part(wrap, '$x', 1), levels) || innermost || repeat(split_part(wrap, '$x', 2), levels)
$$;

CREATE TABLE shapes (name text, wrap text, innermost text);
INSERT INTO shapes VALUES
  ('abs', 'abs($x)', 'b'), ('plus', '$x + b', 'b'), ('plus, to the right', '(b + $x)', 'b'), ('append', '$x || s', 's'),
  ('case', 'CASE WHEN b > 0 THEN $x ELSE 0 END', 'b'), ('case, in conditions', 'CASE WHEN $x > 0 THEN b ELSE 1 END', 'b'),
  ('coalesce', 'coalesce($x, b)', 'b'), ('not and', 'NOT (f AND $x)', 'f'), ('and or', '(f AND (b > 0 OR $x))', 'f'),
  ('greatest', 'greatest(b, $x)', 'b'), ('cast', '$x::int::bigint', 'b'), ('external', 'sign($x)', 'b::float8'),
  ('a function of PostgreSQL''s', 'md5($x)', 's'), ('null', '(($x) IS NULL)', 'f');

-- In the targetlist, in WHERE, below and in an aggregate, as a key of groups, of joins and of a sort.
SELECT name, levels,
  both_give(format('SELECT id, %s FROM $t WHERE id < 50', e)) AS target,
  both_give(format('SELECT id FROM $t WHERE id < 50 AND (%s) IS NOT NULL', e)) AS condition,
  both_give(format('SELECT count(%s) FROM $t WHERE id < 50', e)) AS aggregated,
  both_give(format('SELECT %s, count(*) FROM $t WHERE id < 50 GROUP BY 1', e)) AS grouped,
  both_give(format('SELECT %s FROM $t WHERE id < 50 ORDER BY 1 LIMIT 10', e)) AS sorted
FROM shapes, unnest('{150,250,900}'::int[]) levels, nested(wrap, innermost, levels) e
WHERE levels < 900 OR name IN ('abs', 'append', 'case', 'plus') ORDER BY 1, 2;
SELECT both_give(format('SELECT id, %s FROM $t WHERE id < 5', nested('abs($x)', 'b', 3000)));
SELECT both_give(format('SELECT a.id FROM $t a JOIN $t b ON a.id = %s WHERE b.id < 9 AND b.b >= 0',
                        nested('abs($x)', 'b.id', 1500)));

-- Long, not deep.
SELECT both_give(format('SELECT count(*) FROM $t WHERE %s', string_agg(format('id <> %s', i), ' AND ')))
FROM generate_series(1, 5000) i;
SELECT both_give(format('SELECT count(*) FROM $t WHERE %s', string_agg(format('id = %s AND b <> %s', i, i % 7), ' OR ')))
FROM generate_series(1, 5000) i;
SELECT both_give(format('SELECT count(*) FROM $t WHERE id IN (%s)', string_agg(i::text, ', ')))
FROM generate_series(1, 5000) i;
SELECT both_give(format('SELECT count(*) FROM $t WHERE id IN (%s)', string_agg('b + ' || i, ', ')))
FROM generate_series(1, 5000) i;
SELECT both_give(format('SELECT count(*), sum(id) FROM (%s) u', string_agg('SELECT id FROM $t WHERE id = ' || i, ' UNION ALL ')))
FROM generate_series(1, 300) i;

-- Deep plans.
SELECT both_give(nested('SELECT id, b + 1 AS b FROM ($x OFFSET 0) q', 'SELECT id, b FROM $t', 300));
SELECT both_give(nested('SELECT b, count(*) AS id FROM ($x) q GROUP BY b', 'SELECT id, b FROM $t', 200));
SELECT both_give('SELECT count(*) FROM $t t0' || string_agg(format(' JOIN $t t%s ON t%s.id = t0.id', i, i), '')
                 || ' WHERE t0.id < 10')
FROM generate_series(1, 60) i;
SELECT both_give('SELECT id FROM $t WHERE id < 9' || string_agg(' EXCEPT SELECT id FROM $t WHERE id = ' || i, ''))
FROM generate_series(10, 200) i;

-- It says so.
CREATE FUNCTION not_vectorised(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
    IF line ~ 'Not Vectorised' THEN RETURN NEXT line; END IF;
  END LOOP;
END $$;
SELECT not_vectorised(format('SELECT %s FROM d', nested('abs($x)', 'b', 300)));

DROP SCHEMA depth CASCADE;
