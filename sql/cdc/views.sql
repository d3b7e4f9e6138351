-- SPDX-License-Identifier: Apache-2.0
-- What a process waits for, and who holds it up; NULL if it waits for no lock. Names are shown as the search path has them.
CREATE FUNCTION doris._lock_awaited(pid int) RETURNS text LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
  SELECT CASE l.locktype WHEN 'relation' THEN 'a lock on ' || l.relation::regclass
              WHEN 'transactionid' THEN 'transaction ' || l.transactionid || ' to end'
              ELSE 'a lock (' || l.locktype || ')' END
         || COALESCE(', held up by process ' || nullif(array_to_string(array_remove(pg_blocking_pids(l.pid), 0), ', '), ''), '')
  FROM pg_locks l WHERE l.pid = $1 AND NOT l.granted LIMIT 1;
END;

-- A role sees its own syncs, and those of roles it is a member of: an error may quote whole rows, so no function of the
-- query's is called with other syncs (security_barrier). Connection strings are never shown.
CREATE VIEW doris.syncs WITH (security_barrier) AS
SELECT s.name, s.owner::regrole AS owner, s.connection IS NULL AS local, s.wanted, s.state,
       p.worker_pid, p.received_lsn, p.applied_lsn, p.flushed_lsn,
       CASE WHEN s.connection IS NULL AND p.applied_lsn IS NOT NULL
            THEN greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), p.applied_lsn), 0)
            WHEN p.applied_lsn IS NOT NULL AND p.source_lsn IS NOT NULL
            THEN greatest(pg_wal_lsn_diff(p.source_lsn, p.applied_lsn), 0) END AS lag_bytes,
       p.last_commit_at, p.applied_at,
       CASE WHEN p.worker_pid IS NULL THEN NULL
            -- The clock may have been set back since.
            WHEN p.oldest_commit_at IS NOT NULL THEN greatest(extract(epoch FROM clock_timestamp() - p.oldest_commit_at), 0)
            WHEN p.last_commit_at IS NOT NULL THEN 0 END AS lag_seconds,
       p.rows_applied, p.transactions_applied, p.batches_applied,
       CASE WHEN p.worker_pid IS NOT NULL THEN round(p.rows_per_second) END AS rows_per_second,
       CASE WHEN s.connection IS NULL
            THEN (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), r.restart_lsn) FROM pg_replication_slots r
                  WHERE r.slot_name = 'pg_doris_' || (SELECT oid FROM pg_database WHERE datname = current_database())
                      || '_' || s.id) ELSE p.retained_bytes END AS retained_bytes,
       s.tables, s.schemas, s.publication, s.target_schema,
       COALESCE(doris._lock_awaited(p.worker_pid), CASE WHEN p.making_slot THEN 'the source to make the replication slot, when the transactions that run there have ended' END)
            AS waiting_for,
       COALESCE(p.problem, s.last_error) AS last_error, s.error_at, s.retries, s.options, s.created_at
FROM doris.sync s LEFT JOIN doris.sync_progress() p ON p.sync = s.id
WHERE pg_has_role(s.owner, 'USAGE');

CREATE VIEW doris.sync_tables WITH (security_barrier) AS
SELECT s.name AS sync, t.source_name AS source, nullif(t.target, 0)::regclass AS target,
       CASE WHEN t.state = 'init' AND t.copy_started_at IS NOT NULL AND t.copy_finished_at IS NULL THEN 'copying'
            WHEN t.state = 'copied' THEN 'copying' ELSE t.state END AS state,
       CASE WHEN t.state = 'init' AND c.source IS NOT NULL THEN c.rows ELSE t.rows_copied END AS rows_copied,
       t.rows_expected,
       t.copy_started_at, t.copy_finished_at, t.copies, t.snapshot_lsn, t.key_columns, t.leaves_out,
       COALESCE(doris._lock_awaited(c.process), CASE WHEN c.awaited IS NOT NULL THEN 'transaction ' || c.awaited || ' of the source to end' ||
            COALESCE((SELECT ', of process ' || l.pid FROM pg_locks l WHERE l.locktype = 'transactionid' AND l.granted
                AND l.mode = 'ExclusiveLock' AND l.transactionid::text::bigint = c.awaited % 4294967296
                AND s.connection IS NULL AND l.pid IS NOT NULL LIMIT 1), '') END) AS waiting_for,
       t.last_error, t.error_at
FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync
    LEFT JOIN doris.sync_copies() c ON c.sync = t.sync AND c.source = t.source
WHERE pg_has_role(s.owner, 'USAGE');

GRANT SELECT ON doris.syncs, doris.sync_tables TO PUBLIC;
REVOKE ALL ON FUNCTION doris.sync_table(regclass, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION doris.create_sync(text, text, text[], text[], text, text, jsonb, jsonb) FROM PUBLIC;
