-- SPDX-License-Identifier: Apache-2.0
-- Of a barrier: no function of a query's is called with rows that the query's role may not see.
CREATE VIEW doris.segments WITH (security_barrier) AS
SELECT c.oid::regclass AS "table", s.*
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'doris'
 CROSS JOIN LATERAL doris.segments_if_free(c.oid) s
 WHERE pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace);
COMMENT ON VIEW doris.segments IS 'segments of the columnar tables that you may read';

CREATE VIEW doris.columns WITH (security_barrier) AS
SELECT c.oid::regclass AS "table", t.attname AS "column", t.atttypid::regtype AS type,
       pg_catalog.array_to_string(s.encodings, ', ') AS encodings, s.bytes, s.raw_bytes,
       pg_catalog.round(s.raw_bytes::numeric / nullif(s.bytes, 0), 2) AS ratio
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'doris'
 CROSS JOIN LATERAL doris.columns_if_free(c.oid) s
  JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attnum = s.attnum
 WHERE pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace);
COMMENT ON VIEW doris.columns IS 'how the columns of the columnar tables that you may read are stored';

CREATE VIEW doris.tables WITH (security_barrier) AS
SELECT c.oid::regclass AS "table", s.segments, s.segment_rows, s.deleted_rows, s.segment_bytes, s.heap_bytes, s.total_bytes,
       (SELECT pg_catalog.array_agg(o) FROM pg_catalog.unnest(c.reloptions) o) AS options
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'doris'
 CROSS JOIN LATERAL doris.sizes_if_free(c.oid) s
 WHERE pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace);
COMMENT ON VIEW doris.tables IS 'the columnar tables that you may read';

GRANT USAGE ON SCHEMA doris TO PUBLIC;
GRANT SELECT ON doris.tables, doris.segments, doris.columns TO PUBLIC;
