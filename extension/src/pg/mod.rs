// SPDX-License-Identifier: Apache-2.0
//! The edge to PostgreSQL: everything below wraps raw `pg_sys` calls for the modules above.
//!
//! `names` and `attributes` read names and columns from the catalogue; `raw` declares what pgrx does not bind; `heapam` hands work to PostgreSQL's own heap access method;
//! `heap_rows` reads its rows with the TIDs that indexes have;
//! `toast` reads and writes our tuples in a TOAST relation; `custom` holds what our plan nodes share; `compat` what differs
//! between PostgreSQL's versions; `collation` compares text by locales; `large_pages` is where Rust's memory comes from;
//! `run_hook` tells who asks for a few rows; `vacuum` runs VACUUM, and lets one write.

pub mod attributes;
pub mod collation;
pub mod compat;
pub mod cpu;
pub mod custom;
pub mod heap_rows;
pub mod heapam;
pub mod held;
pub mod key_share;
pub mod large_pages;
mod names;
pub mod pruning;
pub mod raw;
pub mod run_hook;
pub mod toast;
pub mod vacuum;
pub mod wait;

pub use doris_storage::entry::Corrupt;
pub use names::*;
use pgrx::pg_sys;

/// Raises ERRCODE_DATA_CORRUPTED for a relation.
pub fn report_corrupt(rel: pg_sys::Relation, what: impl std::fmt::Display) -> ! {
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!("table \"{}\": {what}", relation_name(rel)),
        "Check the table with doris.verify() and restore it from a backup."
    );
}

/// The OID of an open relation.
#[inline]
pub fn relation_id(rel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: callers pass an open relation.
    unsafe { (*rel).rd_id }
}

/// The fixed part of a catalogue tuple (`GETSTRUCT`).
///
/// # Safety
/// A tuple of the catalogue that `T` describes.
pub unsafe fn form<T>(tuple: pg_sys::HeapTuple) -> *mut T {
    // SAFETY: t_hoff leads to the first attribute.
    unsafe {
        let header = (*tuple).t_data;
        (header as *mut u8).add((*header).t_hoff as usize).cast()
    }
}

/// A varlena of some bytes, in the current memory context.
pub fn varlena(bytes: &[u8]) -> pg_sys::Datum {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    // SAFETY: palloc returns `size` bytes or raises an error (above 1 GB too, so that the length fits an i32).
    unsafe {
        let pointer = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::varlena::set_varsize_4b(pointer, size as i32);
        let content = pointer.cast::<u8>().add(pg_sys::VARHDRSZ);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), content, bytes.len());
        pg_sys::Datum::from(pointer)
    }
}

/// Raises an error that a user can do something about: what is wrong, and a hint. An empty hint is left out.
pub fn refuse(code: pgrx::PgSqlErrorCode, message: impl Into<String>, hint: &str) -> ! {
    let mut report =
        pgrx::pg_sys::panic::ErrorReport::new(code, message.into(), pgrx::function_name!());
    if !hint.is_empty() {
        report = report.set_hint(hint);
    }
    report.report(pgrx::PgLogLevel::ERROR);
    unreachable!("an error was raised")
}
