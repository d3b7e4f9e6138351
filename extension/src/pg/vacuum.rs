// SPDX-License-Identifier: Apache-2.0
//! VACUUM from both sides: run by a worker, and writing under a transaction id in the midst of one.
use pgrx::{pg_sys, PgMemoryContexts};

/// PostgreSQL's number of ProcArrayLock (lwlocknames.txt, lwlocklist.h), the same in all versions.
const PROC_ARRAY_LOCK: usize = 4;

/// Makes the transaction of a VACUUM one that may write. While it vacuums, snapshots take its transaction id for one
/// that has ended, and nobody keeps anything for its own snapshot. From here on it is as any other; what is written
/// must be in a subtransaction that begins later, as snapshots may have passed the id that it has by now.
pub fn become_ordinary() {
    let flag = pg_sys::PROC_IN_VACUUM as u8;
    // SAFETY: this backend's own flags, and their copy for others, which are written under this lock alone.
    unsafe {
        if (*pg_sys::MyProc).statusFlags & flag == 0 {
            return;
        }
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(PROC_ARRAY_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        (*pg_sys::MyProc).statusFlags &= !flag;
        let place = (*pg_sys::MyProc).pgxactoff as usize;
        *(*pg_sys::ProcGlobal).statusFlags.add(place) = (*pg_sys::MyProc).statusFlags;
        pg_sys::LWLockRelease(lock);
    }
}

/// Whether transaction ids run out, so that PostgreSQL warns of it.
pub fn is_near_wraparound() -> bool {
    // SAFETY: shared variables that are read as PostgreSQL's own code reads them without their lock: a limit that is a
    // moment old does no harm.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let limit = (*pg_sys::ShmemVariableCache).xidWarnLimit;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let limit = (*pg_sys::TransamVariables).xidWarnLimit;
        let next = pg_sys::ReadNextFullTransactionId().value as u32;
        limit != pg_sys::InvalidTransactionId
            && pg_sys::TransactionIdFollowsOrEquals(pg_sys::TransactionId::from(next), limit)
    }
}

/// A transaction id with its epoch. It is one of the last two billion.
pub fn full(xid: pg_sys::TransactionId) -> u64 {
    // SAFETY: plain call.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
    let back = (next as u32).wrapping_sub(xid.into_inner());
    next.saturating_sub(u64::from(back))
}

/// Vacuums one relation, unless somebody is at work on it: in a transaction of its own, from one that has done nothing
/// and has no snapshot. Its TOAST relation is another.
pub fn run(relid: pg_sys::Oid) {
    #[cfg(feature = "pg15")]
    let options = pg_sys::VACOPT_VACUUM | pg_sys::VACOPT_SKIP_LOCKED;
    #[cfg(not(feature = "pg15"))]
    let options = pg_sys::VACOPT_VACUUM
        | pg_sys::VACOPT_SKIP_LOCKED
        | pg_sys::VACOPT_PROCESS_MAIN
        | pg_sys::VACOPT_SKIP_DATABASE_STATS;
    let mut params = pg_sys::VacuumParams {
        options,
        // As without options: settings and the table's own decide.
        freeze_min_age: -1,
        freeze_table_age: -1,
        multixact_freeze_min_age: -1,
        multixact_freeze_table_age: -1,
        log_min_duration: -1,
        // No workers for its indexes.
        nworkers: -1,
        ..Default::default()
    };
    // SAFETY: at the top level of a worker. What VACUUM is given outlives the transactions in which it works.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let memory = PgMemoryContexts::new("doris vacuum");
        pg_sys::MemoryContextSwitchTo(memory.value());
        let none = std::ptr::null_mut();
        let relation = pg_sys::makeVacuumRelation(none, relid, std::ptr::null_mut());
        let list = pg_sys::lappend(std::ptr::null_mut(), relation.cast());
        pg_sys::MemoryContextSwitchTo(before);
        let strategy = std::ptr::null_mut();
        #[cfg(feature = "pg15")]
        pg_sys::vacuum(list, &mut params, strategy, true);
        #[cfg(not(feature = "pg15"))]
        pg_sys::vacuum(list, &mut params, strategy, memory.value(), true);
    }
}
