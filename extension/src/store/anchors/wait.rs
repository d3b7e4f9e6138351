// SPDX-License-Identifier: Apache-2.0
//! What a row's deleter means to who wants the row: waiting, or what happened to it.
use super::claim::Request;
use super::state::successor;
use crate::pg::toast::{self, XactStatus};
use crate::pg::{self, compat};
use crate::store::delete_bitmaps::Deleter;
use crate::store::entry::Anchor;
use crate::store::tid::RowNumber;
use pg_sys::TM_Result::{
    self, TM_BeingModified, TM_Deleted, TM_SelfModified, TM_Updated, TM_WouldBlock,
};
use pgrx::pg_sys;

/// Answers for a row that was deleted: waits when its writer is still open, else says what happened.
pub(super) fn wait_or_report(
    main: pg_sys::Relation,
    row: RowNumber,
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
    (deleter, how): (Deleter, Anchor),
) -> Result<(), TM_Result::Type> {
    let Deleter { xid, status, cmin } = deleter;
    tmfd.ctid = successor(row, how);
    tmfd.xmax = xid;
    tmfd.cmax = pg_sys::InvalidCommandId;
    tmfd.traversed = false;
    match status {
        XactStatus::Own => {
            tmfd.cmax = cmin;
            Err(if cmin >= request.cid {
                TM_SelfModified
            } else {
                TM_Result::TM_Invisible
            })
        }
        XactStatus::Committed => Err(if how == Anchor::Deleted {
            TM_Deleted
        } else {
            TM_Updated
        }),
        XactStatus::Aborted => Ok(()),
        XactStatus::InProgress => match request.wait {
            pg_sys::LockWaitPolicy::LockWaitBlock => {
                toast::wait_for(xid, main, row.to_tid(), request.oper);
                Ok(())
            }
            policy => {
                // SAFETY: plain call.
                if unsafe { compat::try_wait_for_transaction(xid) } {
                    return Ok(());
                }
                if policy == pg_sys::LockWaitPolicy::LockWaitError {
                    report_busy(main);
                }
                Err(if request.oper == pg_sys::XLTW_Oper::XLTW_Lock {
                    TM_WouldBlock
                } else {
                    TM_BeingModified
                })
            }
        },
    }
}

/// Raises the error of a lock that cannot be had at once.
pub fn report_busy(main: pg_sys::Relation) -> ! {
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        format!(
            "could not obtain lock on row in relation \"{}\"",
            pg::relation_name(main)
        )
    );
}
