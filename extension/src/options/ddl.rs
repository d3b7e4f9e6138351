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
use super::{check, table};
use crate::keys;
use crate::pg::{self, compat, raw};
use pgrx::{pg_guard, pg_sys, PgList, PgSqlErrorCode};
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
    /// Columns altered since it began, with the names they had.
    columns: Vec<(pg_sys::Oid, i16, String)>,
    /// The table whose options were taken out of pg_class; `options` is what it will have.
    stripped: Option<pg_sys::Oid>,
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
    // SAFETY: catalogue look-ups; the name is a palloc'd copy.
    unsafe {
        let found = pg_sys::get_rel_name(relid);
        let kind = pg_sys::get_rel_relkind(relid) as u8;
        let table = kind == pg_sys::RELKIND_RELATION || kind == pg_sys::RELKIND_MATVIEW;
        table && !found.is_null() && std::ffi::CStr::from_ptr(found).to_bytes() == name.as_bytes()
    }
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
        let mut frame = prepare((*copy).utilityStmt);
        frame.level = pg_sys::GetCurrentTransactionNestLevel();
        FRAMES.with_borrow_mut(|frames| frames.push(frame));
        copy
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn after() {
    settle(FRAMES.with_borrow_mut(Vec::pop).unwrap_or_default());
}

/// Whether a statement creates or alters tables.
unsafe fn concerns_tables(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: a utility statement.
    unsafe {
        match (*statement).type_ {
            T_CreateStmt | T_CreateTableAsStmt | T_AlterTableStmt | T_RenameStmt => true,
            T_ExplainStmt => !explained_table_as(statement).is_null(),
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

/// The CREATE TABLE AS that an EXPLAIN explains, or null.
unsafe fn explained_table_as(statement: *mut pg_sys::Node) -> *mut pg_sys::CreateTableAsStmt {
    // SAFETY: an analysed EXPLAIN statement; its query is a Query node.
    unsafe {
        let query = (*(statement as *mut pg_sys::ExplainStmt)).query as *mut pg_sys::Query;
        let found = !query.is_null()
            && (*query).type_ == pg_sys::NodeTag::T_Query
            && !(*query).utilityStmt.is_null()
            && (*(*query).utilityStmt).type_ == pg_sys::NodeTag::T_CreateTableAsStmt;
        if found {
            (*query).utilityStmt.cast()
        } else {
            std::ptr::null_mut()
        }
    }
}

/// Takes our options out of a statement (and out of pg_class, where they are in the way).
unsafe fn prepare(statement: *mut pg_sys::Node) -> Frame {
    use pg_sys::NodeTag::*;
    // SAFETY: a utility statement of our own copy; the casts follow its tag.
    unsafe {
        match (*statement).type_ {
            T_CreateStmt => {
                let create = statement as *mut pg_sys::CreateStmt;
                let options = take_ours(&mut (*create).options);
                if let (Some((option, _)), false) = (options.first(), (*create).partspec.is_null())
                {
                    refuse_partitioned(option, &name_of((*create).relation));
                }
                creation((*create).relation, (*create).accessMethod, options)
            }
            T_CreateTableAsStmt => {
                prepare_into((*(statement as *mut pg_sys::CreateTableAsStmt)).into)
            }
            T_ExplainStmt => prepare_into((*explained_table_as(statement)).into),
            T_AlterTableStmt => prepare_alter(statement.cast()),
            _ => Frame::default(),
        }
    }
}

unsafe fn prepare_into(into: *mut pg_sys::IntoClause) -> Frame {
    // SAFETY: the INTO clause of a statement of our own copy.
    unsafe {
        let options = take_ours(&mut (*into).options);
        creation((*into).rel, (*into).accessMethod, options)
    }
}

/// The frame of a statement that creates a table.
unsafe fn creation(
    relation: *mut pg_sys::RangeVar,
    method: *mut std::ffi::c_char,
    options: Options,
) -> Frame {
    // SAFETY: the parts of a CREATE statement; the setting is a string that is never null.
    unsafe {
        let text =
            |s: *const std::ffi::c_char| std::ffi::CStr::from_ptr(s).to_string_lossy().into_owned();
        let method = if method.is_null() {
            text(pg_sys::default_table_access_method)
        } else {
            text(method)
        };
        let name = text((*relation).relname);
        if let (Some((option, _)), true) = (options.first(), method != "doris") {
            refuse_method(option, &name, &method);
        }
        Frame {
            name: Some(name),
            options,
            ..Frame::default()
        }
    }
}

fn refuse_method(option: &str, table: &str, method: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("option \"{option}\" of table \"{table}\" is not supported by access method \"{method}\""),
        "It is an option of columnar tables: create the table with USING doris.",
    )
}

fn refuse_partitioned(option: &str, table: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("option \"{option}\" cannot be given to the partitioned table \"{table}\""),
        "A partitioned table stores nothing itself; give the option to each of its partitions.",
    )
}

/// Removes our options from a list of definitions and returns them.
unsafe fn take_ours(list: &mut *mut pg_sys::List) -> Options {
    let mut options = Options::new();
    let mut rest = PgList::<pg_sys::DefElem>::new();
    // SAFETY: a list of definitions.
    unsafe {
        for def in PgList::<pg_sys::DefElem>::from_pg(*list).iter_ptr() {
            let name = std::ffi::CStr::from_ptr((*def).defname)
                .to_string_lossy()
                .into_owned();
            if !(*def).defnamespace.is_null() || !table::is_ours(&name) {
                rest.push(def);
                continue;
            }
            if options.iter().any(|(other, _)| *other == name) {
                pg::refuse(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("parameter \"{name}\" specified more than once"),
                    "",
                );
            }
            let value = if (*def).arg.is_null() {
                String::new()
            } else {
                let value = pg_sys::defGetString(def);
                std::ffi::CStr::from_ptr(value)
                    .to_string_lossy()
                    .into_owned()
            };
            options.push((name, value));
        }
    }
    if !options.is_empty() {
        *list = rest.into_pg();
    }
    options
}

/// ALTER TABLE: our options are changed here; the others only get past PostgreSQL's check while ours are
/// not in pg_class.
unsafe fn prepare_alter(alter: *mut pg_sys::AlterTableStmt) -> Frame {
    // SAFETY: an ALTER statement of our own copy.
    unsafe {
        let mut changes = Vec::new();
        let mut any = false;
        for command in PgList::<pg_sys::AlterTableCmd>::from_pg((*alter).cmds).iter_ptr() {
            use pg_sys::AlterTableType::*;
            if (*command).subtype == AT_AlterColumnType {
                check_type_change(alter, command);
            }
            let reset = (*command).subtype == AT_ResetRelOptions;
            if reset || (*command).subtype == AT_SetRelOptions {
                any = true;
                let mut list = (*command).def as *mut pg_sys::List;
                let ours = take_ours(&mut list);
                (*command).def = list.cast();
                changes.extend(ours.into_iter().map(|option| (reset, option)));
            }
        }
        let mut none = Frame::default();
        if !any {
            // Whatever it does to constraints, a keyed table keeps a key index.
            let keyed = lock_altered(alter).filter(|relid| is_keyed(*relid));
            none.altered.extend(keyed);
            return none;
        }
        let Some(relid) = lock_altered(alter) else {
            return none;
        };
        let mut options = table::stored(relid);
        if options.is_empty() && changes.is_empty() {
            return none;
        }
        let name = name_of((*alter).relation);
        let before = options.clone();
        for (reset, (option, value)) in changes {
            change(relid, &name, &mut options, reset, option, value);
        }
        super::check_model::changed(&name, &before, &options);
        table::store(relid, &[]);
        Frame {
            options,
            stripped: Some(relid),
            ..none
        }
    }
}

fn is_key(option: &str) -> bool {
    option == "unique_key" || option == "aggregate_key"
}

fn is_keyed(relid: pg_sys::Oid) -> bool {
    let options = table::stored(relid);
    options.iter().any(|(option, _)| is_key(option))
}

/// Refuses a new type of a column of the key: rows of different keys might come to have the same.
unsafe fn check_type_change(
    alter: *mut pg_sys::AlterTableStmt,
    command: *mut pg_sys::AlterTableCmd,
) {
    // SAFETY: an ALTER statement and one of its commands, which names a column.
    unsafe {
        let Some(relid) = lock_altered(alter) else {
            return;
        };
        let column = std::ffi::CStr::from_ptr((*command).name).to_string_lossy();
        let key = table::stored(relid)
            .into_iter()
            .find(|(option, _)| is_key(option));
        if let Some((option, _)) = key.filter(|(_, key)| {
            let names = table::column_names(key);
            names.iter().any(|name| *name == column)
        }) {
            let table = name_of((*alter).relation);
            pg::refuse(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot change the type of column \"{column}\" of table \"{table}\": it is in the table's {option}"),
                "A table's key is fixed when it is created: create another table and copy the rows.",
            );
        }
    }
}

unsafe fn name_of(relation: *mut pg_sys::RangeVar) -> String {
    // SAFETY: a range variable of the parser.
    unsafe {
        std::ffi::CStr::from_ptr((*relation).relname)
            .to_string_lossy()
            .into_owned()
    }
}

/// Locks the table of an ALTER TABLE as PostgreSQL will; `None` when there is none, or it is not the user's:
/// PostgreSQL will say so.
unsafe fn lock_altered(alter: *mut pg_sys::AlterTableStmt) -> Option<pg_sys::Oid> {
    // SAFETY: an ALTER statement; a name that is looked up again under its lock.
    unsafe {
        let look = || {
            pg_sys::RangeVarGetRelidExtended(
                (*alter).relation,
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
            let mode = pg_sys::AlterTableGetLockLevel((*alter).cmds);
            pg_sys::LockRelationOid(relid, mode);
            if look() == relid {
                return Some(relid);
            }
            pg_sys::UnlockRelationOid(relid, mode);
        }
    }
}

/// Applies one SET or RESET of an option of ours.
fn change(
    relid: pg_sys::Oid,
    table: &str,
    options: &mut Options,
    reset: bool,
    option: String,
    value: String,
) {
    let method = table::access_method(relid);
    if method != method_oid() {
        // SAFETY: a catalogue look-up; views and the like have no access method.
        let name = unsafe {
            let name = pg_sys::get_am_name(method);
            if name.is_null() {
                String::from("none")
            } else {
                std::ffi::CStr::from_ptr(name)
                    .to_string_lossy()
                    .into_owned()
            }
        };
        refuse_method(&option, table, &name);
    }
    if table::FIXED.contains(&option.as_str()) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("option \"{option}\" of table \"{table}\" cannot be changed"),
            "A table's key is fixed when it is created: create another table and copy the rows.",
        );
    }
    options.retain(|(name, _)| *name != option);
    if !reset {
        options.push((option, value));
    }
}

/// After a command: checks and stores the options of what it made, follows what it renamed.
fn settle(frame: Frame) {
    // SAFETY: plain call: what the command wrote becomes visible.
    unsafe { pg_sys::CommandCounterIncrement() };
    let mut seen = Vec::new();
    for relid in frame
        .created
        .iter()
        .chain(&frame.altered)
        .chain(frame.stripped.iter())
    {
        if seen.contains(relid) {
            continue;
        }
        seen.push(*relid);
        let new = frame.stripped == Some(*relid)
            || frame.created.contains(relid)
                && frame
                    .name
                    .as_deref()
                    .is_some_and(|name| is_table_named(*relid, name));
        settle_one(&frame, *relid, new);
    }
}

/// `new`: the frame's options are for this relation.
fn settle_one(frame: &Frame, relid: pg_sys::Oid, new: bool) {
    let mut options = table::stored(relid);
    let before = options.clone();
    if new {
        options.clone_from(&frame.options);
    }
    if table::access_method(relid) != method_oid() {
        // The table was turned into one of another access method, which knows nothing of our options.
        if !before.is_empty() {
            table::store(relid, &[]);
        }
        return;
    }
    for (of, number, old) in &frame.columns {
        if *of == relid {
            follow_rename(relid, *number, old, &mut options);
        }
    }
    // SAFETY: the command's lock on the relation lasts until the transaction ends.
    let checked = unsafe {
        let rel = pg_sys::try_relation_open(relid, pg_sys::NoLock as i32);
        if rel.is_null() {
            return;
        }
        let mut checked = Options::new();
        if (*(*rel).rd_rel).relkind as u8 != pg_sys::RELKIND_TOASTVALUE {
            check::reserved_names(rel);
            checked = check::options(rel, &options);
        }
        pg_sys::relation_close(rel, pg_sys::NoLock as i32);
        checked
    };
    if checked != before {
        table::store(relid, &checked);
    }
    let late =
        |(option, value): &(String, String)| option == table::MERGE_ON_WRITE && value == "false";
    if new && frame.created.contains(&relid) && checked.iter().any(late) {
        pgrx::notice!(
            "rows of equal keys are merged when they are written, also without merge_on_write: answers are the same"
        );
    }
    settle_key(relid);
}

/// Gives a keyed table its key index, once its options are stored.
fn settle_key(relid: pg_sys::Oid) {
    // SAFETY: as in `settle_one`; the relation is closed while its index is made.
    unsafe {
        let rel = pg_sys::try_relation_open(relid, pg_sys::NoLock as i32);
        if rel.is_null() {
            return;
        }
        keys::ddl::settle(rel);
        pg_sys::relation_close(rel, pg_sys::NoLock as i32);
    }
}

/// Writes a column's new name wherever an option has the old one.
fn follow_rename(relid: pg_sys::Oid, number: i16, old: &str, options: &mut Options) {
    // SAFETY: a catalogue look-up; null for a column that is gone.
    let new = unsafe {
        let name = pg_sys::get_attname(relid, number, true);
        if name.is_null() {
            return;
        }
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    };
    let lists = options
        .iter_mut()
        .filter(|(option, _)| table::names_columns(option));
    for (_, value) in lists {
        let mut names = table::column_names(value);
        if let Some(name) = names.iter_mut().find(|name| *name == old) {
            name.clone_from(&new);
            *value = check::join(&names);
        }
    }
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
    if class != pg_sys::RelationRelationId {
        return;
    }
    match access {
        OAT_POST_CREATE => note(|frame| {
            if part == 0 {
                frame.created.push(object);
            } else {
                frame.altered.push(object);
            }
        }),
        OAT_POST_ALTER => note_alter(object, part as i16),
        OAT_DROP if part > 0 => drop_column(object, part as i16),
        _ => {}
    }
}

fn note(write: impl FnOnce(&mut Frame)) {
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
        // SAFETY: a catalogue look-up; the change itself is not visible yet, so the name is the old one.
        old = unsafe {
            let name = pg_sys::get_attname(relid, column, true);
            (!name.is_null()).then(|| {
                std::ffi::CStr::from_ptr(name)
                    .to_string_lossy()
                    .into_owned()
            })
        };
    }
    note(|frame| {
        frame.altered.push(relid);
        if let Some(old) = old {
            frame.columns.push((relid, column, old));
        }
    });
}

/// A column is dropped: a key column cannot be, any other leaves the options.
fn drop_column(relid: pg_sys::Oid, column: i16) {
    let options = table::of(relid);
    if options.is_empty() {
        return;
    }
    // SAFETY: catalogue look-ups.
    let (column, table) = unsafe {
        let text = |name: *mut std::ffi::c_char| match name.is_null() {
            true => String::new(),
            false => std::ffi::CStr::from_ptr(name)
                .to_string_lossy()
                .into_owned(),
        };
        (
            text(pg_sys::get_attname(relid, column, true)),
            text(pg_sys::get_rel_name(relid)),
        )
    };
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
