// SPDX-License-Identifier: Apache-2.0
//! What is behind the view `doris.compactions`.
use super::shared_state;
use crate::pg;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys};

/// Compactions of this database that run, and those that have run since the server started.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn compactions_of_database() -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(kind, String),
        name!(state, String),
        name!(started_us, i64),
        name!(took_us, Option<i64>),
        name!(input_segments, i32),
        name!(input_rows, i64),
        name!(input_bytes, i64),
        name!(output_segments, i32),
        name!(output_rows, i64),
        name!(output_bytes, i64),
        name!(error, Option<String>),
    ),
> {
    let seen = shared_state::runs()
        .into_iter()
        .filter(|run| may_read(run.relid));
    let rows = seen.map(|run| {
        let failed = run.error();
        let state = match (run.took_us, &failed) {
            (..0, _) => "running",
            (_, None) => "done",
            (_, Some(_)) => "failed",
        };
        // It may quote values of an index expression.
        let owned = crate::pg::compat::owns_relation(run.relid.into());
        let error = failed.filter(|_| owned);
        let kind = shared_state::KINDS[usize::from(run.kind) % shared_state::KINDS.len()];
        (
            pg_sys::Oid::from(run.relid),
            kind.to_string(),
            state.to_string(),
            run.started_us,
            (run.took_us >= 0).then_some(run.took_us),
            run.done.inputs as i32,
            run.done.input_rows as i64,
            run.done.input_bytes as i64,
            run.done.outputs as i32,
            run.done.output_rows as i64,
            run.done.output_bytes as i64,
            error,
        )
    });
    TableIterator::new(rows.collect::<Vec<_>>())
}

fn may_read(relid: u32) -> bool {
    // SAFETY: catalogue look-ups; the table may be gone.
    unsafe {
        let relid = pg_sys::Oid::from(relid);
        let right = pg_sys::ACL_SELECT as pg_sys::AclMode;
        pg::table_name_if_any(relid).is_some()
            && pg_sys::pg_class_aclcheck(relid, pg_sys::GetUserId(), right)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}

pgrx::extension_sql_file!(
    "../../../sql/compactions.sql",
    name = "compactions_view",
    requires = [compactions_of_database, "inspect_views"]
);
