-- SPDX-License-Identifier: Apache-2.0
CREATE VIEW doris.compactions WITH (security_barrier) AS
SELECT c.oid::regclass AS "table", r.kind, r.state,
       timestamptz '2000-01-01 00:00:00+00' + r.started_us * interval '1 microsecond' AS started,
       coalesce(r.took_us * interval '1 microsecond',
                pg_catalog.clock_timestamp() - timestamptz '2000-01-01 00:00:00+00' - r.started_us * interval '1 microsecond')
           AS duration,
       r.input_segments, r.input_rows, r.input_bytes, r.output_segments, r.output_rows, r.output_bytes,
       r.error
  FROM doris.compactions_of_database() r
  JOIN pg_catalog.pg_class c ON c.oid = r.relation;
COMMENT ON VIEW doris.compactions IS 'compactions that run or have run since the server started, of tables that you may read';
GRANT SELECT ON doris.compactions TO PUBLIC;
