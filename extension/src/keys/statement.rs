// SPDX-License-Identifier: Apache-2.0
//! Which columns the running statements name: for partial updates, and for tables that want a sequence.
//!
//! The access method is told of rows, not of statements. But it is told each row's command id, and a command has
//! one target of a name: so an INSERT or COPY that leaves out columns notes its columns under (table, command id)
//! when it starts, and [`named`] finds them. A partitioned table's columns are noted by name and found by its
//! partitions.
use super::model as key_model;
use super::partition_move;
use crate::options::{model, settings};
use crate::pg::{self, attributes, compat, raw};
use crate::plan::hook::is_doris_table;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{PgList, PgSqlErrorCode};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// The columns that a command names.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    names: BTreeSet<String>,
    partial: bool,
}

struct Noted {
    relid: pg_sys::Oid,
    cid: pg_sys::CommandId,
    /// The transaction nesting level it runs at.
    level: i32,
    columns: Rc<Columns>,
}

/// What a command that leaves out columns names.
pub struct Named {
    /// One for each attribute.
    pub columns: Vec<bool>,
    /// It is a partial update.
    pub partial: bool,
}

/// What PostgreSQL holds against the rows of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Row security is on for the user in whose name the rows are inserted: stored rows may be hidden from them.
    pub row_security: bool,
    /// Conditions are checked on the row in the slot once it is stored: the WITH CHECK OPTION of a view.
    pub check_option: bool,
    /// The rows are shown to a trigger of a partitioned table, of which the partition that stores them does not know.
    pub new_table: bool,
}

/// By table and command: the transaction nesting level that it runs at, and what is noted of it.
type Watched = HashMap<(pg_sys::Oid, pg_sys::CommandId), (i32, Watch)>;

thread_local! {
    static NOTED: RefCell<Vec<Noted>> = const { RefCell::new(Vec::new()) };
    static WATCHED: RefCell<Watched> = RefCell::default();
    /// A table, and the transaction nesting level that asked for it.
    static PARTIAL: Cell<(pg_sys::Oid, i32)> = const { Cell::new((pg_sys::InvalidOid, 0)) };
}

/// The next INSERT that is started into a table is a partial update, whatever the setting says; none that its triggers
/// run.
pub fn next_is_partial(relid: pg_sys::Oid) {
    // SAFETY: plain call.
    PARTIAL.set((relid, unsafe { pg_sys::GetCurrentTransactionNestLevel() }));
}

fn record_columns(relid: pg_sys::Oid, cid: pg_sys::CommandId, columns: Columns) {
    // SAFETY: plain call.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    let clash = NOTED.with_borrow_mut(|noted| {
        let found = noted.iter().find(|n| n.relid == relid && n.cid == cid);
        let clash = found.is_some_and(|n| *n.columns != columns);
        if found.is_none() {
            noted.push(Noted {
                relid,
                cid,
                level,
                columns: Rc::new(columns),
            });
        }
        clash
    });
    if clash {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "a statement cannot insert into different columns of one columnar table",
            "Use two statements.",
        );
    }
}

/// Forgets what statements of the subtransaction that rolls back noted, or of the transaction that ends.
pub fn forget(subtransaction: bool) {
    // SAFETY: plain call; while a subtransaction aborts, its level is the current one.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    partition_move::forget();
    // What rolls back further inside, such as a default's function as it is planned, does not take it back.
    if !subtransaction || PARTIAL.get().1 >= level {
        PARTIAL.set((pg_sys::InvalidOid, 0));
    }
    // A rolled-back command's id may be used again.
    NOTED.with_borrow_mut(|noted| noted.retain(|n| subtransaction && n.level < level));
    WATCHED.with_borrow_mut(|watched| watched.retain(|_, w| subtransaction && w.0 < level));
}

/// What a command names of a table; `None` when it gives whole rows.
pub fn named(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<Named> {
    let columns = recorded_columns(pg::relation_id(rel), cid)?;
    let mut named = Named {
        columns: vec![false; attributes::count(rel)],
        partial: columns.partial,
    };
    for attribute in attributes::live(rel) {
        let at = attribute.attnum as usize - 1;
        named.columns[at] = columns.names.contains(&pg::attribute_name(attribute));
    }
    Some(named)
}

/// Whether a command leaves out columns of a table.
pub fn leaves_out_columns(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> bool {
    recorded_columns(pg::relation_id(rel), cid).is_some()
}

fn recorded_columns(relid: pg_sys::Oid, cid: pg_sys::CommandId) -> Option<Rc<Columns>> {
    if NOTED.with_borrow(Vec::is_empty) {
        return None;
    }
    of_parents(relid, |relid| {
        NOTED.with_borrow(|noted| {
            let found = noted.iter().find(|n| n.relid == relid && n.cid == cid);
            found.map(|n| Rc::clone(&n.columns))
        })
    })
}

/// What is found for a table, or else for the partitioned tables that it is a partition of.
fn of_parents<T>(mut relid: pg_sys::Oid, find: impl Fn(pg_sys::Oid) -> Option<T>) -> Option<T> {
    loop {
        let found = find(relid);
        // SAFETY: a catalogue look-up.
        if found.is_some() || unsafe { !pg_sys::get_rel_relispartition(relid) } {
            return found;
        }
        relid = raw::partition_parent(relid);
    }
}

/// What PostgreSQL holds against the rows that a command inserts into a table.
pub fn watch(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Watch {
    if WATCHED.with_borrow(HashMap::is_empty) {
        return Watch::default();
    }
    let found = of_parents(pg::relation_id(rel), |relid| {
        WATCHED.with_borrow(|watched| watched.get(&(relid, cid)).map(|w| w.1))
    });
    found.unwrap_or_default()
}

fn note_watch(relid: pg_sys::Oid, cid: pg_sys::CommandId, watch: Watch) {
    // SAFETY: plain call.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    WATCHED.with_borrow_mut(|watched| {
        let (_, known) = watched
            .entry((relid, cid))
            .or_insert((level, Watch::default()));
        // Parts of one statement may insert in the names of several users.
        known.row_security |= watch.row_security;
        known.check_option |= watch.check_option;
        known.new_table |= watch.new_table;
    });
}

/// Whether a partial update of a table is running.
pub fn partial_update_runs(relid: pg_sys::Oid) -> bool {
    NOTED.with_borrow(|noted| noted.iter().any(|n| n.relid == relid && n.columns.partial))
}

/// Whether a column must get a value and has none by itself.
pub fn lacks_default(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    attribute.attnotnull && !attribute.attisdropped && !gets_default(attribute)
}

/// Whether a column that is not named gets a value: by a default of its own or of its type, or as an identity column.
pub fn gets_default(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    attribute.atthasdef
        || attribute.attidentity != 0
        // SAFETY: a catalogue look-up of a type that exists.
        || !unsafe { pg_sys::get_typdefault(attribute.atttypid) }.is_null()
}

/// Notes the columns of the INSERTs of a query that was started, and what is held against their rows.
///
/// # Safety
/// A query descriptor that was started.
pub unsafe fn started(query: *mut pg_sys::QueryDesc) {
    // SAFETY: passed on to the caller.
    unsafe {
        let stmt = (*query).plannedstmt;
        let command = (*stmt).commandType;
        let inserts = command == pg_sys::CmdType::CMD_INSERT
            || command == pg_sys::CmdType::CMD_MERGE
            || (*stmt).hasModifyingCTE;
        let writes = inserts || command == pg_sys::CmdType::CMD_UPDATE;
        if !writes || (*query).estate.is_null() {
            return;
        }
        let estate = (*query).estate;
        let cid = (*estate).es_output_cid;
        let beside_others = (*stmt).hasModifyingCTE;
        partition_move::register_writer((*query).planstate, cid, beside_others);
        for node in PgList::<pg_sys::PlanState>::from_pg((*estate).es_auxmodifytables).iter_ptr() {
            if node != (*query).planstate {
                partition_move::register_writer(node, cid, beside_others);
            }
        }
        if !inserts {
            return;
        }
        plan(stmt, (*stmt).planTree, cid);
        for subplan in PgList::<pg_sys::Plan>::from_pg((*stmt).subplans).iter_ptr() {
            plan(stmt, subplan, cid);
        }
        target((*query).planstate, cid);
        for node in PgList::<pg_sys::PlanState>::from_pg((*estate).es_auxmodifytables).iter_ptr() {
            target(node, cid);
        }
    }
}

unsafe fn plan(stmt: *mut pg_sys::PlannedStmt, plan: *mut pg_sys::Plan, cid: pg_sys::CommandId) {
    // SAFETY: a finished plan; node tags say what a node is.
    unsafe {
        if plan.is_null() || (*plan).type_ != NodeTag::T_ModifyTable {
            return;
        }
        let modify = plan as *mut pg_sys::ModifyTable;
        let operation = (*modify).operation;
        let merges = operation == pg_sys::CmdType::CMD_MERGE;
        if operation != pg_sys::CmdType::CMD_INSERT && !merges {
            return;
        }
        let rte = pg_sys::rt_fetch((*modify).nominalRelation, (*stmt).rtable);
        if may_be_keyed((*rte).relid) {
            let user = compat::check_as_user(stmt, rte);
            let status = pg_sys::check_enable_rls((*rte).relid, user, true);
            let watch = Watch {
                row_security: status == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32,
                check_option: !(*modify).withCheckOptionLists.is_null(),
                new_table: false,
            };
            if watch != Watch::default() {
                note_watch((*rte).relid, cid, watch);
            }
        }
        if merges {
            return;
        }
        let inserted = compat::inserted_columns(stmt, rte);
        insertion((*rte).relid, cid, (*stmt).hasModifyingCTE, |attribute| {
            let member = i32::from(attribute.attnum) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            pg_sys::bms_is_member(member, inserted)
        });
    }
}

/// Notes that the rows that a command inserts into a table are shown to a trigger of it, if it is a partitioned one.
unsafe fn shown(rel: pg_sys::Relation, cid: pg_sys::CommandId) {
    // SAFETY: an open relation.
    if unsafe { (*(*rel).rd_rel).relkind } as u8 == pg_sys::RELKIND_PARTITIONED_TABLE {
        let watch = Watch {
            new_table: true,
            ..Watch::default()
        };
        note_watch(pg::relation_id(rel), cid, watch);
    }
}

/// CHECK constraints of a table hold for the rows that a partial update stores (`keys::merge`), not for those that it
/// gives, in which a column that is not named has a stand-in: PostgreSQL leaves them to us.
unsafe fn target(node: *mut pg_sys::PlanState, cid: pg_sys::CommandId) {
    // SAFETY: a plan state of a query that was just started; node tags say what a node is. Its targets are open.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_ModifyTableState {
            return;
        }
        let modify = node as *mut pg_sys::ModifyTableState;
        let capture = (*modify).mt_transition_capture.as_ref();
        if capture.is_some_and(|capture| capture.tcs_insert_new_table) {
            shown((*(*modify).rootResultRelInfo).ri_RelationDesc, cid);
        }
        let plan = (*node).plan as *mut pg_sys::ModifyTable;
        let inserts = (*modify).operation == pg_sys::CmdType::CMD_INSERT
            && (*plan).onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_NONE;
        let info = (*modify).resultRelInfo;
        let rel = (*info).ri_RelationDesc;
        let relid = pg::relation_id(rel);
        let partial = || recorded_columns(relid, cid).is_some_and(|columns| columns.partial);
        if !inserts || !partial() || !is_doris_table(relid) {
            return;
        }
        if model::of(rel).is_some_and(|keyed| keyed.model == model::Model::Unique) {
            compat::leave_out_checks(info, (*(*modify).ps.state).es_query_cxt);
        }
    }
}

/// Notes the columns of a COPY that is about to run, and what is held against its rows.
///
/// # Safety
/// A utility statement.
pub unsafe fn utility(statement: *mut pg_sys::Node) {
    // SAFETY: the casts follow the node's tag; the list holds strings.
    unsafe {
        if (*statement).type_ != NodeTag::T_CopyStmt {
            return;
        }
        let copy = statement as *mut pg_sys::CopyStmt;
        if !(*copy).is_from || (*copy).relation.is_null() {
            return;
        }
        // The lock that COPY takes itself: a weaker one would have to be made stronger, and could deadlock.
        let relid = pg_sys::RangeVarGetRelidExtended(
            (*copy).relation,
            pg_sys::RowExclusiveLock as i32,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        );
        if relid == pg_sys::InvalidOid {
            return;
        }
        let cid = pg_sys::GetCurrentCommandId(false);
        if pg_sys::get_rel_relkind(relid) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE {
            pg::with_relation(relid, pg_sys::NoLock, |rel| {
                let triggers = (*rel).trigdesc.as_ref();
                if triggers.is_some_and(|triggers| triggers.trig_insert_new_table) {
                    shown(rel, cid);
                }
            });
        }
        if (*copy).attlist.is_null() {
            return;
        }
        let names: Vec<String> = PgList::<pg_sys::Node>::from_pg((*copy).attlist)
            .iter_ptr()
            .map(|node| compat::string_value(node))
            .collect();
        insertion(relid, cid, false, |attribute| {
            names.contains(&pg::attribute_name(attribute))
        });
        if partial_update_runs(relid) {
            refuse_copy_without(relid, &names);
        }
    }
}

/// COPY checks that columns are not NULL before the row meets the stored one.
fn refuse_copy_without(relid: pg_sys::Oid, names: &[String]) {
    let lacking = pg::with_relation(relid, pg_sys::NoLock, |rel| {
        let lacking = attributes::live(rel).find(|attribute| {
            lacks_default(attribute) && !names.contains(&pg::attribute_name(attribute))
        });
        lacking.map(|attribute| (pg::attribute_name(attribute), pg::relation_name(rel)))
    });
    if let Some((column, table)) = lacking {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "COPY cannot leave out column \"{column}\" of table \"{table}\" in a partial update: it must \
                 not be null and has no default"
            ),
            "Use INSERT, or give the column a default.",
        );
    }
}

/// Notes the columns of an insertion into a table, if it leaves out some and the table or its partitions may
/// have a key model; or in any case, where another part of the statement may insert into the same table.
fn insertion(
    relid: pg_sys::Oid,
    cid: pg_sys::CommandId,
    beside_others: bool,
    is_named: impl Fn(&pg_sys::FormData_pg_attribute) -> bool,
) {
    if !may_be_keyed(relid) {
        return;
    }
    let asked = PARTIAL.get().0 == relid;
    if asked {
        PARTIAL.set((pg_sys::InvalidOid, 0));
    }
    let partial = asked || settings::partial_update();
    // The statement has locked the relation.
    let names = pg::with_relation(relid, pg_sys::NoLock, |rel| {
        let wanted = |a: &&pg_sys::FormData_pg_attribute| a.attgenerated == 0;
        let whole = attributes::live(rel).filter(wanted).all(&is_named);
        let noted = !whole || beside_others && partial;
        let named = attributes::live(rel).filter(|attribute| is_named(attribute));
        noted.then(|| named.map(pg::attribute_name).collect::<BTreeSet<_>>())
    });
    if let Some(names) = names {
        record_columns(relid, cid, Columns { names, partial });
    }
}

/// Whether a table or its partitions may have a key model.
fn may_be_keyed(relid: pg_sys::Oid) -> bool {
    // SAFETY: a catalogue look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(relid) } as u8;
    kind == pg_sys::RELKIND_PARTITIONED_TABLE || is_doris_table(relid) && key_model::is_keyed(relid)
}
