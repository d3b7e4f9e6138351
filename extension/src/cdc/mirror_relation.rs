// SPDX-License-Identifier: Apache-2.0
//! A mirror open for writing, as the executor opens a table that a statement changes; and what a mirror looks like.
use super::own_columns::OwnColumn;
use super::relation_shell::check_kind;
use super::row_converter::Converter;
use crate::keys::merge::Rule;
use crate::pg::{self, attributes};
use pgrx::prelude::*;

/// What a mirror looks like.
pub(crate) struct Shape {
    /// Ordinary columns by name.
    pub(crate) columns: Vec<(String, i16)>,
    /// The primary key's index and columns.
    pub(crate) key: Option<(pg_sys::Oid, Vec<i16>)>,
}

impl Shape {
    /// The names of the key's columns.
    pub(crate) fn key_names(&self) -> Option<Vec<String>> {
        let (_, numbers) = self.key.as_ref()?;
        let name = |number: &i16| self.columns.iter().find(|(_, n)| n == number);
        numbers.iter().map(|n| Some(name(n)?.0.clone())).collect()
    }
}

/// Looks at a mirror that is about to be written to.
pub(crate) fn describe(target: u32) -> Result<Shape, String> {
    look(target, pg_sys::RowExclusiveLock)
}

/// Looks at a mirror.
pub(crate) fn shape_of(target: u32) -> Result<Shape, String> {
    look(target, pg_sys::AccessShareLock)
}

fn look(target: u32, lock: u32) -> Result<Shape, String> {
    // SAFETY: a transaction is open; the relation is closed again, its lock kept until the end of the transaction.
    unsafe {
        let rel = pg_sys::try_table_open(target.into(), lock as i32);
        if rel.is_null() {
            return Err("the mirror has been dropped".into());
        }
        let stored = attributes::live(rel).filter(|attribute| attribute.attgenerated == 0);
        let columns = stored
            .map(|attribute| (pg::attribute_name(attribute), attribute.attnum))
            .collect();
        let index = crate::pg::compat::primary_key(rel);
        let mut key = None;
        if index != pg_sys::InvalidOid {
            let index_rel = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let form = (*index_rel).rd_index;
            let numbers = std::slice::from_raw_parts(
                (*form).indkey.values.as_ptr(),
                (*form).indnkeyatts as usize,
            );
            key = Some((index, numbers.to_vec()));
            pg_sys::index_close(index_rel, pg_sys::AccessShareLock as i32);
        }
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        Ok(Shape { columns, key })
    }
}

/// A mirror open for writing.
pub(super) struct MirrorRelation {
    pub(super) rel: pg_sys::Relation,
    pub(super) estate: *mut pg_sys::EState,
    pub(super) rri: *mut pg_sys::ResultRelInfo,
    pub(super) epq: pg_sys::EPQState,
    pub(super) new: *mut pg_sys::TupleTableSlot,
    pub(super) old: *mut pg_sys::TupleTableSlot,
    /// Converted values live here until it is reset.
    pub(super) values: pg_sys::MemoryContext,
    pub(super) converters: Vec<Converter>,
    /// What new rows get in columns that the source does not have, once one has been written.
    pub(super) own: Option<Vec<OwnColumn>>,
    pub(super) scratch: Vec<u8>,
    /// Rows that were not where they should have been.
    pub(super) missing: u64,
}

impl MirrorRelation {
    pub(super) unsafe fn open(target: u32, attributes: &[i16]) -> Self {
        // SAFETY: the steps of the executor's start for one result relation; the caller has a transaction open.
        unsafe {
            let rel = pg_sys::table_open(target.into(), pg_sys::RowExclusiveLock as i32);
            check_kind(rel);
            check_rights(rel);
            let estate = pg_sys::CreateExecutorState();
            let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            init_range_table(estate, rel);
            let rri =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*rri).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(rri, rel, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(rri, false);
            let mut epq: pg_sys::EPQState = std::mem::zeroed();
            init_epq(&mut epq, estate);
            let values = pg_sys::AllocSetContextCreateInternal(
                (*estate).es_query_cxt,
                c"doris mirror values".as_ptr(),
                0,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let converters = attributes
                .iter()
                .map(|a| Converter::new((*rel).rd_att, *a))
                .collect();
            let tables = &raw mut (*estate).es_tupleTable;
            let (new, old) = (
                pg_sys::table_slot_create(rel, tables),
                pg_sys::table_slot_create(rel, tables),
            );
            pg_sys::MemoryContextSwitchTo(before);
            MirrorRelation {
                rel,
                estate,
                rri,
                epq,
                new,
                old,
                values,
                converters,
                own: None,
                scratch: Vec::new(),
                missing: 0,
            }
        }
    }

    pub(super) unsafe fn close(mut self) {
        // SAFETY: closes what `open` opened; the lock stays until the end of the transaction.
        unsafe {
            pg_sys::EvalPlanQualEnd(&mut self.epq);
            pg_sys::ExecCloseIndices(self.rri);
            pg_sys::ExecResetTupleTable((*self.estate).es_tupleTable, false);
            pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    /// Whether an insert replaces the row of its key.
    pub(super) fn upserts(&self) -> bool {
        // SAFETY: plain call.
        let cid = unsafe { pg_sys::GetCurrentCommandId(false) };
        if Rule::of(self.rel, cid).is_some_and(|rule| !rule.replaces()) {
            error!("a mirror cannot have a model that does more than replace the row of a key");
        }
        crate::keys::model::of(self.rel).is_some()
    }

    /// Runs one pass as a command of its own, which sees the passes before.
    pub(super) unsafe fn pass(&mut self, f: impl FnOnce(&mut Self)) {
        // SAFETY: the frame PostgreSQL puts around every command that writes.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            pg_sys::UpdateActiveSnapshotCommandId();
            pg_sys::AfterTriggerBeginQuery();
            (*self.estate).es_snapshot = pg_sys::GetActiveSnapshot();
            (*self.estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            let before = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            f(self);
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::AfterTriggerEndQuery(self.estate);
            (*self.estate).es_snapshot = std::ptr::null_mut();
            pg_sys::PopActiveSnapshot();
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Whether no other index than this one keeps rows from having something in common.
    pub(super) unsafe fn has_one_unique_index(&self, key: pg_sys::Oid) -> bool {
        // SAFETY: the executor has opened the relation's indexes.
        unsafe {
            (0..(*self.rri).ri_NumIndices as usize).all(|at| {
                let index = *(*self.rri).ri_IndexRelationDescs.add(at);
                let form = (*index).rd_index;
                (*index).rd_id == key || !(*form).indisunique && !(*form).indisexclusion
            })
        }
    }

    /// Whether the source has all columns that the mirror stores: a row that is written anew loses nothing.
    pub(super) fn fills_all_columns(&self) -> bool {
        attributes::all(self.rel).enumerate().all(|(at, column)| {
            column.attisdropped
                || column.attgenerated != 0
                || self.converters.iter().any(|c| c.attribute == at)
        })
    }

    pub(super) unsafe fn has_triggers(&self) -> bool {
        // SAFETY: the executor's description of the relation.
        unsafe { !(*self.rri).ri_TrigDesc.is_null() }
    }
}

/// The rights an ordinary statement would need; row security would filter silently, so it is refused.
unsafe fn check_rights(rel: pg_sys::Relation) {
    // SAFETY: the relation is open.
    unsafe {
        let (oid, user) = ((*rel).rd_id, pg_sys::GetUserId());
        let name = pg::relation_name(rel);
        for right in [
            pg_sys::ACL_INSERT,
            pg_sys::ACL_UPDATE,
            pg_sys::ACL_DELETE,
            pg_sys::ACL_SELECT,
        ] {
            if pg_sys::pg_class_aclcheck(oid, user, right as pg_sys::AclMode)
                != pg_sys::AclResult::ACLCHECK_OK
            {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                    format!("the owner of mirror \"{name}\" lacks rights on it")
                );
            }
        }
        let enabled = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
        if pg_sys::check_enable_rls(oid, pg_sys::InvalidOid, false) == enabled {
            error!("mirror \"{name}\" has row security that applies to its owner");
        }
    }
}

unsafe fn init_range_table(estate: *mut pg_sys::EState, rel: pg_sys::Relation) {
    // SAFETY: nodes in the executor state's memory.
    unsafe {
        let rte =
            pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast::<pg_sys::RangeTblEntry>();
        (*rte).type_ = pg_sys::NodeTag::T_RangeTblEntry;
        (*rte).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*rte).relid = (*rel).rd_id;
        (*rte).relkind = (*(*rel).rd_rel).relkind;
        (*rte).rellockmode = pg_sys::AccessShareLock as i32;
        let list = pg_sys::lappend(std::ptr::null_mut(), rte.cast());
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(estate, list);
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            let mut permissions = std::ptr::null_mut();
            pg_sys::addRTEPermissionInfo(&mut permissions, rte);
            #[cfg(not(feature = "pg18"))]
            pg_sys::ExecInitRangeTable(estate, list, permissions);
            #[cfg(feature = "pg18")]
            pg_sys::ExecInitRangeTable(estate, list, permissions, pg_sys::bms_make_singleton(1));
        }
    }
}

unsafe fn init_epq(epq: &mut pg_sys::EPQState, estate: *mut pg_sys::EState) {
    let (plan, marks) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: no plan: rows are never rechecked.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::EvalPlanQualInit(epq, estate, plan, marks, -1);
        #[cfg(not(feature = "pg15"))]
        pg_sys::EvalPlanQualInit(epq, estate, plan, marks, -1, std::ptr::null_mut());
    }
}
