// SPDX-License-Identifier: Apache-2.0
//! Functions for the test suites, which declare them: they are in the library, but not in the extension.
use super::checked;
use crate::pg;
use crate::pg::toast::Toast;
use crate::store::anchors::{self, Request};
use crate::store::delete_bitmaps::{self, Refused};
use crate::store::entry::Anchor;
use crate::store::registration_lock::{Mode, RegistrationLock};
use pgrx::pg_sys;
use pgrx::{pg_extern, PgRelation};

/// Deletes the segment rows with these numbers in bulk, then those that were refused one by one; says what became of
/// the latter.
#[pg_extern(sql = false)]
fn test_delete_in_bulk(table: PgRelation, first: i64, last: i64) -> Vec<String> {
    let rel = checked(&table);
    let toast = Toast::open(rel, pg_sys::RowExclusiveLock as i32)
        .unwrap_or_else(|| pg::report_corrupt(rel, "no column store"));
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let rows: Vec<u64> = (first as u64..=last as u64).collect();
    let registration = RegistrationLock::acquire(&toast, Mode::Exclusive);
    let refused = delete_bitmaps::delete_rows(&registration, rel, &toast, &rows, cid);
    drop(registration);
    refused
        .into_iter()
        .map(|refused| {
            let result = delete_singly(rel, &toast, refused, cid);
            format!("{} {result}", refused.row.0)
        })
        .collect()
}

/// How many entries of segment rows an index has, whoever sees them.
#[pg_extern(sql = false)]
fn test_entries(index: PgRelation) -> i64 {
    super::verify::entries(&index)
}

fn delete_singly(
    rel: pg_sys::Relation,
    toast: &Toast,
    refused: Refused,
    cid: pg_sys::CommandId,
) -> &'static str {
    let request = Request {
        cid,
        wait: pg_sys::LockWaitPolicy::LockWaitBlock,
        oper: pg_sys::XLTW_Oper::XLTW_Delete,
    };
    // SAFETY: plain data.
    let mut tmfd = unsafe { std::mem::zeroed() };
    let mut row = refused.row;
    match anchors::claim(rel, toast, &mut row, request, &mut tmfd) {
        Ok(claim) => {
            anchors::write_tombstone(rel, toast, row, claim, Anchor::Deleted, cid);
            "deleted after waiting"
        }
        Err(pg_sys::TM_Result::TM_Deleted) => "deleted by another",
        Err(pg_sys::TM_Result::TM_Updated) => "updated by another",
        Err(_) => "changed by this transaction",
    }
}

/// Runs a statement, at most until it has returned so many rows (0: all), as procedural languages do; returns how many.
#[pg_extern(sql = false)]
fn test_run(statement: &str, rows: i64) -> i64 {
    let text = std::ffi::CString::new(statement).expect("SQL has no zeroes");
    // SAFETY: connected while it runs.
    unsafe {
        pg_sys::SPI_connect();
        let result = pg_sys::SPI_execute(text.as_ptr(), false, rows as _);
        let count = pg_sys::SPI_processed as i64;
        pg_sys::SPI_finish();
        if result < 0 {
            pgrx::error!("SPI_execute returned {result}");
        }
        count
    }
}
