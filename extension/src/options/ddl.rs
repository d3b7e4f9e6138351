// SPDX-License-Identifier: Apache-2.0
//! Table options through CREATE and ALTER.
//!
//! PostgreSQL refuses options that it does not know, and checks all of a table's options whenever one
//! changes. So a ProcessUtility hook
//! 1. takes our options out of a copy of the statement (and, for ALTER TABLE SET or RESET, out of pg_class),
//! 2. runs the statement, while [`pending`] answers for the tables in the making: CREATE TABLE AS must sort
//!    by a key that is not stored yet,
//! 3. checks the options against the columns that came out of it, and stores them in pg_class.reloptions.
//!
//! What PostgreSQL does to relations in between (inherited columns, partitions, renamed and dropped columns,
//! in whatever way) is told by the object access hook. An error rolls all of it back.
mod apply;
mod prepare;
mod relations;
mod states;

use super::{check, table};
use crate::keys;
use crate::pg::{self, compat, raw};
use pgrx::{pg_guard, pg_sys, PgSqlErrorCode};
use std::cell::RefCell;

type Options = Vec<(String, String)>;

static mut PREV_PROCESS_UTILITY: pg_sys::ProcessUtility_hook_type = None;
static mut PREV_OBJECT_ACCESS: pg_sys::object_access_hook_type = None;

/// A DDL command that is running.
#[derive(Default)]
struct Frame {
    /// The transaction nesting level it runs at.
    level: i32,
    /// The table it creates, and the options to give to it.
    name: Option<String>,
    options: Options,
    /// Relations made since it began.
    created: Vec<pg_sys::Oid>,
    /// Relations altered since it began.
    altered: Vec<pg_sys::Oid>,
    /// Columns altered since it began.
    columns: Vec<Column>,
    /// Constraints made since it began.
    constraints: Vec<pg_sys::Oid>,
    /// It may make foreign keys that were none before: not by making those of a changed column again.
    refers: bool,
    /// Tables that it makes partitions.
    attached: Vec<pg_sys::Oid>,
    /// The table whose options were taken out of pg_class; `options` is what it will have.
    stripped: Option<pg_sys::Oid>,
    /// Where it may change names: those of the aggregates whose states are stored.
    aggregates: Vec<states::Named>,
}

/// A column, with the name and type that it had.
struct Column {
    relid: pg_sys::Oid,
    number: i16,
    name: String,
    type_of: TypeOf,
}

/// A column's type, type modifier and collation.
type TypeOf = (pg_sys::Oid, i32, pg_sys::Oid);

fn type_of(relid: pg_sys::Oid, number: i16) -> TypeOf {
    let mut found = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
    // SAFETY: a column that exists; out parameters on our stack.
    unsafe {
        pg_sys::get_atttypetypmodcoll(relid, number, &mut found.0, &mut found.1, &mut found.2);
    }
    found
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the commands that an error ended: those of the subtransaction that rolls back, or all.
pub fn forget(subtransaction: bool) {
    // SAFETY: plain call; while a subtransaction aborts, its level is the current one.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    FRAMES.with_borrow_mut(|frames| frames.retain(|f| subtransaction && f.level < level));
}

/// Installs the hooks.
///
/// # Safety
/// Called once, while libraries are loaded.
pub unsafe fn install() {
    // SAFETY: passed on to the caller.
    unsafe {
        PREV_PROCESS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
        PREV_OBJECT_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(object_access);
    }
}

/// The options that a running command will store for a relation.
pub fn pending(relid: pg_sys::Oid) -> Option<Options> {
    let candidates: Vec<(Option<String>, Options)> = FRAMES.with_borrow(|frames| {
        let of_relation = |f: &&Frame| {
            f.stripped == Some(relid) || !f.options.is_empty() && f.created.contains(&relid)
        };
        let wanted = frames.iter().rev().filter(of_relation);
        wanted
            .map(|f| (f.name.clone(), f.options.clone()))
            .collect()
    });
    candidates
        .into_iter()
        .find_map(|(name, options)| match name {
            Some(name) => is_table_named(relid, &name).then_some(options),
            None => Some(options),
        })
}

fn is_table_named(relid: pg_sys::Oid, name: &str) -> bool {
    // SAFETY: a catalogue look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(relid) } as u8;
    let table = kind == pg_sys::RELKIND_RELATION || kind == pg_sys::RELKIND_MATVIEW;
    table && pg::table_name_if_any(relid).as_deref() == Some(name)
}

/// Not guarded: an error of the statement passes through as it is, with its position, context and names,
/// which a guard would lose. Nothing in this frame needs dropping.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the hook's arguments are passed on as they came, but for a statement of our own copy.
    unsafe {
        if screened(pstmt) {
            return;
        }
        let copy = before(pstmt);
        let (run, read_only) = if copy.is_null() {
            (pstmt, read_only)
        } else {
            (copy, false)
        };
        let next = PREV_PROCESS_UTILITY.unwrap_or(raw::standard_ProcessUtility);
        next(
            run, query, read_only, context, params, env, dest, completion,
        );
        if !copy.is_null() {
            after();
        }
    }
}

/// Whether a statement about an index is done already: it asks for the key index that a table has.
#[pg_guard]
unsafe extern "C-unwind" fn screened(pstmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: a valid statement; the casts follow its tag.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        match (*statement).type_ {
            pg_sys::NodeTag::T_IndexStmt if extension_exists() => {
                crate::am::index::check_method(statement.cast());
                keys::ddl::is_present(statement.cast())
            }
            pg_sys::NodeTag::T_DropStmt => {
                let drop = statement as *mut pg_sys::DropStmt;
                let index = (*drop).removeType == pg_sys::ObjectType::OBJECT_INDEX;
                if index && extension_exists() {
                    keys::ddl::check_drop(drop);
                }
                false
            }
            _ => false,
        }
    }
}

/// Begins a frame for a statement that creates or alters tables; returns the copy to run, or null.
#[pg_guard]
unsafe extern "C-unwind" fn before(pstmt: *mut pg_sys::PlannedStmt) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the statement is valid; it is copied before it is changed.
    unsafe {
        crate::keys::statement::utility((*pstmt).utilityStmt);
        if !concerns_tables((*pstmt).utilityStmt) || !extension_exists() {
            return std::ptr::null_mut();
        }
        let copy = pg_sys::copyObjectImpl(pstmt.cast()) as *mut pg_sys::PlannedStmt;
        let mut frame = prepare::prepare((*copy).utilityStmt);
        frame.level = pg_sys::GetCurrentTransactionNestLevel();
        FRAMES.with_borrow_mut(|frames| frames.push(frame));
        copy
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn after() {
    apply::apply(FRAMES.with_borrow_mut(Vec::pop).unwrap_or_default());
}

/// Whether a statement creates or alters tables, renames something, or drops indexes of tables.
unsafe fn concerns_tables(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: a utility statement.
    unsafe {
        match (*statement).type_ {
            T_CreateStmt
            | T_CreateTableAsStmt
            | T_AlterTableStmt
            | T_RenameStmt
            | T_AlterObjectSchemaStmt => true,
            T_DropStmt => {
                let drop = statement as *mut pg_sys::DropStmt;
                (*drop).removeType == pg_sys::ObjectType::OBJECT_INDEX && !(*drop).concurrent
            }
            T_ExplainStmt => !prepare::explained_table_as(statement).is_null(),
            _ => false,
        }
    }
}

/// Whether this database has the access method.
fn extension_exists() -> bool {
    method_oid() != pg_sys::InvalidOid
}

fn method_oid() -> pg_sys::Oid {
    // SAFETY: a catalogue look-up.
    unsafe { pg_sys::get_table_am_oid(c"doris".as_ptr(), true) }
}

#[pg_guard]
unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: std::ffi::c_int,
    arg: *mut std::ffi::c_void,
) {
    use pg_sys::ObjectAccessType::*;
    // SAFETY: the hook's arguments are passed on as they came.
    unsafe {
        if let Some(previous) = PREV_OBJECT_ACCESS {
            raw::guarded(|| previous(access, class, object, part, arg));
        }
    }
    if class == relations::CONSTRAINTS && access == OAT_POST_CREATE {
        edit_frame(|frame| frame.constraints.push(object));
    }
    if class != pg_sys::RelationRelationId {
        return;
    }
    match access {
        OAT_POST_CREATE => edit_frame(|frame| {
            if part == 0 {
                frame.created.push(object);
            } else {
                frame.altered.push(object);
            }
        }),
        OAT_POST_ALTER => note_alter(object, part as i16),
        OAT_DROP if part > 0 => drop_column(object, part as i16),
        OAT_DROP => note_drop(object),
        _ => {}
    }
}

fn edit_frame(write: impl FnOnce(&mut Frame)) {
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.last_mut() {
            write(frame);
        }
    });
}

fn note_alter(relid: pg_sys::Oid, column: i16) {
    if FRAMES.with_borrow(Vec::is_empty) {
        return;
    }
    let mut old = None;
    if column > 0 && !table::of(relid).is_empty() {
        // The change itself is not visible yet, so the name is the old one.
        old = pg::column_name_if_any(relid, column);
    }
    let old = old.map(|name| Column {
        relid,
        number: column,
        name,
        type_of: type_of(relid, column),
    });
    edit_frame(|frame| {
        frame.altered.push(relid);
        frame.columns.extend(old);
    });
}

/// An index is dropped: a table that loses the one on its key gets another.
fn note_drop(relid: pg_sys::Oid) {
    if FRAMES.with_borrow(Vec::is_empty) {
        return;
    }
    // SAFETY: catalogue look-ups of a relation that still exists.
    let table = unsafe {
        match pg_sys::get_rel_relkind(relid) as u8 {
            pg_sys::RELKIND_INDEX => pg_sys::IndexGetRelation(relid, true),
            _ => return,
        }
    };
    if table::access_method(table) == method_oid() {
        edit_frame(|frame| frame.altered.push(table));
    }
}

/// A column is dropped: a key column cannot be, any other leaves the options.
fn drop_column(relid: pg_sys::Oid, column: i16) {
    let options = table::of(relid);
    if options.is_empty() {
        return;
    }
    let column = pg::column_name_if_any(relid, column).unwrap_or_default();
    let table = pg::table_name(relid);
    let mut kept = Options::new();
    for (option, value) in &options {
        let mut names = table::column_names(value);
        if !table::names_columns(option) || !names.contains(&column) {
            kept.push((option.clone(), value.clone()));
            continue;
        }
        if table::FIXED.contains(&option.as_str()) {
            pg::refuse(
                PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop column \"{column}\" of table \"{table}\": it is in the table's {option}"),
                "A table's key is fixed when it is created: create another table and copy the rows.",
            );
        }
        names.retain(|name| *name != column);
        if !names.is_empty() {
            kept.push((option.clone(), check::join(&names)));
        }
    }
    if kept != options {
        table::store(relid, &kept);
    }
}

/// Locks a relation of the user's; `None` when there is none, or it is not the user's: PostgreSQL will say so.
///
/// # Safety
/// A range variable of the parser.
pub unsafe fn lock_owned(
    relation: *mut pg_sys::RangeVar,
    mode: pg_sys::LOCKMODE,
) -> Option<pg_sys::Oid> {
    // SAFETY: a name that is looked up again under its lock.
    unsafe {
        let look = || {
            pg_sys::RangeVarGetRelidExtended(
                relation,
                pg_sys::NoLock as i32,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            )
        };
        loop {
            let relid = look();
            if relid == pg_sys::InvalidOid || !compat::owns_relation(relid) {
                return None;
            }
            pg_sys::LockRelationOid(relid, mode);
            if look() == relid {
                return Some(relid);
            }
            pg_sys::UnlockRelationOid(relid, mode);
        }
    }
}
