// SPDX-License-Identifier: Apache-2.0
//! What this process waits for besides PostgreSQL's own locks, as pg_stat_activity shows it: by name from PostgreSQL 17
//! on, before that as `Extension`.
use super::compat;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Worker threads are to finish encoding the columns of a segment.
pub const ENCODING: &CStr = c"DorisEncoding";
/// Transactions are to end that have marked rows of segments which are being merged.
pub const MARKS: &CStr = c"DorisMarks";
/// Compaction is to make room for another segment.
pub const SEGMENTS: &CStr = c"DorisSegments";

/// The process is shown as waiting while this lives.
pub struct Waiting(());

impl Waiting {
    /// Begins to wait.
    pub fn begin(what: &CStr) -> Self {
        set(compat::wait_event(what));
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        set(0);
    }
}

/// As pgstat_report_wait_start and pgstat_report_wait_end have it.
fn set(event: u32) {
    // SAFETY: points to this process's entry, or to a variable of its own before it has one.
    unsafe { std::ptr::write_volatile(pg_sys::my_wait_event_info, event) };
}

/// Sleeps, shown as waiting; wakes early when somebody wants something of the process, and attends to that.
pub fn sleep(what: &CStr, milliseconds: i64) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let event = compat::wait_event(what);
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, event);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
