// SPDX-License-Identifier: Apache-2.0
//! Where a sync's tables are: this database or another server. Questions to its catalogue are the same statements
//! either way, which name every object in full and answer in text.
use super::catalogue::Sync;
use super::relation_shell;
use super::remote_shell::Connection;
use super::session::{
    as_role, changed_value, column, elevated, execute, refuse, rows, with_own_names,
};
use doris_cdc::rewrite_detection::Files;
use doris_cdc::row::{OddValue, Row};
use doris_cdc::schema_diff::Known;
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;

/// The oldest source that publishes partitions as their root and sends binary values.
const SERVER_VERSION_MIN: i32 = 140_000;

/// The columns that identify a row of `c`, as JSON: the primary key, or the index the table names. A key that may be
/// violated until a transaction ends identifies nothing.
const KEY_COLUMNS: &str =
    "(SELECT pg_catalog.json_agg(a.attname ORDER BY k.at) FROM pg_catalog.pg_index i, \
     pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(number, at) \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number \
     WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND \
     CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)";

/// Whether values of the type `t` travel as text between servers: binary forms of user's types may hold oids, and those
/// of names of objects (regclass and its kin) are nothing else.
const BY_TEXT: &str =
    "(t.oid >= 10000 AND t.typtype <> 'e' OR t.typsend = 0 OR t.typname ~ '^_?reg')";

/// The files that the table `s` is made of, all as of one snapshot: see `doris_cdc::rewrite_detection`. What is
/// registered of mirrors that answer for their originals is compared with the same text.
const MADE_OF: &str = "COALESCE((SELECT pg_catalog.string_agg(p.relid::pg_catalog.oid || ':' || \
     CASE WHEN c.relkind = 'f' THEN 'f' WHEN c.relkind = 'r' AND c.relpersistence <> 'p' THEN 'u' \
     ELSE c.relfilenode::pg_catalog.text END || ':' || i.xmin, ' ' ORDER BY p.relid) \
     FROM pg_catalog.pg_partition_tree(s.oid) p JOIN pg_catalog.pg_class c ON c.oid = p.relid \
     JOIN pg_catalog.pg_inherits i ON i.inhrelid = p.relid WHERE p.level > 0), \
     CASE WHEN s.relkind <> 'p' THEN s.relfilenode::pg_catalog.text END)";

/// Which transactions wrote the descriptions of the columns of the table `s`.
const COLUMN_MARKS: &str =
    "(SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(a.attnum || ' ' || a.xmin, ',' ORDER BY a.attnum), 0) \
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = s.oid AND a.attnum > 0)::pg_catalog.text";

/// The members of the partitioned table `s` that were created as such and never written anew. A table that is attached
/// has each of its columns described again; one whose description is as old as the table was not. (A column that was
/// changed by a transaction that failed has a command id of that one, and an xmax.)
const BORN: &str = "(SELECT pg_catalog.string_agg(p.relid::pg_catalog.oid::pg_catalog.text, ' ' ORDER BY p.relid) \
     FROM pg_catalog.pg_partition_tree(s.oid) p JOIN pg_catalog.pg_class c ON c.oid = p.relid \
     JOIN pg_catalog.pg_attribute y ON y.attrelid = c.oid AND y.attnum = -1 \
     WHERE p.level > 0 AND c.relfilenode IN (0, c.oid) AND EXISTS (SELECT FROM pg_catalog.pg_attribute a \
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.xmin = y.xmin AND a.cmin = y.cmin AND a.xmax = '0'))";

/// What identifies the rows of the partitions of the table `s` in the WAL, each way once: the numbers that the columns have in
/// `s`, and their names, or null for all of them. It is theirs: that of the table they belong to says nothing about it.
const IDENTITIES: &str = "(SELECT pg_catalog.jsonb_agg(DISTINCT CASE WHEN l.relreplident <> 'f' THEN \
     COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(b.attnum, b.attname) ORDER BY b.attnum) \
     FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) k(number) \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = l.oid AND a.attnum = k.number \
     JOIN pg_catalog.pg_attribute b ON b.attrelid = s.oid AND b.attname = a.attname \
     WHERE i.indrelid = l.oid AND i.indisvalid AND i.indimmediate AND CASE l.relreplident WHEN 'i' THEN i.indisreplident \
     WHEN 'd' THEN i.indisprimary END), '[]'::pg_catalog.jsonb) END) \
     FROM pg_catalog.pg_partition_tree(s.oid) p JOIN pg_catalog.pg_class l ON l.oid = p.relid \
     WHERE p.isleaf AND p.level > 0 AND l.relkind = 'r')::pg_catalog.text";

/// Whether the publication `p`, if there is one, has values of stored generated columns (from 18 on).
const PUBLISHES_GENERATED: &str = "COALESCE(pg_catalog.to_jsonb(p) ->> 'pubgencols' = 's', false)";

/// How the table `s` is published by `p`, with its entry `r` if it is named there and its line `v` of the view: which
/// transactions wrote that, the kinds of changes left out, the condition on rows and the names of columns, if there are
/// (older servers have none).
const PUBLISHED: &str = "p.xmin || ' ' || COALESCE(r.oid || ' ' || r.xmin, ''), \
     NULLIF(pg_catalog.concat_ws(', ', CASE WHEN NOT p.pubinsert THEN 'inserts' END, \
     CASE WHEN NOT p.pubupdate THEN 'updates' END, CASE WHEN NOT p.pubdelete THEN 'deletes' END, \
     CASE WHEN NOT p.pubtruncate THEN 'truncates' END), ''), \
     pg_catalog.to_jsonb(v) ->> 'rowfilter', \
     (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
     WHERE a.attrelid = s.oid AND a.attnum::pg_catalog.text = ANY ( \
     pg_catalog.string_to_array(pg_catalog.translate(pg_catalog.to_jsonb(r) ->> 'prattrs', '[] ', ''), ',')))::pg_catalog.text";

/// What a look at a source showed.
pub(crate) struct Look {
    pub(crate) table: u32,
    pub(crate) files: Files,
    /// A hash of what wrote the descriptions of its columns.
    pub(crate) column_marks: Option<String>,
    /// The condition of the publication's on its rows.
    pub(crate) filter: Option<String>,
    /// The kinds of changes that its publication leaves out.
    kinds_left_out: Option<String>,
    /// The columns that it publishes, if not all.
    columns: Option<Vec<String>>,
    /// Of a partitioned table: what identifies rows of its partitions; `None` is all columns.
    identities: Vec<Option<Vec<(i16, String)>>>,
}

impl Look {
    /// Why the table cannot be mirrored as it is published.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self.files.published {
            None => Some("the publication does not have the table any more"),
            Some(_) if self.files.has_member_without_wal() => Some(
                "one of its partitions is a foreign table or unlogged: its rows are not in the WAL",
            ),
            Some(_) => None,
        }
    }

    /// Why changes of its partitions do not tell which row of a mirror they are of, whose key is of columns of these numbers.
    pub(crate) fn identity_problem(&self, key: Option<&[i16]>) -> Option<String> {
        let kinds = self.kinds_left_out.as_deref().unwrap_or_default();
        if kinds.contains("updates") && kinds.contains("deletes") {
            return None;
        }
        let tells = |identity: &&Option<Vec<(i16, String)>>| match (identity, key) {
            (None, _) => true,
            // PostgreSQL refuses to update and delete rows of such a partition.
            (Some(columns), _) if columns.is_empty() => true,
            (Some(columns), Some(key)) => key.iter().all(|n| columns.iter().any(|(m, _)| m == n)),
            (Some(_), None) => false,
        };
        let odd = self.identities.iter().find(|i| !tells(i))?.as_ref()?;
        let names: Vec<&str> = odd.iter().map(|(_, name)| name.as_str()).collect();
        let needs = match key {
            Some(_) => "the key of the mirror",
            None => "REPLICA IDENTITY FULL, as the mirror has no key",
        };
        Some(format!(
            "a partition has rows identified by {} in the WAL: it needs {needs}",
            names.join(", ")
        ))
    }

    /// What its publication leaves out.
    pub(crate) fn leaves_out(&self) -> Option<String> {
        let columns = self.columns.as_ref().map(|c| {
            let names: Vec<String> = c.iter().map(|n| quoted(n)).collect();
            format!("columns but {}", names.join(", "))
        });
        let rows = self.filter.as_ref().map(|f| format!("rows but {f}"));
        let parts = [self.kinds_left_out.clone(), rows, columns];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The source of a sync. With a connection, it is closed when this goes out of scope.
pub(crate) enum Source {
    /// This database.
    Local,
    /// Another one.
    Remote(Connection),
}

/// A column of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceColumn {
    pub(crate) known: Known,
    /// The type as SQL, with its schema unless it is PostgreSQL's own.
    pub(crate) type_name: String,
    pub(crate) by_text: bool,
    pub(crate) generated: Option<String>,
    pub(crate) collation: Option<String>,
}

/// The columns of a source, all as of one moment.
pub(crate) struct Layout {
    pub(crate) columns: Vec<SourceColumn>,
    /// The number of the column that was made last, whatever became of it.
    pub(crate) made: i16,
    /// The numbers of those that were dropped.
    pub(crate) dropped: Vec<i16>,
}

/// A table of the source.
#[derive(Clone, Debug)]
pub(crate) struct SourceTable {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) table: String,
    kind: String,
    persistence: String,
    identity: String,
    pub(crate) key: Vec<String>,
    /// The sync may read it and add it to its publication.
    permitted: bool,
}

impl SourceTable {
    /// Whether the stream has whole rows as they were before.
    pub(crate) fn is_full(&self) -> bool {
        self.identity == "f"
    }

    /// The full name as SQL.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    /// An error if the table cannot be mirrored.
    pub(crate) fn check(&self) {
        let name = self.name();
        if !matches!(self.kind.as_str(), "r" | "p") {
            refuse!(ERRCODE_WRONG_OBJECT_TYPE, format!("{name} is not a table"));
        }
        if self.persistence != "p" {
            refuse!(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("{name} is temporary or unlogged: its rows are not in the WAL")
            );
        }
        if !self.permitted {
            refuse!(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of table {name}")
            );
        }
        if !self.is_full() && (self.identity == "n" || self.key.is_empty()) {
            refuse!(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{name} has nothing that identifies its rows in the WAL"),
                format!("Add a primary key, or use ALTER TABLE {name} REPLICA IDENTITY FULL.")
            );
        }
    }
}

/// A name as it is written in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

impl Source {
    /// The sync's source; connects if it is another server.
    pub(crate) fn open(sync: &Sync) -> Self {
        match &sync.connection {
            None => Source::Local,
            Some(conninfo) => {
                let name = format!("pg_doris {}", sync.name);
                let mut connection = Connection::open(conninfo, &name);
                // A copy that row security has thinned out would be taken for the whole: better an error.
                connection.run("SET row_security = off");
                Source::Remote(connection)
            }
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Source::Local)
    }

    /// The rows of a question of `columns` columns of text. A transaction is open.
    pub(crate) fn rows(&mut self, sql: &str, columns: usize) -> Vec<Vec<Option<String>>> {
        match self {
            Source::Remote(connection) => connection.query(sql, columns),
            Source::Local => elevated(|| {
                rows(sql, &[], |r| {
                    (1..=columns).map(|i| column::<String>(r, i)).collect()
                })
            }),
        }
    }

    /// The rows of a question whose columns have these names, each through `read`. What cannot be read is an error.
    fn read<R>(
        &mut self,
        question: &'static str,
        names: &'static [&'static str],
        sql: &str,
        read: impl Fn(Row) -> Result<R, OddValue>,
    ) -> Vec<R> {
        let rows = self.rows(sql, names.len()).into_iter();
        rows.map(|values| read(Row::new(question, names, values)).unwrap_or_else(|e| error!("{e}")))
            .collect()
    }

    /// The number that a question asks for; `None` for NULL, and without a row.
    pub(crate) fn number(&mut self, question: &'static str, sql: &str) -> Option<u64> {
        self.read(question, &["number"], sql, |row| row.maybe("number"))
            .into_iter()
            .next()
            .flatten()
    }

    /// The first column of the first row.
    pub(crate) fn value(&mut self, sql: &str) -> Option<String> {
        self.rows(sql, 1)
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next().flatten())
    }

    /// As `value`, for a question that waits for transactions of the source.
    pub(crate) fn awaited_value(&mut self, sql: &str) -> Option<String> {
        match self {
            Source::Remote(connection) => {
                let rows = connection.without_timeout(|c| c.query(sql, 1));
                rows.into_iter()
                    .next()
                    .and_then(|row| row.into_iter().next().flatten())
            }
            Source::Local => self.value(sql),
        }
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, sql: &str) {
        match self {
            Source::Remote(connection) => connection.run(sql),
            Source::Local => elevated(|| execute(sql, &[])),
        }
    }

    /// The full name of a table, or what is wrong.
    pub(crate) fn relation_name(&mut self, table: u32) -> Result<String, String> {
        self.value(&format!(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {table}"
        ))
        .ok_or_else(|| "the source has been dropped".to_owned())
    }

    /// The tables `c` in the schemas `n` of which `condition` holds; `permitted` says whether the sync may take one.
    pub(crate) fn tables(&mut self, permitted: &str, condition: &str) -> Vec<SourceTable> {
        let sql = format!(
            "SELECT c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
             c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text, c.relreplident::pg_catalog.text, \
             {KEY_COLUMNS}::pg_catalog.text, ({permitted})::pg_catalog.text \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE {condition} ORDER BY n.nspname, c.relname"
        );
        const NAMES: &[&str] = &[
            "oid",
            "schema",
            "table",
            "kind",
            "persistence",
            "identity",
            "key",
            "permitted",
        ];
        self.read("tables of the source", NAMES, &sql, |row| {
            Ok(SourceTable {
                oid: row.get("oid")?,
                schema: row.get("schema")?,
                table: row.get("table")?,
                kind: row.get("kind")?,
                persistence: row.get("persistence")?,
                identity: row.get("identity")?,
                key: row
                    .maybe_by("key", |json| serde_json::from_str(json).ok())?
                    .unwrap_or_default(),
                // The owner of a table that is being dropped may be gone.
                permitted: row.text("permitted")?.is_some() && row.flag("permitted")?,
            })
        })
    }

    /// The key of a table's mirror. An error if changes in the stream would not tell which rows they are of, or could not
    /// be made any more: what the table computes is left out of the stream.
    pub(crate) fn key_of(
        &mut self,
        table: &SourceTable,
        columns: &[SourceColumn],
        own_publication: bool,
    ) -> Vec<String> {
        let name = table.name();
        let computed = |c: &&SourceColumn| c.generated.is_some();
        let Some(any) = columns.iter().find(computed) else {
            return table.key.clone();
        };
        if table.is_full() && own_publication && self.needs_generated_columns() {
            refuse!(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "{name} has REPLICA IDENTITY FULL and the generated column {}: PostgreSQL 18 would refuse to update \
                     and delete its rows once it is mirrored",
                    quoted(&any.known.name)
                ),
                format!("Use ALTER TABLE {name} REPLICA IDENTITY DEFAULT or USING INDEX.")
            );
        }
        let in_key = |c: &&SourceColumn| computed(c) && table.key.contains(&c.known.name);
        match columns.iter().find(in_key) {
            None => table.key.clone(),
            // Rows are told apart by all their values.
            Some(_) if table.is_full() => Vec::new(),
            Some(column) => refuse!(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "the key of {name} has the generated column {}, which is not in the stream of changes",
                    quoted(&column.known.name)
                ),
                format!("Use ALTER TABLE {name} REPLICA IDENTITY USING INDEX with another unique index, or FULL.")
            ),
        }
    }

    /// Whether the source refuses changes of rows that all columns identify, if its publication leaves out generated ones.
    fn needs_generated_columns(&mut self) -> bool {
        let sql = "SELECT (pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 180000)::pg_catalog.text";
        self.value(sql).as_deref() == Some("true")
    }

    /// The columns of a table that a publication has, generated ones among them; of those that it names, none is computed
    /// on the way.
    pub(crate) fn columns(&mut self, publication: &str, table: u32) -> Vec<SourceColumn> {
        self.layout(publication, table).columns
    }

    /// As `columns`, with what tells the numbers of columns apart.
    fn layout(&mut self, publication: &str, table: u32) -> Layout {
        let sql = format!(
            "SELECT a.attnum::pg_catalog.text, a.attname::pg_catalog.text, a.atttypid::pg_catalog.text, \
             a.atttypmod::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod), {BY_TEXT}::pg_catalog.text, \
             CASE WHEN a.attgenerated <> '' AND r.named IS NULL AND NOT (a.attgenerated = 's' AND {PUBLISHES_GENERATED}) \
             THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, \
             CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format('%I.%I', cn.nspname, co.collname) END, \
             c.relnatts::pg_catalog.text, (SELECT pg_catalog.json_agg(x.attnum) FROM pg_catalog.pg_attribute x \
             WHERE x.attrelid = c.oid AND x.attnum > 0 AND x.attisdropped)::pg_catalog.text \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
             LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace \
             LEFT JOIN (SELECT r.prrelid, pg_catalog.string_to_array(pg_catalog.translate(pg_catalog.to_jsonb(r) ->> 'prattrs', '[] ', ''), ',') \
             FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
             WHERE p.pubname = {name}) r(relid, named) ON r.relid = a.attrelid \
             LEFT JOIN pg_catalog.pg_publication p ON p.pubname = {name} WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped \
             AND (r.named IS NULL OR a.attnum::pg_catalog.text = ANY (r.named)) ORDER BY a.attnum",
            name = literal(publication)
        );
        const NAMES: &[&str] = &[
            "number",
            "name",
            "type",
            "typmod",
            "type name",
            "by text",
            "generated",
            "collation",
            "made",
            "dropped",
        ];
        // What stays in this database is never turned into something else.
        let far = !self.is_local();
        let read = |row: Row| {
            let column = SourceColumn {
                known: Known {
                    number: row.get("number")?,
                    name: row.get("name")?,
                    type_oid: row.get("type")?,
                    typmod: row.get("typmod")?,
                },
                type_name: row.get("type name")?,
                by_text: far && row.flag("by text")?,
                generated: row.maybe("generated")?,
                collation: row.maybe("collation")?,
            };
            let dropped: Option<Vec<i16>> =
                row.maybe_by("dropped", |json| serde_json::from_str(json).ok())?;
            Ok((column, row.get::<i16>("made")?, dropped.unwrap_or_default()))
        };
        let rows = self.read("columns of the source", NAMES, &sql, read);
        // The same in all rows; a table without columns that are published has none.
        let (made, dropped) = rows.first().map_or((0, Vec::new()), |(_, made, dropped)| {
            (*made, dropped.clone())
        });
        Layout {
            columns: rows.into_iter().map(|(column, _, _)| column).collect(),
            made,
            dropped,
        }
    }

    /// What a table computes by itself.
    pub(crate) fn computed(&mut self, publication: &str, table: u32) -> String {
        let columns = self.columns(publication, table);
        let computed = columns.iter().filter_map(|c| {
            Some(format!(
                "{} {}",
                quoted(&c.known.name),
                c.generated.as_ref()?
            ))
        });
        computed.collect::<Vec<_>>().join(", ")
    }

    /// The columns as the stream shows them: no generated ones.
    pub(crate) fn stream_columns(&mut self, publication: &str, table: u32) -> Vec<SourceColumn> {
        self.stream_layout(publication, table).columns
    }

    /// As `stream_columns`, with what tells the numbers of columns apart.
    pub(crate) fn stream_layout(&mut self, publication: &str, table: u32) -> Layout {
        let mut layout = self.layout(publication, table);
        layout.columns.retain(|c| c.generated.is_none());
        layout
    }

    /// Whether an index of the table makes sure that no two rows have the same values in the columns of these numbers.
    /// True of a table that is gone.
    pub(crate) fn is_unique(&mut self, table: u32, columns: &[i16]) -> bool {
        let list: Vec<String> = columns.iter().map(i16::to_string).collect();
        let sql = format!(
            "SELECT (NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = {table}) OR EXISTS (SELECT FROM \
             pg_catalog.pg_index i WHERE i.indrelid = {table} AND i.indisunique AND i.indisvalid AND i.indimmediate \
             AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (SELECT FROM \
             pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) k(number) \
             WHERE k.number <> ALL (ARRAY[{}]::pg_catalog.int2[]))))::pg_catalog.text",
            list.join(", ")
        );
        self.value(&sql).as_deref() == Some("true")
    }

    /// About how many rows there are to copy, if that is known.
    pub(crate) fn estimate(&mut self, table: u32) -> Option<i64> {
        let sql = format!(
            "SELECT pg_catalog.sum(c.reltuples::pg_catalog.numeric)::pg_catalog.int8::pg_catalog.text \
             FROM pg_catalog.pg_class c WHERE (c.oid = {table} OR c.oid IN (SELECT p.relid FROM \
             pg_catalog.pg_partition_tree({table}) p)) AND c.relkind = 'r' HAVING pg_catalog.min(c.reltuples) >= 0"
        );
        self.number("statistics of the source", &sql)
            .and_then(|rows| i64::try_from(rows).ok())
    }

    /// What tables are made of and how they are published, by one look at the catalogue; those that are gone are left out.
    pub(crate) fn look(&mut self, publication: &str, tables: &[u32]) -> Vec<Look> {
        if tables.is_empty() {
            return Vec::new();
        }
        let list: Vec<String> = tables.iter().map(u32::to_string).collect();
        let sql = format!(
            "SELECT s.oid::pg_catalog.text, {MADE_OF}, CASE WHEN s.relkind = 'p' THEN {BORN} END, {COLUMN_MARKS}, \
             s.relkind::pg_catalog.text, {PUBLISHED}, CASE WHEN s.relkind = 'p' THEN {IDENTITIES} END \
             FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
             LEFT JOIN pg_catalog.pg_publication_tables v ON v.pubname = {} AND v.schemaname = n.nspname \
             AND v.tablename = s.relname \
             LEFT JOIN pg_catalog.pg_publication p ON p.pubname = v.pubname \
             LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = s.oid WHERE s.oid IN ({})",
            literal(publication),
            list.join(", ")
        );
        const NAMES: &[&str] = &[
            "table",
            "files",
            "born",
            "column marks",
            "kind",
            "published",
            "kinds left out",
            "filter",
            "columns",
            "identities",
        ];
        self.read("what sources are made of", NAMES, &sql, |row| {
            let partitioned = row.get::<String>("kind")? == "p";
            let marks = if partitioned { "born" } else { "column marks" };
            Ok(Look {
                table: row.get("table")?,
                files: Files {
                    files: row.maybe("files")?,
                    marks: row.maybe(marks)?,
                    partitioned,
                    published: row.maybe("published")?,
                },
                column_marks: row.maybe("column marks")?,
                kinds_left_out: row.maybe("kinds left out")?,
                filter: row.maybe("filter")?,
                columns: row.maybe_by("columns", |json| serde_json::from_str(json).ok())?,
                identities: row
                    .maybe_by("identities", |json| serde_json::from_str(json).ok())?
                    .unwrap_or_default(),
            })
        })
    }

    /// The first column of a question to a table of a user's. Here it is asked with its owner's rights: the planner may
    /// call functions that the owner chose.
    pub(crate) fn owners_value(&mut self, table: u32, sql: &str) -> Option<String> {
        match self {
            Source::Local => as_owner(table, || changed_value::<String>(sql, &[])),
            Source::Remote(_) => self.value(sql),
        }
    }

    /// Whether a table is partitioned.
    pub(crate) fn is_partitioned(&mut self, table: u32) -> bool {
        let sql =
            format!("SELECT relkind::pg_catalog.text FROM pg_catalog.pg_class WHERE oid = {table}");
        self.value(&sql).as_deref() == Some("p")
    }

    /// The snapshot in force, and a position in the WAL behind all that it saw.
    pub(crate) fn snapshot(&mut self) -> (String, String) {
        let snapshot = self.value("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text");
        // Read after the snapshot was taken, so that whatever it saw lies before.
        let lsn = self.value("SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text");
        match (snapshot, lsn) {
            (Some(snapshot), Some(lsn)) => (snapshot, lsn),
            _ => error!("the source has no snapshot"),
        }
    }

    /// The end of what is on the disk of the source.
    pub(crate) fn position(&mut self) -> Lsn {
        let sql = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::pg_catalog.text";
        self.wal_position(sql)
    }

    /// The position that a question asks for.
    fn wal_position(&mut self, sql: &str) -> Lsn {
        let position = self.number("the WAL of the source", sql);
        Lsn(position.unwrap_or_else(|| error!("the source has no position in its WAL")))
    }

    /// The end of what is written of the source's WAL, which is on its way to the disk: decoding reads it there.
    pub(crate) fn written(&mut self) -> Lsn {
        let sql = "SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::pg_catalog.text";
        let position = self.wal_position(sql).before_page_header();
        if self.is_local() {
            // SAFETY: a position that has been written.
            unsafe { pg_sys::XLogFlush(position.0) };
        } else if self.position() < position {
            // The end of a transaction that has an id wakes the process that writes behind.
            self.value("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text");
        }
        position
    }

    /// Whether these members are too large to be read while the stream stands still: larger than what is beside them, or
    /// than a gigabyte.
    pub(crate) fn is_most(&mut self, table: u32, members: &[u32]) -> bool {
        let list: Vec<String> = members.iter().map(u32::to_string).collect();
        let own = format!(
            "p.relid = ANY (ARRAY[{}]::pg_catalog.oid[])",
            list.join(", ")
        );
        let size = "pg_catalog.sum(pg_catalog.pg_table_size(p.relid))";
        let sql = format!(
            "SELECT ({size} FILTER (WHERE {own}) > LEAST({size} FILTER (WHERE NOT {own}), 1073741824))::pg_catalog.text \
             FROM pg_catalog.pg_partition_tree({table}) p WHERE p.isleaf"
        );
        self.value(&sql).as_deref() != Some("false")
    }

    /// What a partitioned table is made of now, as in its `Files`.
    pub(crate) fn made_of(&mut self, table: u32) -> Option<String> {
        self.value(&format!(
            "SELECT {MADE_OF} FROM pg_catalog.pg_class s WHERE s.oid = {table}"
        ))
    }

    /// For each member with rows of its own, the condition that they meet.
    pub(crate) fn bounds(&mut self, table: u32) -> Vec<(u32, String)> {
        let sql = format!(
            "SELECT p.relid::pg_catalog.oid::pg_catalog.text, pg_catalog.pg_get_partition_constraintdef(p.relid) \
             FROM pg_catalog.pg_partition_tree({table}) p WHERE p.isleaf AND p.level > 0"
        );
        let read = |row: Row| Ok((row.get::<u32>("member")?, row.maybe::<String>("condition")?));
        let rows = self.read(
            "partitions of the source",
            &["member", "condition"],
            &sql,
            read,
        );
        rows.into_iter()
            .filter_map(|(member, condition)| Some((member, condition?)))
            .collect()
    }

    /// Whether conditions on the members of a partitioned table call no function of a user's: their keys are columns, of
    /// types and with operators of PostgreSQL's own, from the topmost table down.
    pub(crate) fn bounds_are_plain(&mut self, table: u32) -> bool {
        const OWN: &str = "'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid";
        let sql = format!(
            "SELECT pg_catalog.bool_and(NOT EXISTS (SELECT FROM pg_catalog.unnest(k.partattrs) n(number) \
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.partrelid AND a.attnum = n.number AND n.number <> 0 \
             LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE t.typnamespace IS DISTINCT FROM {OWN}) \
             AND NOT EXISTS (SELECT FROM pg_catalog.unnest(k.partclass) n(class) \
             LEFT JOIN pg_catalog.pg_opclass o ON o.oid = n.class WHERE o.opcnamespace IS DISTINCT FROM {OWN} \
             ))::pg_catalog.text FROM pg_catalog.pg_partitioned_table k WHERE k.partrelid = {table} \
             OR k.partrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({table}) p) \
             OR k.partrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_ancestors({table}) p(relid))"
        );
        self.value(&sql).as_deref() == Some("true")
    }

    /// Whether conditions on the members of a partitioned table mean the same on another server: no order of texts, no
    /// hash.
    pub(crate) fn bounds_can_travel(&mut self, table: u32) -> bool {
        let sql = format!(
            "SELECT pg_catalog.bool_and(k.partstrat IN ('l', 'r') AND NOT EXISTS (SELECT FROM \
             pg_catalog.unnest(k.partcollation) c WHERE c <> 0))::pg_catalog.text FROM pg_catalog.pg_partitioned_table k \
             WHERE k.partrelid = {table} OR k.partrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({table}) p)"
        );
        self.value(&sql).as_deref() == Some("true")
    }

    /// Whether the table can hold no row of which `condition` is true, by what its members are.
    pub(crate) fn excludes(&mut self, table: u32, name: &str, condition: &str) -> bool {
        let sql = format!("EXPLAIN (COSTS OFF, FORMAT JSON) SELECT FROM {name} WHERE {condition}");
        let plan: Option<serde_json::Value> = match self {
            Source::Remote(connection) => connection
                .query(&sql, 1)
                .first()
                .and_then(|row| serde_json::from_str(row[0].as_ref()?).ok()),
            Source::Local => {
                as_owner(table, || changed_value::<pgrx::Json>(&sql, &[])).map(|j| j.0)
            }
        };
        let plan = plan.unwrap_or_default();
        let top = &plan[0]["Plan"];
        top["Node Type"] == "Result" && top["One-Time Filter"] == "false" && top["Plans"].is_null()
    }

    /// The transactions running now.
    pub(crate) fn running(&mut self) -> CopySnapshot {
        let (text, _) = self.snapshot();
        CopySnapshot::parse(&text, Lsn(0)).unwrap_or_else(|e| error!("{e}"))
    }

    /// A transaction that runs, began before `xid` and may change tables of this database: any but those that are known to
    /// be another one's.
    pub(crate) fn running_before(&mut self, xid: u64) -> Option<u64> {
        let sql = format!(
            "SELECT x.xid::pg_catalog.text FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) x(xid) \
             WHERE x.xid < '{xid}'::pg_catalog.xid8 AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l \
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid \
             WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock' \
             AND l.transactionid = x.xid::pg_catalog.xid AND COALESCE(a.datname, p.database) <> \
             pg_catalog.current_database()) LIMIT 1"
        );
        self.number("transactions of the source", &sql)
    }

    /// Whether the stream of these tables can carry binary values.
    pub(crate) fn can_be_binary(&mut self, tables: &[u32]) -> bool {
        if self.is_local() || tables.is_empty() {
            return true;
        }
        let list: Vec<String> = tables.iter().map(u32::to_string).collect();
        let sql = format!(
            "SELECT pg_catalog.bool_or({BY_TEXT})::pg_catalog.text FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid IN ({}) AND a.attnum > 0 \
             AND NOT a.attisdropped",
            list.join(", ")
        );
        self.value(&sql).as_deref() != Some("true")
    }

    /// What another server must be, and its system identifier; `None` for this database.
    pub(crate) fn check_server(&mut self) -> Option<String> {
        let Source::Remote(connection) = self else {
            return None;
        };
        let system = connection
            .query("IDENTIFY_SYSTEM", 4)
            .into_iter()
            .next()
            .and_then(|r| r[0].clone());
        let version = self.value("SELECT pg_catalog.current_setting('server_version_num')");
        let version = version.and_then(|v| v.parse().ok()).unwrap_or(0);
        if version < SERVER_VERSION_MIN {
            error!("the source is PostgreSQL {version}; mirrors need 14 or newer");
        }
        let level = self.value("SELECT pg_catalog.current_setting('wal_level')");
        if level.as_deref() != Some("logical") {
            error!(
                "the source has wal_level = {}; mirrors need logical",
                level.unwrap_or_default()
            );
        }
        if self
            .value("SELECT pg_catalog.pg_is_in_recovery()::pg_catalog.text")
            .as_deref()
            == Some("true")
        {
            error!("the source is a standby; mirrors need the primary");
        }
        system
    }
}

/// Runs `f` with the rights of a table's owner, and PostgreSQL's own names.
fn as_owner<R>(table: u32, f: impl FnOnce() -> Option<R>) -> Option<R> {
    let sql = format!("SELECT relowner FROM pg_catalog.pg_class WHERE oid = {table}");
    let owner = elevated(|| changed_value::<pg_sys::Oid>(&sql, &[]))?;
    // What is run names the table.
    if let Some(why) = relation_shell::schema_problem(table, owner, "the source") {
        error!("{why}");
    }
    with_own_names(|| as_role(owner, f))
}
