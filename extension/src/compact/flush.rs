// SPDX-License-Identifier: Apache-2.0
//! Heap rows become a segment.
//!
//! 1. Rows that the snapshot sees and nobody holds are read, encoded and written.
//! 2. The move map is filed and index entries are made. Nobody can find the new rows yet.
//! 3. Each heap row is deleted, unless somebody has locked or changed it meanwhile: then it stays, and its copy is born
//!    dead. Who wants such a row now waits for this transaction.
//! 4. The segment is registered. The transaction commits at once.
use super::job::{Job, JobResult};
use super::output::{Output, Rows};
use super::pause;
use crate::heap_call;
use crate::pg::toast::Version;
use crate::pg::{heapam, raw};
use crate::store::moves::Filer;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::block_of;
use pgrx::pg_sys;

/// Rows moved in one transaction: those who want to change one wait for all of them to be retired.
pub const ROWS_MAX: u32 = 1 << 18;

/// How far through the heap a run of steps is: blocks before are not read again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    block: u32,
    /// All of it was read.
    pub at_end: bool,
    /// Rows were changed or locked while they were moved, and stay where they are.
    pub changed: bool,
}

/// Moves heap rows from a place on. `None`, with the transaction to be rolled back, when there were none to move.
pub fn heap_rows(job: &Job, place: &mut Place) -> Option<JobResult> {
    let (rows, sources) = read(job, place);
    if rows.count == 0 {
        return None;
    }
    let count = u64::from(rows.count);
    let mut output = Output::write(job, rows, 1);
    pause::at("written");
    file(job, &sources, &output.targets);
    output.index(job);
    pause::at("indexed");
    let cid = job.cid();
    for (at, source) in sources.iter().enumerate() {
        if heapam::delete_now(job.rel, *source, cid) != pg_sys::TM_Result::TM_Ok {
            output.mark_dead(output.targets[at]);
            place.changed = true;
        }
        pgrx::check_for_interrupts!();
    }
    if output.alive() == 0 {
        return None;
    }
    pause::at("retired");
    let registration = RegistrationLock::acquire(&job.toast, Mode::Exclusive);
    output.register(job, &registration);
    drop(registration);
    pause::at("published");
    raw::widen_predicate_locks(job.rel);
    // SAFETY: an open relation. Its deletes were counted.
    unsafe { pg_sys::pgstat_count_heap_insert(job.rel, output.alive() as i64) };
    crate::am::relation::ensure_first_block(job.rel);
    Some(JobResult {
        inputs: 0,
        input_rows: count,
        input_bytes: 0,
        outputs: 1,
        output_rows: output.alive(),
        output_bytes: output.bytes(),
    })
}

/// Reads rows that nobody holds, and where they are; in the order of the heap, from a place on, which becomes that of
/// the next step. Its first block is read again.
fn read(job: &Job, place: &mut Place) -> (Rows, Vec<pg_sys::ItemPointerData>) {
    let mut rows = Rows::new(job);
    let mut sources = Vec::new();
    let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
        | pg_sys::ScanOptions::SO_ALLOW_STRAT
        | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
    // SAFETY: a scan of the heap half with a slot of the heap's type, both ended here.
    unsafe {
        let none = std::ptr::null_mut();
        let scan = heap_call!(scan_begin(
            job.rel,
            job.snapshot,
            0,
            none,
            std::ptr::null_mut(),
            flags
        ));
        let blocks = (*(scan as *mut pg_sys::HeapScanDescData)).rs_nblocks;
        // VACUUM may have cut off blocks since the last step.
        let from = place.block.min(blocks.saturating_sub(1));
        pg_sys::heap_setscanlimits(scan, from, blocks - from);
        let ops = &raw const pg_sys::TTSOpsBufferHeapTuple;
        let slot = pg_sys::MakeSingleTupleTableSlot((*job.rel).rd_att, ops);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while rows.count < ROWS_MAX && !rows.is_full() {
            if !heap_call!(scan_getnextslot(scan, forward, slot)) {
                place.at_end = true;
                break;
            }
            place.block = block_of(&(*slot).tts_tid);
            if Version::of(slot).locked() {
                continue;
            }
            pg_sys::slot_getallattrs(slot);
            rows.push((*slot).tts_values, (*slot).tts_isnull);
            sources.push((*slot).tts_tid);
            job.tick(sources.len() as u64);
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        heap_call!(scan_end(scan));
    }
    (rows, sources)
}

fn file(job: &Job, sources: &[pg_sys::ItemPointerData], targets: &[u64]) {
    let mut filer = Filer::begin(job.rel, &job.toast, job.cid());
    let mut at = 0;
    for block in sources.chunk_by(|a, b| block_of(a) == block_of(b)) {
        let items = block.iter().map(|source| source.ip_posid);
        let moved: Vec<(u16, u64)> = items.zip(targets[at..].iter().copied()).collect();
        filer.block(block_of(&block[0]), &moved);
        at += block.len();
    }
    filer.finish();
}
