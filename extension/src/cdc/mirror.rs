// SPDX-License-Identifier: Apache-2.0
//! The table a mirror is: made like its source, or one that exists and fits. With the rights in force.
use super::condition_shell::is_expression;
use super::ddl_replication::known_here;
use super::relation_shell;
use super::session::{as_role, column, current_role, elevated, execute, refuse, rows, value};
use super::source::{quoted, SourceColumn};
use super::writer::check_code;
use pgrx::prelude::*;

/// What the mirror is to look like.
pub(crate) struct Wanted<'a> {
    /// The source, for messages.
    pub(crate) source_name: &'a str,
    /// The source, if it is a table of this database.
    pub(crate) source: Option<u32>,
    pub(crate) columns: &'a [SourceColumn],
    pub(crate) key: &'a [String],
    /// The stream has whole rows as they were before: rows can be found without a key.
    pub(crate) full: bool,
    pub(crate) access_method: Option<&'a str>,
    /// `unique_key` or `none`; by default the first where it is possible.
    pub(crate) model: Option<&'a str>,
    /// Rows that a table holds already may be thrown away.
    pub(crate) overwrite: bool,
}

/// The table of this name, made for `owner` by a sync if there is none.
pub(crate) fn make(name: &str, wanted: &Wanted<'_>, owner: pg_sys::Oid, sync: i32) -> pg_sys::Oid {
    if let Some(oid) = lookup(name) {
        check(oid, name, wanted);
        return oid;
    }
    check_types(wanted, owner);
    create(name, wanted, owner, sync)
}

/// An error if a superuser's mirror of a table of another server would have columns of a type that is somebody else's:
/// what they are computed from may be cast to it.
fn check_types(wanted: &Wanted<'_>, owner: pg_sys::Oid) {
    let far = wanted.source.is_none();
    let is_super = "SELECT rolsuper FROM pg_roles WHERE oid = $1";
    if !far || elevated(|| value::<bool>(is_super, &[owner.into()])) != Some(true) {
        return;
    }
    let types = wanted.columns.iter().map(|c| type_of(c, far)).collect();
    if let Err(why) = check_code(pg_sys::InvalidOid, types) {
        refuse!(ERRCODE_FEATURE_NOT_SUPPORTED, why);
    }
}

/// Whose a new mirror is to be: the role whose code writing to it runs. That is the owner of its source, if the sync is
/// a superuser's and the source is not; otherwise the sync's owner.
pub(crate) fn mirror_owner(sync_owner: pg_sys::Oid, source: Option<u32>) -> pg_sys::Oid {
    const SQL: &str = "SELECT CASE WHEN o.rolsuper AND NOT a.rolsuper THEN a.oid ELSE o.oid END FROM pg_roles o \
         LEFT JOIN pg_class c ON c.oid = $2 LEFT JOIN pg_roles a ON a.oid = c.relowner WHERE o.oid = $1";
    let source = pg_sys::Oid::from(source.unwrap_or(0));
    let mirror_owner = elevated(|| value::<pg_sys::Oid>(SQL, &[sync_owner.into(), source.into()]));
    mirror_owner.unwrap_or(sync_owner)
}

/// Hands a table over, and lets its new owner reach it in a schema that the sync has made; who reaches into another is
/// its owner's to say.
fn give(oid: pg_sys::Oid, name: &str, owner: pg_sys::Oid, sync: i32) {
    const SQL: &str =
        "SELECT quote_ident(r.rolname), CASE WHEN NOT has_schema_privilege(r.oid, n.oid, 'USAGE') \
         THEN quote_ident(n.nspname) END, n.oid = ANY (s.made_schemas) FROM pg_class t \
         JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_roles r ON r.oid = $2 \
         JOIN doris.sync s ON s.id = $3 WHERE t.oid = $1";
    let arguments = [oid.into(), owner.into(), sync.into()];
    let found = elevated(|| {
        rows(SQL, &arguments, |r| {
            let names = (column::<String>(r, 1), column::<String>(r, 2));
            (names, column::<bool>(r, 3))
        })
    });
    let Some(((Some(role), schema), made)) = found.into_iter().next() else {
        refuse_other(name)
    };
    match schema {
        Some(schema) if made == Some(true) => {
            execute(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}"), &[]);
        }
        Some(schema) => refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!(
                "mirror {name} is to belong to {role}, the owner of its source, who lacks the right to use its schema: \
                 GRANT USAGE ON SCHEMA {schema} TO {role}, or let the sync make a schema"
            )
        ),
        None => {}
    }
    execute(&format!("ALTER TABLE {name} OWNER TO {role}"), &[]);
    let given = "SELECT relowner = $2 FROM pg_class WHERE oid = $1";
    if elevated(|| value::<bool>(given, &[oid.into(), owner.into()])) != Some(true) {
        refuse_other(name);
    }
}

/// An error if the owner of the mirror's schema may not act as the mirror's owner, but could give its name to another
/// table.
fn check_schema(oid: pg_sys::Oid, name: &str, owner: pg_sys::Oid) {
    let what = format!("mirror {name}");
    if let Some(why) = relation_shell::schema_problem(u32::from(oid), owner, &what) {
        refuse!(ERRCODE_INSUFFICIENT_PRIVILEGE, why);
    }
}

fn refuse_other(name: &str) -> ! {
    refuse!(
        ERRCODE_OBJECT_IN_USE,
        format!("{name} has just become another table")
    )
}

fn lookup(name: &str) -> Option<pg_sys::Oid> {
    let sql = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
    value::<pg_sys::Oid>(sql, &[name.into()])
}

fn owner_of(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let sql = "SELECT relowner FROM pg_class WHERE oid = $1";
    elevated(|| value::<pg_sys::Oid>(sql, &[table.into()]))
}

/// Gives the mirror of a table that is gone the columns of the one that takes it over, and takes its rows away if it
/// lacked any. All of that runs with the rights of its owner, who has to be the one whose a new mirror would be.
pub(crate) fn refit(name: &str, wanted: &Wanted<'_>, mirror_owner: pg_sys::Oid) {
    let Some(oid) = lookup(name) else { return };
    lock(oid, name);
    check_own(oid, name, wanted.source);
    if owner_of(oid) != Some(mirror_owner) {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("{name} belongs to another role than the table that would take it over")
        );
    }
    check_types(wanted, mirror_owner);
    check_schema(oid, name, mirror_owner);
    as_role(mirror_owner, || take_columns(oid, name, wanted));
}

fn take_columns(oid: pg_sys::Oid, name: &str, wanted: &Wanted<'_>) {
    let there = |column: &SourceColumn| {
        let sql = "SELECT true FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped";
        value::<bool>(sql, &[oid.into(), column.known.name.clone().into()]).is_some()
    };
    let mut missing = lacking(oid, wanted);
    let computed = wanted.columns.iter().filter(|c| c.generated.is_some());
    missing.extend(computed.filter(|c| !there(c)));
    if missing.is_empty() {
        return;
    }
    relation_shell::truncate(u32::from(oid));
    let far = wanted.source.is_none();
    for column in missing {
        let action = if there(column) {
            let (name, type_name) = (quoted(&column.known.name), type_of(column, far));
            format!("ALTER COLUMN {name} TYPE {type_name} USING NULL::{type_name}")
        } else {
            // A domain may bring a default of its own.
            let default = if column.generated.is_some() {
                ""
            } else {
                " DEFAULT NULL"
            };
            format!("ADD COLUMN {}{default}", definition(column, far))
        };
        execute(&format!("ALTER TABLE {name} {action}"), &[]);
    }
}

/// Makes the table. It has no constraint but its key: a constraint that the source drops must not stop its mirror. What
/// is computed for another role is computed with its rights, from the beginning: PostgreSQL evaluates what it can of an
/// expression where that is defined.
fn create(name: &str, wanted: &Wanted<'_>, owner: pg_sys::Oid, sync: i32) -> pg_sys::Oid {
    let maker = current_role();
    let handed_over = owner != maker;
    let mut columns: Vec<&SourceColumn> = wanted.columns.iter().collect();
    if wanted.model == Some("unique_key") {
        // The model has its key first; who asks for it by name does not ask for the source's order.
        let place = |c: &&SourceColumn| {
            let at = wanted.key.iter().position(|k| *k == c.known.name);
            at.unwrap_or(usize::MAX)
        };
        columns.sort_by_key(place);
    }
    let far = wanted.source.is_none();
    let first = columns.iter().position(|c| c.generated.is_some());
    let at_once = first.filter(|_| handed_over).unwrap_or(columns.len());
    let is_key = |c: &&SourceColumn| wanted.key.contains(&c.known.name) && c.generated.is_none();
    let later: Vec<&SourceColumn> = columns.split_off(at_once);
    let (keys, later): (Vec<_>, Vec<_>) = later.into_iter().partition(is_key);
    columns.extend(keys);
    let mut parts: Vec<String> = columns.into_iter().map(|c| definition(c, far)).collect();
    if !wanted.key.is_empty() {
        let key: Vec<_> = wanted.key.iter().map(|k| quoted(k)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let method = match wanted.access_method {
        Some(method) => method.to_owned(),
        None => "doris".into(),
    };
    let keyed = match wanted.model {
        Some("unique_key") => true,
        Some("none") => false,
        None => method == "doris" && can_be_unique_key(wanted),
        Some(other) => refuse!(
            ERRCODE_INVALID_PARAMETER_VALUE,
            format!("a mirror cannot have the model \"{other}\""),
            "Known are unique_key and none."
        ),
    };
    let options = if keyed {
        let key = wanted.key.join(", ").replace('\'', "''");
        format!(" WITH (unique_key = '{key}')")
    } else {
        String::new()
    };
    let sql = format!(
        "CREATE TABLE {name} ({}) USING {}{options}",
        parts.join(", "),
        quoted(&method)
    );
    execute(&sql, &[]);
    let made = lookup(name).unwrap_or_else(|| error!("{name} was not made"));
    check_schema(made, name, owner);
    if !handed_over {
        return made;
    }
    // Names of schemas change without a lock on what is in them: it has to be the table that was made here.
    let own = "SELECT relowner = $2 AND age(xmin) <= age(pg_current_xact_id()::xid) FROM pg_class WHERE oid = $1";
    if elevated(|| value::<bool>(own, &[made.into(), maker.into()])) != Some(true) {
        refuse_other(name);
    }
    give(made, name, owner, sync);
    as_role(owner, || {
        for column in later {
            let definition = definition(column, far);
            execute(&format!("ALTER TABLE {name} ADD COLUMN {definition}"), &[]);
        }
    });
    made
}

/// Keeps the table of a name from being another one in a moment.
fn lock(oid: pg_sys::Oid, name: &str) {
    // SAFETY: a transaction is open, which keeps the lock.
    unsafe { pg_sys::LockRelationOid(oid, pg_sys::AccessShareLock as i32) };
    if lookup(name) != Some(oid) {
        refuse_other(name);
    }
}

/// Whether rows can be replaced by key in bulk: the key columns come first, in their order, and have types and names
/// that a unique key takes without doubt.
fn can_be_unique_key(wanted: &Wanted<'_>) -> bool {
    const TYPES: [pg_sys::Oid; 11] = [
        pg_sys::BOOLOID,
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::DATEOID,
        pg_sys::TIMESTAMPOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::VARCHAROID,
        pg_sys::NUMERICOID,
    ];
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    };
    let fits = |(key, column): (&String, &SourceColumn)| {
        *key == column.known.name
            && plain(key)
            && column.collation.is_none()
            && TYPES.iter().any(|t| u32::from(*t) == column.known.type_oid)
    };
    !wanted.key.is_empty()
        && wanted.key.len() <= wanted.columns.len()
        && wanted.key.iter().zip(wanted.columns).all(fits)
}

/// The type of a column as SQL; `far` says that it is one of another server, whose text is not run here.
fn type_of(column: &SourceColumn, far: bool) -> String {
    match far {
        true => known_here(&column.type_name, column.known.typmod),
        false => column.type_name.clone(),
    }
}

fn definition(column: &SourceColumn, far: bool) -> String {
    let mut out = format!("{} {}", quoted(&column.known.name), type_of(column, far));
    let known = "SELECT pg_catalog.to_regcollation($1) IS NOT NULL";
    if let Some(collation) = &column.collation {
        if value::<bool>(known, &[collation.clone().into()]) == Some(true) {
            out.push_str(&format!(" COLLATE {collation}"));
        }
    }
    if let Some(expression) = &column.generated {
        if far && !is_expression(expression) {
            refuse!(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "what column {} is computed from is not an expression",
                    column.known.name
                )
            );
        }
        out.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
    }
    out
}

/// A superuser may write to every table, and what belongs to one runs when it does: that is left to those whose table
/// it is, or that of the source.
fn check_own(oid: pg_sys::Oid, name: &str, source: Option<u32>) {
    let own = "SELECT t.relkind = 'r' AND pg_catalog.pg_has_role(current_user, t.relowner, 'USAGE') AND \
               (NOT r.rolsuper OR t.relowner = r.oid OR t.relowner = c.relowner) FROM pg_catalog.pg_class t \
               JOIN pg_catalog.pg_roles r ON r.rolname = current_user \
               LEFT JOIN pg_catalog.pg_class c ON c.oid = $2 WHERE t.oid = $1";
    let source = pg_sys::Oid::from(source.unwrap_or(0));
    if value::<bool>(own, &[oid.into(), source.into()]) != Some(true) {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {name}")
        );
    }
    let permanent = "SELECT relpersistence = 'p' FROM pg_catalog.pg_class WHERE oid = $1";
    if value::<bool>(permanent, &[oid.into()]) != Some(true) {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("{name} is temporary or unlogged: a crash would empty it")
        );
    }
}

/// The stored columns that the table does not have, or not of their type.
fn lacking<'a>(oid: pg_sys::Oid, wanted: &Wanted<'a>) -> Vec<&'a SourceColumn> {
    let fits =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 \
                AND atttypid = pg_catalog.to_regtype($3) AND atttypmod IN ($4, -1) AND NOT attisdropped)";
    let lacks = |c: &&SourceColumn| {
        let arguments = [
            oid.into(),
            c.known.name.clone().into(),
            c.type_name.clone().into(),
            c.known.typmod.into(),
        ];
        c.generated.is_none() && value::<bool>(fits, &arguments) != Some(true)
    };
    wanted.columns.iter().filter(lacks).collect()
}

/// A table that exists becomes a mirror if it is the role's, has the columns, and may be emptied.
fn check(oid: pg_sys::Oid, name: &str, wanted: &Wanted<'_>) {
    if wanted.source == Some(u32::from(oid)) {
        refuse!(
            ERRCODE_INVALID_PARAMETER_VALUE,
            "a table cannot be its own mirror"
        );
    }
    lock(oid, name);
    check_own(oid, name, wanted.source);
    let missing = lacking(oid, wanted);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|c| c.known.name.as_str()).collect();
        refuse!(
            ERRCODE_DATATYPE_MISMATCH,
            format!(
                "{name} lacks columns of {}: {}",
                wanted.source_name,
                names.join(", ")
            )
        );
    }
    check_key(oid, name, wanted);
    let owner = owner_of(oid).unwrap_or_else(|| refuse_other(name));
    check_schema(oid, name, owner);
    if !wanted.overwrite && relation_shell::has_rows(u32::from(oid)) {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{name} is not empty"),
            "Use the option {\"overwrite\": true} to replace its rows."
        );
    }
}

/// Where the stream has no more than the key of a row that changes, the table's primary key has to be that key.
fn check_key(oid: pg_sys::Oid, name: &str, wanted: &Wanted<'_>) {
    let same = "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisprimary AND i.indimmediate \
                AND (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attname::pg_catalog.text COLLATE pg_catalog.\"C\") \
                FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) k(number) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attnum = k.number) \
                = (SELECT pg_catalog.array_agg(k ORDER BY k COLLATE pg_catalog.\"C\") FROM pg_catalog.unnest($2) k))";
    let arguments = [oid.into(), wanted.key.to_vec().into()];
    if !wanted.full && value::<bool>(same, &arguments) != Some(true) {
        refuse!(
            ERRCODE_INVALID_TABLE_DEFINITION,
            format!(
                "{name} needs a primary key of the same columns as {}: {}",
                wanted.source_name,
                wanted.key.join(", ")
            )
        );
    }
}
