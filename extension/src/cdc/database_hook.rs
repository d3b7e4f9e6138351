// SPDX-License-Identifier: Apache-2.0
//! Makes room for commands that need a database to themselves: DROP DATABASE, CREATE DATABASE from it as a template,
//! renaming it, moving it. Its workers are stopped first and start again soon after, if it is still there.
use super::session::wait;
use super::shared_state::{self, now_us};
use crate::compact::shared_state as compaction;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Workers of the database stay away this long.
const AWAY_US: i64 = 10_000_000;
const PATIENCE_STEPS: usize = 500;

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hook; to be called once, while libraries are preloaded.
pub(crate) fn install() {
    // SAFETY: libraries are loaded by one process, before any statement runs.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

/// Errors of the statement pass through this frame untouched, with their position and context, which a guard
/// would lose. Nothing in it needs dropping.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const std::ffi::c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are passed on as they came.
    unsafe {
        before((*statement).utilityStmt);
        let next = PREVIOUS.unwrap_or(crate::pg::raw::standard_ProcessUtility);
        next(
            statement,
            text,
            read_only,
            context,
            params,
            environment,
            receiver,
            completion,
        );
    }
}

/// Clears the database that a statement needs to itself.
#[pg_guard]
unsafe extern "C-unwind" fn before(statement: *mut pg_sys::Node) {
    // SAFETY: nodes of the kind their tag says.
    unsafe {
        if (*statement).type_ == pg_sys::NodeTag::T_TransactionStmt {
            let kind = (*statement.cast::<pg_sys::TransactionStmt>()).kind;
            if kind == pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED {
                super::query_rewrite::commits_prepared();
            }
        }
    }
    // SAFETY: a statement's node.
    let database = unsafe { claimed_database(statement) };
    if database != pg_sys::InvalidOid {
        clear(u32::from(database));
    }
}

/// The database a statement needs to itself, if the user may do that to it.
unsafe fn claimed_database(statement: *mut pg_sys::Node) -> pg_sys::Oid {
    // SAFETY: nodes of the kind their tag says.
    unsafe {
        let name = match (*statement).type_ {
            pg_sys::NodeTag::T_DropdbStmt => (*statement.cast::<pg_sys::DropdbStmt>()).dbname,
            pg_sys::NodeTag::T_CreatedbStmt => {
                template_of((*statement.cast::<pg_sys::CreatedbStmt>()).options)
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                (*statement.cast::<pg_sys::AlterDatabaseStmt>()).dbname
            }
            pg_sys::NodeTag::T_RenameStmt => {
                let rename = statement.cast::<pg_sys::RenameStmt>();
                if (*rename).renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                    return pg_sys::InvalidOid;
                }
                (*rename).subname
            }
            _ => return pg_sys::InvalidOid,
        };
        if name.is_null() {
            return pg_sys::InvalidOid;
        }
        let database = pg_sys::get_database_oid(name, true);
        let own = database != pg_sys::InvalidOid && owns(database);
        if own {
            database
        } else {
            pg_sys::InvalidOid
        }
    }
}

unsafe fn template_of(options: *mut pg_sys::List) -> *mut std::ffi::c_char {
    // SAFETY: the options are DefElem nodes.
    unsafe {
        let count = if options.is_null() {
            0
        } else {
            (*options).length
        };
        for i in 0..count {
            let option = pg_sys::list_nth(options, i).cast::<pg_sys::DefElem>();
            if CStr::from_ptr((*option).defname) == c"template" && !(*option).arg.is_null() {
                return pg_sys::defGetString(option);
            }
        }
        std::ptr::null_mut()
    }
}

unsafe fn owns(database: pg_sys::Oid) -> bool {
    // SAFETY: reads the catalogue for the current user.
    unsafe {
        #[cfg(feature = "pg15")]
        let owns = pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        let owns =
            pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
        owns
    }
}

/// Stops the database's workers and waits until they are gone.
fn clear(db: u32) {
    for _ in 0..PATIENCE_STEPS {
        let mut pids = compaction::suspend_workers(db, now_us() + AWAY_US);
        shared_state::write(|b| {
            for entry in b.entries.iter_mut().filter(|e| e.sync != 0 && e.db == db) {
                entry.not_before_us = entry
                    .not_before_us
                    .max(shared_state::monotonic_us() + AWAY_US);
                pids.extend(
                    [entry.worker_pid, entry.decoder_pid]
                        .into_iter()
                        .filter(|p| *p != 0),
                );
            }
        });
        if pids.is_empty() {
            return;
        }
        pids.into_iter().for_each(shared_state::terminate);
        wait(10);
    }
}
