-- SPDX-License-Identifier: Apache-2.0
-- What a partial update gives to a column that it leaves out and that must not be null; never stored.
CREATE FUNCTION _unnamed(anyelement, oid) RETURNS anyelement
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'doris_unnamed';

-- Rows that each name their own columns.
CREATE FUNCTION upsert_json(target regclass, rows jsonb) RETURNS bigint
  LANGUAGE c STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'doris_upsert_json';
COMMENT ON FUNCTION upsert_json(regclass, jsonb) IS
  'upserts JSON objects into a unique key table; each changes the columns that it names';
CREATE FUNCTION upsert_json(target regclass, rows text) RETURNS bigint
  LANGUAGE sql STRICT PARALLEL UNSAFE
  RETURN doris.upsert_json(target, CASE
    WHEN pg_catalog.ltrim(rows, E' \t\r\n') LIKE '[%' THEN rows::pg_catalog.jsonb
    ELSE (SELECT coalesce(pg_catalog.jsonb_agg(l.line::pg_catalog.jsonb ORDER BY l.place), '[]')
            FROM pg_catalog.regexp_split_to_table(rows, E'\r?\n') WITH ORDINALITY l(line, place)
           WHERE l.line ~ '[^[:space:]]')
    END);
COMMENT ON FUNCTION upsert_json(regclass, text) IS 'upserts a JSON array, or JSON objects one a line';
