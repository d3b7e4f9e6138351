// SPDX-License-Identifier: Apache-2.0
//! Segments become larger ones, without their deleted rows.
//!
//! 1. Rows that the snapshot sees are read, encoded and written; the move map is filed, index entries are made.
//! 2. Under the registration lock: if an open transaction has deleted, updated or locked a row of the inputs, the
//!    registration lock is given up and tried again a little later. Otherwise rows that were deleted since the snapshot
//!    are born dead, the inputs are retired and the outputs registered. The transaction commits at once.
use super::job::{Job, JobResult};
use super::output::{Output, Rows};
use super::pause;
use crate::pg::toast::{Toast, Version, XactStatus};
use crate::pg::{self, raw, wait};
use crate::read::cursor::Cursor;
use crate::store::chunk_ids;
use crate::store::delete_bitmaps::{self, Deleter};
use crate::store::directory::FoundSegment;
use crate::store::directory_cache;
use crate::store::entry::Anchor;
use crate::store::moves::{Filer, PLACE_ROWS};
use crate::store::registration_lock::{Mode, RegistrationLock};
use pgrx::pg_sys;

/// How often, and how long apart (milliseconds), a publication is tried while rows are held.
const ATTEMPTS: u32 = 50;
const PAUSE_MS: i64 = 20;

/// What the marks of some segments say.
pub enum Marks {
    /// An open transaction has changed or locked a row.
    Busy,
    /// Rows deleted by transactions that the snapshot does not see, ascending.
    Since(Vec<u64>),
}

/// Looks at the marks of segments by the latest state.
pub fn marks(job: &Job, inputs: &[FoundSegment]) -> Marks {
    let mut since = Vec::new();
    for found in inputs {
        let first = found.entry.first_row;
        let rows = first..first + found.entry.capacity;
        let mut busy = false;
        each_anchor(&job.toast, rows.start, rows.end, |row, version| {
            let anchor = Anchor::decode(version.payload())
                .unwrap_or_else(|e| pg::report_corrupt(job.rel, e));
            if anchor == Anchor::Live {
                busy |= version.locked();
            } else if let Some(deleter) = Deleter::of(version) {
                busy |= deleter.status == XactStatus::InProgress;
                if !version.visible(job.snapshot) {
                    since.push(row);
                }
            }
            !busy
        });
        delete_bitmaps::each(
            job.rel,
            &job.toast,
            rows.start,
            rows.end,
            |version, slice| {
                let of_input = |row: &u64| rows.contains(row);
                if let Some(deleter) = Deleter::of(version) {
                    let mut concerned = Vec::new();
                    slice.each(|row| concerned.push(row));
                    concerned.retain(of_input);
                    if !concerned.is_empty() {
                        busy |= deleter.status == XactStatus::InProgress;
                        if !version.visible(job.snapshot) {
                            since.append(&mut concerned);
                        }
                    }
                }
                !busy
            },
        );
        if busy {
            return Marks::Busy;
        }
    }
    since.sort_unstable();
    since.dedup();
    Marks::Since(since)
}

/// Calls `visit` with every anchor of rows from `first` up to `end`, until it returns false.
pub fn each_anchor(
    toast: &Toast,
    first: u64,
    end: u64,
    mut visit: impl FnMut(u64, &Version) -> bool,
) {
    let mut at = first;
    // Rows may straddle two chunk_ids.
    while at < end {
        let stop = end.min((at >> 31 << 31) + (1 << 31));
        let (chunk_id, low) = chunk_ids::anchor(at);
        let high = chunk_ids::anchor(stop - 1).1;
        let mut on = true;
        toast.scan(chunk_id, low, high, false, |version| {
            on = visit(at + u64::from((version.seq() - low) as u32), version);
            on
        });
        at = if on { stop } else { end };
    }
}

/// Merges segments. `None`, with the transaction to be rolled back, when somebody held their rows too long.
pub fn segments(job: &Job, inputs: &[FoundSegment], level: u8) -> Option<JobResult> {
    if matches!(marks(job, inputs), Marks::Busy) {
        return None;
    }
    let (mut outputs, sources) = write(job, inputs, level);
    pause::at("written");
    let targets: Vec<u64> = outputs
        .iter()
        .flat_map(|o| o.targets.iter().copied())
        .collect();
    file(job, &sources, &targets);
    for output in &outputs {
        output.index(job);
    }
    pause::at("indexed");
    let registration = lock_when_free(job, inputs, |row| {
        // Sources ascend within each input, and inputs ascend.
        if let Ok(at) = sources.binary_search(&row) {
            let output = outputs.iter_mut().find(|o| o.holds(targets[at]));
            output
                .expect("targets are rows of outputs")
                .mark_dead(targets[at]);
        }
    })?;
    publish(job, &registration, inputs, &mut outputs);
    drop(registration);
    pause::at("published");
    raw::widen_predicate_locks(job.rel);
    let mut done = JobResult {
        inputs: inputs.len() as u32,
        ..JobResult::default()
    };
    for input in inputs {
        done.input_rows += u64::from(input.entry.rows);
        done.input_bytes += input.entry.stream_bytes;
    }
    for output in outputs.iter().filter(|o| o.alive() > 0) {
        done.outputs += 1;
        done.output_rows += output.alive();
        done.output_bytes += output.bytes();
    }
    Some(done)
}

/// Reads the inputs and writes the outputs; also returns the row numbers of the rows, as they were read.
fn write(job: &Job, inputs: &[FoundSegment], level: u8) -> (Vec<Output>, Vec<u64>) {
    let natts = job.attrs.len();
    let needed = vec![true; natts];
    let mut values = vec![pg_sys::Datum::from(0); natts];
    let mut nulls = vec![true; natts];
    let toast = Toast::open(job.rel, pg_sys::AccessShareLock as i32);
    let attrs = job.attrs.clone();
    let mut cursor = Cursor::over(job.rel, toast, job.snapshot, attrs, needed, inputs.to_vec());
    let mut rows = Rows::new(job);
    let (mut outputs, mut sources) = (Vec::new(), Vec::new());
    while let Some(row) = cursor.step(true) {
        if rows.is_full() {
            let full = std::mem::replace(&mut rows, Rows::new(job));
            outputs.push(Output::write_full(job, full));
        }
        // SAFETY: the arrays have an element an attribute.
        unsafe {
            cursor.fill(values.as_mut_ptr(), nulls.as_mut_ptr());
            rows.push(values.as_ptr(), nulls.as_ptr());
        }
        sources.push(row.0);
        job.tick(sources.len() as u64);
    }
    if rows.count > 0 {
        outputs.push(Output::write(job, rows, level));
    }
    (outputs, sources)
}

fn file(job: &Job, sources: &[u64], targets: &[u64]) {
    let mut filer = Filer::begin(job.rel, &job.toast, job.cid());
    let mut at = 0;
    for stretch in sources.chunk_by(|a, b| a / PLACE_ROWS == b / PLACE_ROWS) {
        let positions = stretch.iter().map(|row| (row % PLACE_ROWS) as u16);
        let moved: Vec<(u16, u64)> = positions.zip(targets[at..].iter().copied()).collect();
        filer.stretch(stretch[0], &moved);
        at += stretch.len();
    }
    filer.finish();
}

/// Takes the registration lock at a moment when no open transaction has a mark on the inputs, and hands out the rows
/// deleted since the snapshot. `None` when that moment did not come.
fn lock_when_free(
    job: &Job,
    inputs: &[FoundSegment],
    mut since: impl FnMut(u64),
) -> Option<RegistrationLock> {
    for _ in 0..ATTEMPTS {
        let registration = RegistrationLock::acquire(&job.toast, Mode::Exclusive);
        if let Marks::Since(rows) = marks(job, inputs) {
            rows.into_iter().for_each(&mut since);
            return Some(registration);
        }
        drop(registration);
        wait::sleep(wait::MARKS, PAUSE_MS);
    }
    None
}

/// Retires the inputs and registers the outputs.
fn publish(
    job: &Job,
    registration: &RegistrationLock,
    inputs: &[FoundSegment],
    outputs: &mut [Output],
) {
    let cid = job.cid();
    directory_cache::invalidate(registration, job.rel, &job.toast);
    for input in inputs {
        if !job.toast.delete(input.at, cid) {
            pg::report_corrupt(job.rel, "a segment was retired by two compactions");
        }
        let key = (chunk_ids::RETIRED, input.entry.key());
        let (payload, null) = (input.entry.encode(), std::ptr::null_mut());
        job.toast.insert(key, &payload, cid, 0, null);
    }
    for output in outputs {
        output.register(job, registration);
    }
}
