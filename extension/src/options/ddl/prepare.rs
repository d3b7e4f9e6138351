// SPDX-License-Identifier: Apache-2.0
//! Before a statement: our options are taken out of it, or out of pg_class where they are in the way.
use super::super::{check_model, table};
use super::{lock_owned, method_oid, states, Frame, Options};
use crate::pg::{self, raw};
use pgrx::{pg_sys, PgList, PgSqlErrorCode};

/// The CREATE TABLE AS that an EXPLAIN explains, or null.
pub(super) unsafe fn explained_table_as(
    statement: *mut pg_sys::Node,
) -> *mut pg_sys::CreateTableAsStmt {
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
pub(super) unsafe fn prepare(statement: *mut pg_sys::Node) -> Frame {
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
                let rest = (*create).options;
                Frame {
                    refers: true,
                    ..creation((*create).relation, (*create).accessMethod, options, rest)
                }
            }
            T_CreateTableAsStmt => {
                prepare_into((*(statement as *mut pg_sys::CreateTableAsStmt)).into)
            }
            T_ExplainStmt => prepare_into((*explained_table_as(statement)).into),
            T_AlterTableStmt => prepare_alter(statement.cast()),
            T_RenameStmt | T_AlterObjectSchemaStmt => Frame {
                aggregates: states::named(),
                ..Frame::default()
            },
            _ => Frame::default(),
        }
    }
}

unsafe fn prepare_into(into: *mut pg_sys::IntoClause) -> Frame {
    // SAFETY: the INTO clause of a statement of our own copy.
    unsafe {
        let options = take_ours(&mut (*into).options);
        creation((*into).rel, (*into).accessMethod, options, (*into).options)
    }
}

/// The frame of a statement that creates a table; `rest` are the options that are not ours.
unsafe fn creation(
    relation: *mut pg_sys::RangeVar,
    method: *mut std::ffi::c_char,
    options: Options,
    rest: *mut pg_sys::List,
) -> Frame {
    // SAFETY: the parts of a CREATE statement; the setting is a string that is never null.
    unsafe {
        let chosen = !method.is_null();
        let method = match chosen {
            true => pg::text(method),
            false => pg::text(pg_sys::default_table_access_method),
        };
        let name = pg::text((*relation).relname);
        if let (Some((option, _)), true) = (options.first(), method != "doris") {
            refuse_method(option, &name, &method);
        }
        // A statement that says nothing of columnar tables gets PostgreSQL's own message.
        if chosen && method == "doris" {
            check_known(rest, &name);
        }
        Frame {
            name: Some(name),
            options,
            ..Frame::default()
        }
    }
}

/// Refuses options that neither columnar tables nor heaps have. PostgreSQL would not say of which table they are.
unsafe fn check_known(rest: *mut pg_sys::List, table: &str) {
    const EXACT: [&str; 4] = [
        "fillfactor",
        "toast_tuple_target",
        "parallel_workers",
        "user_catalog_table",
    ];
    const PREFIXES: [&str; 3] = ["autovacuum_", "vacuum_", "log_auto"];
    // SAFETY: a list of definitions.
    unsafe {
        for def in PgList::<pg_sys::DefElem>::from_pg(rest).iter_ptr() {
            let name = pg::text((*def).defname);
            // `oids` has a message of its own.
            let known = EXACT.contains(&&*name)
                || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || name == "oids";
            if !known && (*def).defnamespace.is_null() {
                pg::refuse(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("unrecognized option \"{name}\" of table \"{table}\""),
                    "Columnar tables have the options of ordinary tables, and those in docs/tables.md.",
                );
            }
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
            let name = pg::text((*def).defname);
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
                pg::text(value)
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
        let mut retyped = Vec::new();
        let mut others = Vec::new();
        let mut attached = Vec::new();
        for command in PgList::<pg_sys::AlterTableCmd>::from_pg((*alter).cmds).iter_ptr() {
            use pg_sys::AlterTableType::*;
            if (*command).subtype == AT_AlterColumnType {
                check_type_change(alter, command);
                if let Some(relid) = lock_altered(alter) {
                    let mode = pg_sys::AccessExclusiveLock as i32;
                    let all = raw::inheritors_locked(relid, mode);
                    all.iter().for_each(|relid| states::forget(*relid));
                    retyped.extend(all);
                }
            }
            if (*command).subtype == AT_AttachPartition {
                let partition = (*((*command).def as *mut pg_sys::PartitionCmd)).name;
                // PostgreSQL locks it, after the table that it becomes a part of.
                attached.push(pg_sys::RangeVarGetRelidExtended(
                    partition,
                    pg_sys::NoLock as i32,
                    pg_sys::RVROption::RVR_MISSING_OK,
                    None,
                    std::ptr::null_mut(),
                ));
            }
            let reset = (*command).subtype == AT_ResetRelOptions;
            if reset || (*command).subtype == AT_SetRelOptions {
                any = true;
                let mut list = (*command).def as *mut pg_sys::List;
                let ours = take_ours(&mut list);
                (*command).def = list.cast();
                others.push(list);
                changes.extend(ours.into_iter().map(|option| (reset, option)));
            }
        }
        let commands = PgList::<pg_sys::AlterTableCmd>::from_pg((*alter).cmds);
        let mut none = Frame {
            altered: retyped,
            attached,
            refers: commands.iter_ptr().any(|command| refers(command)),
            ..Frame::default()
        };
        if !any {
            // Whatever it does to constraints, a keyed table keeps a key index.
            let keyed = lock_altered(alter).filter(|relid| is_keyed(*relid));
            none.altered.extend(keyed);
            return none;
        }
        let Some(relid) = lock_altered(alter) else {
            return none;
        };
        if crate::plan::hook::is_doris_table(relid) {
            for list in others {
                check_known(list, &name_of((*alter).relation));
            }
        }
        let mut options = table::stored(relid);
        if options.is_empty() && changes.is_empty() {
            return none;
        }
        let name = name_of((*alter).relation);
        let before = options.clone();
        for (reset, (option, value)) in changes {
            change(relid, &name, &mut options, reset, option, value);
        }
        check_model::changed(&name, &before, &options);
        table::store(relid, &[]);
        Frame {
            options,
            stripped: Some(relid),
            ..none
        }
    }
}

/// Whether a command of an ALTER TABLE names a foreign key, or attaches a partition, which gets those of its parent.
unsafe fn refers(command: *mut pg_sys::AlterTableCmd) -> bool {
    use pg_sys::AlterTableType::*;
    // SAFETY: a command of the parser; the casts follow what it is. Constraints of a column are Constraint nodes.
    unsafe {
        let is_foreign =
            |c: *mut pg_sys::Constraint| (*c).contype == pg_sys::ConstrType::CONSTR_FOREIGN;
        let definition = (*command).def;
        let subtype = (*command).subtype;
        if subtype == AT_AddConstraint && !definition.is_null() {
            return is_foreign(definition.cast());
        }
        if subtype == AT_AddColumn && !definition.is_null() {
            let column = definition as *mut pg_sys::ColumnDef;
            let constraints = PgList::<pg_sys::Constraint>::from_pg((*column).constraints);
            let foreign = constraints.iter_ptr().find(|c| is_foreign(*c));
            return foreign.is_some();
        }
        subtype == AT_AttachPartition
    }
}

fn is_key(option: &str) -> bool {
    option == "unique_key" || option == "aggregate_key"
}

fn is_keyed(relid: pg_sys::Oid) -> bool {
    let options = table::stored(relid);
    options.iter().any(|(option, _)| is_key(option))
}

/// Refuses a new type of a column of the key: rows of different keys might come to have the same. Tables that inherit
/// the column get it, too.
unsafe fn check_type_change(
    alter: *mut pg_sys::AlterTableStmt,
    command: *mut pg_sys::AlterTableCmd,
) {
    // SAFETY: an ALTER statement and one of its commands, which names a column.
    unsafe {
        let Some(relid) = lock_altered(alter) else {
            return;
        };
        let column = pg::text((*command).name);
        let parent = pg_sys::get_rel_relkind(relid) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
            || raw::may_have_inheritors(relid);
        let tables = match parent && (*(*alter).relation).inh {
            true => raw::inheritors_locked(relid, pg_sys::AlterTableGetLockLevel((*alter).cmds)),
            false => vec![relid],
        };
        for relid in tables {
            if let Some(option) = key_option_with(&table::stored(relid), &column) {
                refuse_type_change(relid, &column, &option);
            }
        }
    }
}

/// The option that makes a column one of the key.
pub(super) fn key_option_with(options: &Options, column: &str) -> Option<String> {
    let mut keys = options.iter().filter(|(option, _)| is_key(option));
    let found = keys.find(|(_, key)| table::column_names(key).iter().any(|name| name == column));
    found.map(|(option, _)| option.clone())
}

pub(super) fn refuse_type_change(relid: pg_sys::Oid, column: &str, option: &str) -> ! {
    let table = pg::table_name(relid);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot change the type of column \"{column}\" of table \"{table}\": it is in the table's {option}"),
        "A table's key is fixed when it is created: create another table and copy the rows.",
    )
}

unsafe fn name_of(relation: *mut pg_sys::RangeVar) -> String {
    // SAFETY: a range variable of the parser.
    unsafe { pg::text((*relation).relname) }
}

/// Locks the table of an ALTER TABLE as PostgreSQL will.
unsafe fn lock_altered(alter: *mut pg_sys::AlterTableStmt) -> Option<pg_sys::Oid> {
    // SAFETY: an ALTER statement.
    unsafe {
        let mode = pg_sys::AlterTableGetLockLevel((*alter).cmds);
        lock_owned((*alter).relation, mode)
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
        let name = unsafe { pg::text_or_none(pg_sys::get_am_name(method)) };
        let name = name.unwrap_or_else(|| "none".to_owned());
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
