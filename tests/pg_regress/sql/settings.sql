-- docs/settings.md names every setting, with its type, default and context.
\set page `cat "$PG_ABS_SRCDIR/../../docs/settings.md"`
CREATE TEMP TABLE described AS
  SELECT cells[1] AS name, cells[2] AS type, cells[3] AS initial, cells[4] AS context, cells[5] AS meaning
  FROM regexp_split_to_table(:'page', '\n') AS line,
    regexp_match(line, '^\| `(doris\.[a-z_]+)` \| ([^|]+) \| ([^|]+) \| ([a-z]+) \| ([^|]+) \|$') AS cells
  WHERE line LIKE '| `doris.%';
-- Defaults are written with the largest unit that leaves a whole number; pg_settings counts in its own.
CREATE TEMP TABLE units (base text, unit text, factor int);
INSERT INTO units VALUES ('kB', 'kB', 1), ('kB', 'MB', 1024), ('kB', 'GB', 1048576), ('MB', 'MB', 1), ('MB', 'GB', 1024),
  ('ms', 'ms', 1), ('ms', 's', 1000), ('s', 's', 1), ('s', 'min', 60), ('s', 'h', 3600), ('s', 'd', 86400);
CREATE TEMP TABLE registered AS
  SELECT name, context, unit, boot_val,
    CASE vartype WHEN 'enum' THEN 'enum: ' || array_to_string(enumvals, ', ')
      WHEN 'bool' THEN 'boolean'
      ELSE vartype || coalesce(' in ' || unit, '') || ', ' || min_val || ' to ' || max_val END AS type
  FROM pg_settings WHERE name LIKE 'doris.%';
SELECT coalesce(d.name, r.name) AS setting,
  CASE WHEN d.name IS NULL THEN 'is missing in docs/settings.md' WHEN r.name IS NULL THEN 'does not exist'
    ELSE format('is %s, %s, %s', r.type, r.boot_val, r.context) END AS problem
FROM described d FULL JOIN registered r USING (name)
LEFT JOIN units u ON u.base = r.unit AND u.unit = substring(d.initial, '[a-zA-Z]+$')
WHERE d.name IS NULL OR r.name IS NULL OR d.type <> r.type OR d.context <> r.context OR
  CASE WHEN u.unit IS NULL THEN d.initial
    ELSE (substring(d.initial, '^-?[0-9]+')::bigint * u.factor)::text END IS DISTINCT FROM r.boot_val
ORDER BY 1;
SELECT count(*) > 30 AS many, count(*) = count(DISTINCT name) AS once, bool_and(meaning ~ '\.$') AS sentences FROM described;
