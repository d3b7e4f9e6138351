// SPDX-License-Identifier: Apache-2.0
//! Follows the DDL of a source, where what it did to the rows is beyond doubt.
//!
//! A change of columns that left the source's files alone (a rename, a drop, an addition with a constant default, a
//! wider varchar) is repeated on the mirror. One that rewrote the source (another type, a volatile default) computed
//! values that the stream does not carry: the mirror is filled again. That is found here, and by looking at what the
//! sources are made of (`doris_cdc::rewrite_detection`), as no change may follow, and the columns may look the same as
//! before.
use super::catalogue::{self, set_columns, Sync, SyncTable};
use super::mirror_relation;
use super::relation_shell;
use super::session::{as_role, elevated, execute, refuse, value};
use super::source::{literal, quoted, Look, Source, SourceColumn};
use super::target::Mirror;
use super::writer;
use doris_cdc::rewrite_detection::{Files, Verdict};
use doris_cdc::schema_diff::{numbered, steps, Catalogue, Known, Step};
use pgrx::prelude::*;
use std::collections::HashMap;

/// Values of new columns by name, as literals.
pub(crate) type Values = HashMap<String, String>;

const NOT_UNIQUE: &str =
    "nothing on the source keeps two of its rows from having the key of one row of the mirror: \
                          end the mirror and make it anew";

/// What came of it.
pub(crate) enum Followed {
    /// The mirror has the columns of the stream.
    InStep,
    /// The mirror has to be filled again.
    Refill,
}

/// The full name of a relation of this database, or what is wrong.
pub(crate) fn relation_name(oid: u32) -> Result<String, String> {
    relation_shell::name(oid).ok_or_else(|| "the table has been dropped".to_owned())
}

/// Brings a mirror in step with the stream's description of its source. A transaction and a snapshot are open.
pub(crate) fn follow(
    sync: &Sync,
    source: &mut Source,
    mirror: &mut Mirror,
) -> Result<Followed, String> {
    if mirror.relation.is_none() {
        return Err("the stream has not described the source".into());
    }
    let Some(now) = numbers(sync, source, mirror) else {
        log!(
            "the columns that {} had cannot be told from those that it has: its mirror is filled again",
            mirror.table.source_name
        );
        return Ok(Followed::Refill);
    };
    let before_columns = &mirror.table.columns;
    let todo = steps(before_columns, &now);
    if !todo.is_empty() {
        let (id, before) = (mirror.table.source, &mut mirror.table.files);
        if look_at_files(sync, source, id, before) == Verdict::Untold {
            return Ok(Followed::Refill);
        }
        let values = values_of_old_rows(source, id, &todo, &now);
        let Some(values) = values.filter(|_| keeps_values(before_columns, &now)) else {
            return Ok(Followed::Refill);
        };
        alter(&mirror.table, sync, source, &todo, &now, Some(&values))?;
    }
    if mirror.table.columns != now {
        let newest = now.iter().map(|c| c.number).max().unwrap_or(0);
        mirror.table.made = newest.max(mirror.table.made);
        set_columns(sync.id, mirror.table.source, &now, mirror.table.made);
        mirror.table.columns = now;
    }
    follow_name(sync, mirror);
    mirror.plan()?;
    if let Err(why) = check_key(source, mirror) {
        mirror.plan = None;
        return Err(why);
    }
    Ok(Followed::InStep)
}

/// Whether the stream's description of a source says by itself that its mirror is in step, which then has a plan: the
/// same columns under the same name, and rows identified by the mirror's key and nothing else, so that an index keeps
/// them apart. Nothing is asked of the source, whose catalogue may not show the transaction yet.
pub(crate) fn is_in_step(mirror: &mut Mirror) -> bool {
    let streamed = mirror.streamed_columns();
    let told = mirror.relation.as_ref().is_some_and(|r| {
        // An index of a partitioned table may be one that its partitions do not have.
        if mirror.table.files.partitioned {
            return false;
        }
        let name = format!("{}.{}", quoted(&r.schema), quoted(&r.name));
        // Where all columns identify a row, those of a key do not show.
        r.replica_identity != b'f' && same_name(&mirror.table.source_name, &name)
    });
    if !told || streamed.iter().any(|c| c.number == 0) || streamed != mirror.table.columns {
        return false;
    }
    if mirror.plan().is_err() {
        return false;
    }
    let identity = mirror.relation.iter().flat_map(|r| &r.columns);
    let identity = identity.filter(|c| c.identity).filter_map(|c| c.number);
    let mut identity: Vec<i16> = identity.collect();
    identity.sort_unstable();
    let mut key = mirror.key_numbers().unwrap_or_default();
    key.sort_unstable();
    let whole = !key.is_empty() && key == identity;
    if !whole {
        mirror.plan = None;
    }
    whole
}

/// Whether two texts are the same name.
fn same_name(one: &str, other: &str) -> bool {
    let parts = "SELECT parse_ident($1) = parse_ident($2)";
    let arguments = [one.to_owned().into(), other.to_owned().into()];
    elevated(|| value::<bool>(parts, &arguments)) == Some(true)
}

/// The columns that the stream has described, with their numbers: here decoding adds them, of another server the
/// catalogue may tell.
fn numbers(sync: &Sync, source: &mut Source, mirror: &Mirror) -> Option<Vec<Known>> {
    let streamed = mirror.streamed_columns();
    if streamed.iter().all(|c| c.number > 0) {
        return Some(streamed);
    }
    let layout = source.stream_layout(&sync.publication(), mirror.table.source);
    let catalogue = Catalogue {
        columns: &known(&layout.columns),
        dropped: &layout.dropped,
    };
    let (before, made) = (&mirror.table.columns, mirror.table.made);
    numbered(before, made, &streamed, catalogue)
}

/// The source's name, as the stream has it.
fn follow_name(sync: &Sync, mirror: &mut Mirror) {
    let Some(relation) = &mirror.relation else {
        return;
    };
    let name = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    if !same_name(&mirror.table.source_name, &name) {
        let set = "source_name = $3";
        catalogue::update_table(sync.id, mirror.table.source, set, name.clone());
        mirror.table.source_name = name;
    }
}

/// An error if two rows of the source may have the key of one row of its mirror, unless the user has said which columns
/// are the key.
fn check_key(source: &mut Source, mirror: &Mirror) -> Result<(), String> {
    let Some(numbers) = mirror.key_numbers().filter(|_| !mirror.table.key_given) else {
        return Ok(());
    };
    match source.is_unique(mirror.table.source, &numbers) {
        true => Ok(()),
        false => Err(NOT_UNIQUE.into()),
    }
}

/// As `check_key`, for a mirror that is to be filled.
pub(crate) fn check_key_of_copy(
    source: &mut Source,
    table: &SyncTable,
    columns: &[Known],
) -> Result<(), String> {
    let shape = mirror_relation::describe(table.target)?;
    let Some((_, key)) = shape.key.filter(|_| !table.key_given) else {
        return Ok(());
    };
    let number = |attribute: &i16| {
        let (name, _) = shape.columns.iter().find(|(_, a)| a == attribute)?;
        Some(columns.iter().find(|c| c.name == *name)?.number)
    };
    let numbers: Option<Vec<i16>> = key.iter().map(number).collect();
    match numbers.is_some_and(|numbers| source.is_unique(table.source, &numbers)) {
        true => Ok(()),
        false => Err(NOT_UNIQUE.into()),
    }
}

/// Whether none of the steps drops a column of the mirror's key.
pub(crate) fn keeps_key(table: &SyncTable, todo: &[Step]) -> Result<bool, String> {
    let shape = mirror_relation::describe(table.target)?;
    let key = shape.key_names().unwrap_or_default();
    let drops_key = |step: &Step| matches!(step, Step::Drop(name) if key.contains(name));
    Ok(!todo.iter().any(drops_key))
}

/// Alters the mirror. `values` are what its rows get in new columns; without them it holds no rows.
pub(crate) fn alter(
    table: &SyncTable,
    sync: &Sync,
    source: &mut Source,
    todo: &[Step],
    columns: &[Known],
    values: Option<&Values>,
) -> Result<(), String> {
    if todo.is_empty() {
        return Ok(());
    }
    let changed = todo.iter().filter_map(|step| match step {
        Step::Add(name) | Step::Retype(name) => columns.iter().find(|c| c.name == *name),
        _ => None,
    });
    let types: HashMap<&str, String> = changed
        .map(|c| (c.name.as_str(), type_name(source, c)))
        .collect();
    // The lock keeps readers out: what takes time, and what would be in vain, comes before it.
    let names = || types.values().cloned().collect();
    writer::with_types(sync, table, names())?;
    let target = relation_shell::locked_name(table.target, pg_sys::AccessExclusiveLock)?;
    let owner = writer::with_types(sync, table, names())?;
    for step in todo {
        let type_of = |name: &str| types.get(name).map_or("text", String::as_str);
        let action = match step {
            Step::Drop(name) => format!("DROP COLUMN IF EXISTS {}", quoted(name)),
            Step::Rename { from, to } => {
                format!("RENAME COLUMN {} TO {}", quoted(from), quoted(to))
            }
            Step::Add(name) => {
                let type_name = type_of(name);
                let value = values.and_then(|values| values.get(name));
                // Always one, as a domain may bring its own.
                let default = value.map_or("NULL", String::as_str);
                format!("ADD COLUMN {} {type_name} DEFAULT {default}", quoted(name))
            }
            Step::Retype(name) => {
                let type_name = type_of(name);
                let using = if values.is_none() {
                    format!(" USING NULL::{type_name}")
                } else {
                    String::new()
                };
                format!("ALTER COLUMN {} TYPE {type_name}{using}", quoted(name))
            }
        };
        as_role(owner, || {
            execute(&format!("ALTER TABLE {target} {action}"), &[])
        });
        if let Step::Add(name) = step {
            let sql = format!(
                "ALTER TABLE {target} ALTER COLUMN {} DROP DEFAULT",
                quoted(name)
            );
            as_role(owner, || execute(&sql, &[]));
        }
    }
    relation_shell::check_name(table.target, &target);
    log!("mirror {target} followed its source: {todo:?}");
    Ok(())
}

fn type_name(source: &mut Source, column: &Known) -> String {
    let sql = format!(
        "SELECT pg_catalog.format_type({}, {})",
        column.type_oid, column.typmod
    );
    let name = source.value(&sql).unwrap_or_else(|| "text".into());
    match source.is_local() {
        true => name,
        false => known_here(&name, column.typmod),
    }
}

/// The type of this name of another server's, as this one writes it: what is run here is never text from there.
pub(crate) fn known_here(name: &str, typmod: i32) -> String {
    let sql = "SELECT format_type(to_regtype($1), $2) WHERE to_regtype($1) IS NOT NULL";
    let found = elevated(|| value::<String>(sql, &[name.into(), typmod.into()]));
    found.unwrap_or_else(|| {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("there is no type {name} here")
        )
    })
}

/// Whether values mean the same in the types that columns have now. PostgreSQL leaves a table alone when a column
/// becomes one of a type that has the same bytes for the same values, which may depend on the settings of the session
/// that altered it (timestamps with and without a time zone).
pub(crate) fn keeps_values(before: &[Known], now: &[Known]) -> bool {
    const TEXTS: [u32; 2] = [25, 1043];
    let same = |a: u32, b: u32| a == b || TEXTS.contains(&a) && TEXTS.contains(&b);
    now.iter().all(|new| {
        let old = before.iter().find(|old| old.number == new.number);
        old.is_none_or(|old| same(old.type_oid, new.type_oid))
    })
}

/// What rows from before an ADD COLUMN have in new columns, as literals by the columns' names; `None` if that cannot be
/// told.
pub(crate) fn values_of_old_rows(
    source: &mut Source,
    table: u32,
    todo: &[Step],
    columns: &[Known],
) -> Option<Values> {
    let mut values = Values::new();
    for step in todo {
        let Step::Add(name) = step else { continue };
        let Some(column) = columns.iter().find(|c| c.name == *name) else {
            continue;
        };
        if let Some(value) = missing_value(source, table, column.number)? {
            values.insert(name.clone(), value);
        }
    }
    Some(values)
}

/// The value that rows from before an ADD COLUMN have in the new column, as a literal; `None` if it is not known.
///
/// A partitioned table has it in its partitions: in those whose column was described last by the transaction that
/// described the table's own. Others were made since, or came with rows of their own.
fn missing_value(source: &mut Source, table: u32, number: i16) -> Option<Option<String>> {
    const VALUE: &str =
        "CASE WHEN a.atthasmissing THEN (a.attmissingval::pg_catalog.text::pg_catalog.text[])[1] END";
    if !source.is_partitioned(table) {
        let sql = format!(
            "SELECT {VALUE} FROM pg_catalog.pg_attribute a WHERE a.attrelid = {table} AND a.attnum = {number} \
             AND NOT a.attisdropped"
        );
        // Without a row, the catalogue does not show the column yet, or no more, and nobody knows what its values were.
        let row = source.rows(&sql, 1).into_iter().next()?;
        return Some(row[0].as_deref().map(literal));
    }
    let rows = source.rows(
        &format!(
            "SELECT DISTINCT {VALUE}, (a.xmin = r.xmin)::pg_catalog.text FROM pg_catalog.pg_attribute r \
             CROSS JOIN pg_catalog.pg_partition_tree({table}) p \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = p.relid AND a.attname = r.attname \
             WHERE r.attrelid = {table} AND r.attnum = {number} AND NOT r.attisdropped AND p.isleaf AND p.level > 0"
        ),
        2,
    );
    let together = |row: &&Vec<Option<String>>| row[1].as_deref() == Some("true");
    let mut known = rows.iter().filter(together);
    match (known.next(), known.next()) {
        (Some(row), None) => Some(row[0].as_deref().map(literal)),
        (None, _) if !rows.is_empty() && rows.iter().all(|row| row[0].is_none()) => Some(None),
        _ => None,
    }
}

/// The columns without what only matters when tables are made.
pub(crate) fn known(columns: &[SourceColumn]) -> Vec<Known> {
    columns.iter().map(|c| c.known.clone()).collect()
}

/// What is copied of a source.
pub(crate) struct Recorded {
    pub(crate) columns: Vec<SourceColumn>,
    /// The condition of the publication's on its rows.
    pub(crate) filter: Option<String>,
}

/// Records what is known of a source whose mirror was just made with the columns `made`, and gives the mirror those
/// that came since. Returns why it cannot be mirrored.
pub(crate) fn record_new(
    sync: &Sync,
    source: &mut Source,
    table: u32,
    made: &[SourceColumn],
) -> Result<(), String> {
    let now = known(&record_source(sync, source, table)?.columns);
    let stored = made.iter().filter(|c| c.generated.is_none());
    let made: Vec<Known> = stored.map(|c| c.known.clone()).collect();
    let registered = catalogue::table(sync.id, table);
    let mirror = registered.ok_or("the mirror is not registered")?;
    writer::writer(sync, &mirror)?;
    let todo = steps(&made, &now);
    if todo.is_empty() {
        return Ok(());
    }
    // SAFETY: a transaction is open.
    unsafe { pg_sys::CommandCounterIncrement() };
    if !keeps_key(&mirror, &todo)? {
        return Err("a column of its key was dropped meanwhile".into());
    }
    alter(&mirror, sync, source, &todo, &now, None)
}

/// Records what is known of a source when its mirror is registered or filled; returns what is to be copied of it, or
/// why it cannot be mirrored.
pub(crate) fn record_source(
    sync: &Sync,
    source: &mut Source,
    table: u32,
) -> Result<Recorded, String> {
    let layout = source.stream_layout(&sync.publication(), table);
    let columns = layout.columns;
    set_columns(sync.id, table, &known(&columns), layout.made);
    let looked = source.look(&sync.publication(), &[table]).pop();
    let looked = looked.ok_or("the source has been dropped")?;
    if let Some(why) = looked.problem() {
        return Err(why.to_owned());
    }
    if looked.files.partitioned {
        if let Some(mirror) = catalogue::table(sync.id, table) {
            check_identities(&mirror, &looked)?;
        }
    }
    catalogue::set_look(sync.id, &looked);
    let computed = source.computed(&sync.publication(), table);
    catalogue::update_table(
        sync.id,
        table,
        "computed = COALESCE(computed, $3)",
        computed,
    );
    Ok(Recorded {
        columns,
        filter: looked.filter,
    })
}

/// An error if changes of a source's partitions do not tell which row of its mirror they are of.
pub(crate) fn check_identities(table: &SyncTable, looked: &Look) -> Result<(), String> {
    let names = mirror_relation::shape_of(table.target)?.key_names();
    let number = |name: &String| Some(table.columns.iter().find(|c| c.name == *name)?.number);
    let key: Option<Vec<i16>> = names.map(|n| n.iter().filter_map(number).collect());
    match looked.identity_problem(key.as_deref()) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// An error if the source computes other columns than when its mirror was made: they are not in the stream, and the
/// mirror computes its own.
pub(crate) fn check_computed(sync: &Sync, source: &mut Source, table: u32) -> Result<(), String> {
    let before = elevated(|| {
        value::<String>(
            "SELECT computed FROM doris.sync_table WHERE sync = $1 AND source = $2",
            &[sync.id.into(), pg_sys::Oid::from(table).into()],
        )
    });
    let now = source.computed(&sync.publication(), table);
    if before.is_some_and(|b| b != now) {
        return Err(
            "the generated columns of the source have changed: end its mirror and make it anew"
                .into(),
        );
    }
    Ok(())
}

/// Looks what became of a source since `before`; records what it is made of now, unless its mirror is to be filled
/// again.
fn look_at_files(sync: &Sync, source: &mut Source, table: u32, before: &mut Files) -> Verdict {
    match source.look(&sync.publication(), &[table]).pop() {
        Some(now) => record_files(sync.id, before, &now, &[]),
        None => Verdict::Same,
    }
}

/// As `look_at_files`, for what has been looked at; members that were `empty` when they came brought nothing.
pub(crate) fn record_files(sync: i32, before: &mut Files, now: &Look, empty: &[u32]) -> Verdict {
    let verdict = now.files.since(before, empty);
    if verdict == Verdict::Told {
        catalogue::set_look(sync, now);
        *before = now.files.clone();
    }
    verdict
}
