// SPDX-License-Identifier: Apache-2.0
//! Rows that an UPDATE or MERGE moves to another partition.
//!
//! PostgreSQL deletes such a row in the one partition and inserts it into the other; the access method is told of an
//! insertion only. It is no load: where another row has the key, it is an error, as an UPDATE of the key is in one
//! table, and no sequence, delete sign or remembered delete has a say. So the nodes that write below partitioned tables
//! are noted when their statement starts, under its command id, and asked what they are at when a row comes. Those that
//! insert are noted where a statement has several: it is not seen which of them gives a row.
//!
//! A worker that applies changes of a subscription runs no such node. It deletes the row and inserts it within one
//! command, in which it does nothing else.
use crate::pg::{self, raw};
use pgrx::pg_sys::{self, CmdType, NodeTag};
use pgrx::{pg_guard, PgSqlErrorCode};
use std::cell::{Cell, RefCell};

/// A node of a running statement that writes rows.
struct Writer {
    /// The table that its statement names.
    relid: pg_sys::Oid,
    cid: pg_sys::CommandId,
    state: *mut pg_sys::ModifyTableState,
}

/// Where a row that comes to a partition is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowOrigin {
    Inserted,
    Moved,
    Neither,
}

thread_local! {
    static WRITERS: RefCell<Vec<Writer>> = const { RefCell::new(Vec::new()) };
    /// The table at the top, and the command: where a worker that applies changes has last deleted a row.
    static APPLIED: Cell<Option<(pg_sys::Oid, pg_sys::CommandId)>> = const { Cell::new(None) };
}

/// Forgets the command of a transaction or subtransaction that ends. Nodes are forgotten with the memory they are in.
pub fn forget() {
    APPLIED.set(None);
}

/// Notes a node that may move rows, or that inserts beside one that may.
///
/// # Safety
/// A plan state of a query that was just started, or null.
pub unsafe fn register_writer(
    node: *mut pg_sys::PlanState,
    cid: pg_sys::CommandId,
    beside_others: bool,
) {
    // SAFETY: node tags say what a node is; its target is open. The callback is in the memory of the query, as the node
    // is.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_ModifyTableState {
            return;
        }
        let state = node as *mut pg_sys::ModifyTableState;
        let rel = (*(*state).rootResultRelInfo).ri_RelationDesc;
        let parted = (*(*rel).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
        let noted = match (*state).operation {
            CmdType::CMD_UPDATE | CmdType::CMD_MERGE => parted,
            CmdType::CMD_INSERT => beside_others && (parted || (*(*rel).rd_rel).relispartition),
            _ => false,
        };
        if !noted {
            return;
        }
        let context = (*(*node).state).es_query_cxt;
        let size = std::mem::size_of::<pg_sys::MemoryContextCallback>();
        let callback =
            pg_sys::MemoryContextAllocZero(context, size) as *mut pg_sys::MemoryContextCallback;
        (*callback).func = Some(ended);
        (*callback).arg = state.cast();
        WRITERS.with_borrow_mut(|writers| {
            writers.push(Writer {
                relid: pg::relation_id(rel),
                cid,
                state,
            });
        });
        pg_sys::MemoryContextRegisterResetCallback(context, callback);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn ended(state: *mut std::ffi::c_void) {
    WRITERS.with_borrow_mut(|writers| writers.retain(|w| w.state.cast() != state));
}

/// Where the row is from that a node is writing.
///
/// # Safety
/// The node of a running statement.
unsafe fn origin_of(state: *mut pg_sys::ModifyTableState) -> RowOrigin {
    // SAFETY: passed on to the caller. MERGE evaluates the conditions and values of a row without a match over no row
    // of the target, those of others over the row they have found.
    unsafe {
        let routes = !(*state).mt_partition_tuple_routing.is_null();
        match (*state).operation {
            CmdType::CMD_INSERT => RowOrigin::Inserted,
            // Routing is prepared for the first row that moves.
            CmdType::CMD_UPDATE if routes => RowOrigin::Moved,
            CmdType::CMD_MERGE if routes => {
                match (*(*state).ps.ps_ExprContext).ecxt_scantuple.is_null() {
                    true => RowOrigin::Inserted,
                    false => RowOrigin::Moved,
                }
            }
            _ => RowOrigin::Neither,
        }
    }
}

/// Whether a row that comes to a table under a command was moved there from another partition.
pub fn is_moved(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> bool {
    // SAFETY: an open relation.
    let parted = unsafe { (*(*rel).rd_rel).relispartition };
    if !parted || WRITERS.with_borrow(Vec::is_empty) && APPLIED.get().is_none() {
        return false;
    }
    let line = line_of(rel);
    let states: Vec<_> = WRITERS.with_borrow(|writers| {
        let of_row = |w: &&Writer| w.cid == cid && line.contains(&w.relid);
        writers.iter().filter(of_row).map(|w| w.state).collect()
    });
    // SAFETY: nodes are noted while they exist.
    let origins: Vec<RowOrigin> = states.iter().map(|s| unsafe { origin_of(*s) }).collect();
    let inserts = origins.contains(&RowOrigin::Inserted);
    if !origins.contains(&RowOrigin::Moved) {
        let top = line.last().copied().unwrap_or(pg::relation_id(rel));
        return !inserts && APPLIED.get() == Some((top, cid));
    }
    if inserts {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "a statement cannot both insert rows into table \"{}\" and move rows there from other partitions",
                pg::relation_name(rel)
            ),
            "Use two statements.",
        );
    }
    true
}

/// A worker that applies changes has deleted a row.
pub fn deleted(rel: pg_sys::Relation, cid: pg_sys::CommandId) {
    // SAFETY: a variable of this process, an open relation, a plain call.
    let applies = unsafe {
        pg_sys::MyBackendType == pg_sys::BackendType::B_BG_WORKER
            && (*(*rel).rd_rel).relispartition
            && pg_sys::IsLogicalWorker()
    };
    if applies {
        APPLIED.set(line_of(rel).last().map(|top| (*top, cid)));
    }
}

/// A table, and the partitioned tables that it is a part of, the nearest first.
fn line_of(rel: pg_sys::Relation) -> Vec<pg_sys::Oid> {
    let mut line = vec![pg::relation_id(rel)];
    // SAFETY: a catalogue look-up.
    while unsafe { pg_sys::get_rel_relispartition(line[line.len() - 1]) } {
        line.push(raw::partition_parent(line[line.len() - 1]));
    }
    line
}
