// SPDX-License-Identifier: Apache-2.0
//! `doris.upsert_json`: rows that each name their own columns.
//!
//! Rows that follow each other and name the same columns become one INSERT that is a partial update, so that triggers,
//! constraints and row security are PostgreSQL's. Rows with a delete sign become a DELETE; where they name the
//! sequence, it is remembered for their keys (`record_deletes`). Of a partitioned table the partitions say what the key
//! is.
use crate::keys::merge::recheck;
use crate::keys::record_deletes::DeleteRecorder;
use crate::keys::statement;
use crate::options::model::{self, Model};
use crate::pg::{self, attributes, raw};
use crate::plan::hook::is_doris_table;
use crate::types::shells::{sql_functions, Args};
use pgrx::datum::DatumWithOid;
use pgrx::spi::quote_identifier;
use pgrx::{pg_sys, IntoDatum, PgSqlErrorCode, Spi};

sql_functions! {
    "doris_upsert_json" => upsert;
}

/// Splits rows into runs of equal columns and equal sign, in their order. `$1` are the rows, `$2` the table.
const RUNS: &str = "\
WITH rows AS (
  SELECT e, o, pg_catalog.jsonb_typeof(e) AS kind,
         coalesce(e ->> '__DORIS_DELETE_SIGN__' IN ('1', 'true'), false) AS deletes,
         ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = $2 AND a.attnum > 0 AND NOT a.attisdropped AND e ? a.attname::pg_catalog.text
                ORDER BY a.attnum) AS columns
    FROM pg_catalog.jsonb_array_elements(
           CASE pg_catalog.jsonb_typeof($1) WHEN 'array' THEN $1 ELSE pg_catalog.jsonb_build_array($1) END)
         WITH ORDINALITY r(e, o)),
numbered AS (
  SELECT *, o - pg_catalog.row_number() OVER (PARTITION BY kind, deletes, columns ORDER BY o) AS run FROM rows)
SELECT kind, deletes, columns, pg_catalog.array_agg(e::pg_catalog.text ORDER BY o), pg_catalog.min(o)
  FROM numbered GROUP BY kind, deletes, columns, run ORDER BY pg_catalog.min(o)";

/// Rows of one shape that follow each other.
struct Run {
    deletes: bool,
    columns: Vec<String>,
    /// JSON texts: numbers keep all their digits.
    rows: Vec<String>,
    first: i64,
}

fn upsert(args: &Args) -> Option<i64> {
    let (relid, rows) = (args.datum(0)?, args.datum(1)?);
    let relid = pg_sys::Oid::from(relid.value() as u32);
    let target = Target::of(relid);
    // SAFETY: the arguments are of the types that the SQL declaration gives them.
    let arguments = unsafe {
        [
            DatumWithOid::new(rows, pg_sys::JSONBOID),
            DatumWithOid::new(relid.into_datum()?, pg_sys::OIDOID),
        ]
    };
    let runs = Spi::connect(|client| -> Result<Vec<Run>, pgrx::spi::Error> {
        let mut runs = Vec::new();
        for row in client.select(RUNS, None, &arguments)? {
            let first = row.get::<i64>(5)?.unwrap_or(0);
            if row.get::<String>(1)?.as_deref() != Some("object") {
                refuse_row(
                    &target,
                    first,
                    "is not a JSON object",
                    "Give an object for each row.",
                );
            }
            runs.push(Run {
                deletes: row.get::<bool>(2)?.unwrap_or(false),
                columns: row.get::<Vec<String>>(3)?.unwrap_or_default(),
                rows: row.get::<Vec<String>>(4)?.unwrap_or_default(),
                first,
            });
        }
        Ok(runs)
    });
    let runs = runs.unwrap_or_else(|error| pgrx::error!("could not read the rows: {error}"));
    let mut count = 0;
    for run in runs {
        count += run.rows.len() as i64;
        target.apply(run);
    }
    Some(count)
}

/// The table that the rows are for.
struct Target {
    relid: pg_sys::Oid,
    /// Its name as SQL writes it.
    name: String,
    plain_name: String,
    key: Key,
    stores: Vec<Store>,
}

/// A table that stores rows of the target: itself, or a partition.
struct Store {
    relid: pg_sys::Oid,
    /// Rows of a key may be in this one of several tables, and the key says whether they are.
    of_key: bool,
}

/// The key of a table, by name.
struct Key {
    columns: Vec<String>,
    /// Some of the columns may be NULL.
    nullable: Vec<bool>,
    sequence: Option<Sequence>,
}

/// The sequence column of a table.
#[derive(PartialEq)]
struct Sequence {
    name: String,
    computed: Option<Computed>,
}

/// What a generated column is computed from.
#[derive(PartialEq)]
struct Computed {
    /// The expression, as SQL over the table's columns.
    expression: String,
    sources: Vec<String>,
}

/// The sequences of rows.
struct Given<'a> {
    /// The column.
    name: &'a str,
    /// Its value, as SQL over a record `r` of the table.
    value: String,
}

impl Key {
    /// That of a unique key table.
    fn of(rel: pg_sys::Relation) -> Option<Self> {
        if !is_doris_table(pg::relation_id(rel)) {
            return None;
        }
        let keyed = model::of(rel).filter(|keyed| keyed.model == Model::Unique)?;
        let (columns, nullable) = columns(rel, &keyed.keys).into_iter().unzip();
        let sequence = keyed.sequence.and_then(|number| Sequence::of(rel, number));
        Some(Self {
            columns,
            nullable,
            sequence,
        })
    }

    /// The key of two tables; `None` where they differ.
    fn and(mut self, other: Self) -> Option<Self> {
        let same = self.columns == other.columns && self.sequence == other.sequence;
        for (nullable, also) in self.nullable.iter_mut().zip(other.nullable) {
            *nullable |= also;
        }
        same.then_some(self)
    }
}

impl Sequence {
    fn of(rel: pg_sys::Relation, number: u16) -> Option<Self> {
        let mut all = attributes::live(rel);
        let attribute = all.find(|attribute| attribute.attnum as u16 == number)?;
        let computed = (attribute.attgenerated != 0).then(|| {
            let sources = recheck::sources(rel, usize::from(number) - 1);
            let numbers: Vec<u16> = sources.iter().map(|column| *column as u16 + 1).collect();
            let mut sources: Vec<String> =
                columns(rel, &numbers).into_iter().map(|c| c.0).collect();
            // Partitions may have them in another order.
            sources.sort_unstable();
            Computed {
                expression: generation_expression(pg::relation_id(rel), number),
                sources,
            }
        });
        Some(Self {
            name: pg::attribute_name(attribute),
            computed,
        })
    }
}

impl Target {
    fn of(relid: pg_sys::Oid) -> Self {
        check_rights(relid);
        // Relations stay locked until the transaction ends, as they would be by a statement.
        pg::with_relation(relid, pg_sys::RowExclusiveLock, |rel| {
            let plain_name = pg::relation_name(rel);
            let name = pg::qualified_name(relid).unwrap_or_else(|| plain_name.clone());
            // SAFETY: an open relation.
            let kind = unsafe { (*(*rel).rd_rel).relkind } as u8;
            let (key, stores) = match kind == pg_sys::RELKIND_PARTITIONED_TABLE {
                true => key_of_partitions(relid, &plain_name),
                false => (Key::of(rel), vec![Store::alone(relid)]),
            };
            let key = key.unwrap_or_else(|| refuse_table(&plain_name));
            Self {
                relid,
                name,
                plain_name,
                key,
                stores,
            }
        })
    }

    fn apply(&self, run: Run) {
        let missing = |key: &&String| !run.columns.contains(key);
        if let Some(key) = self.key.columns.iter().find(missing) {
            let what = format!("lacks key column \"{key}\"");
            refuse_row(self, run.first, &what, "Rows are found by their whole key.");
        }
        if run.deletes {
            self.delete_rows(run);
        } else {
            statement::next_is_partial(self.relid);
            execute(&self.insert(&run.columns), run.rows);
            statement::next_is_partial(pg_sys::InvalidOid);
        }
    }

    /// Deletes the rows of keys, and remembers the sequences that are given for the others: of the keys that are not
    /// there any more. A row that came between the two is deleted in another turn, and who deletes one meanwhile leaves
    /// its own sequence only: the rest stays once a turn has neither deleted nor remembered any of it.
    fn delete_rows(&self, run: Run) {
        let given = self.given(&run);
        let (mut rows, mut again) = (run.rows, false);
        while !rows.is_empty() {
            let (deleted, before) = (self.delete(given.as_ref(), &rows), rows.len());
            let Some(sequence) = &given else {
                return;
            };
            rows = self.record_deletes(sequence, rows);
            if again && deleted == 0 && rows.len() == before {
                return;
            }
            again = true;
        }
    }

    /// The sequences of the rows of a run: as they name it, or computed from the columns that they name. `None` where
    /// they say nothing of it.
    fn given(&self, run: &Run) -> Option<Given<'_>> {
        let sequence = self.key.sequence.as_ref()?;
        let given = |value| Given {
            name: &sequence.name,
            value,
        };
        if run.columns.contains(&sequence.name) {
            return Some(given(format!("r.{}", quote_identifier(&sequence.name))));
        }
        let computed = sequence.computed.as_ref()?;
        let missing = |source: &&String| !run.columns.contains(source);
        let Some(missing) = computed.sources.iter().find(missing) else {
            let expression = &computed.expression;
            let value = format!("(SELECT {expression} FROM (SELECT r.*) p)");
            return Some(given(value));
        };
        let named =
            |source: &String| run.columns.contains(source) && !self.key.columns.contains(source);
        if computed.sources.iter().any(named) {
            let name = &sequence.name;
            refuse_row(
                self,
                run.first,
                &format!("lacks column \"{missing}\", from which the sequence column \"{name}\" is computed"),
                "Name all columns that the sequence column is computed from, or none.",
            );
        }
        None
    }

    /// Remembers the sequences of rows; returns those of whose keys a row is stored.
    fn record_deletes(&self, sequence: &Given, rows: Vec<String>) -> Vec<String> {
        // SAFETY: plain calls; who may not see all rows does not decide about those that are not there.
        let hidden = unsafe {
            let rls = pg_sys::check_enable_rls(self.relid, pg_sys::InvalidOid, true);
            rls == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
        };
        if hidden {
            return Vec::new();
        }
        let mut left: Vec<usize> = Vec::new();
        for store in &self.stores {
            left.extend(self.record_deletes_in(store, sequence, rows.clone()));
        }
        left.sort_unstable();
        let mut rows: Vec<Option<String>> = rows.into_iter().map(Some).collect();
        let of_place = |place: &usize| rows.get_mut(*place).and_then(Option::take);
        left.iter().filter_map(of_place).collect()
    }

    /// Remembers the sequences of those rows that belong to a table, or may; returns the places, from 0, of those of
    /// whose keys a row is stored there.
    fn record_deletes_in(&self, store: &Store, sequence: &Given, rows: Vec<String>) -> Vec<usize> {
        let relid = store.relid;
        let belongs = store.of_key.then(|| partition_condition(relid));
        let keys: Vec<String> = self.key.columns.iter().map(quote_identifier).collect();
        let sql = format!(
            "SELECT u.o, r.{}, {} FROM {} ORDER BY u.o",
            keys.join(", r."),
            sequence.value,
            self.records_where(belongs.as_deref())
        );
        // SAFETY: a text array is what the statement takes.
        let argument = unsafe { DatumWithOid::new(rows, pg_sys::TEXTARRAYOID) };
        let stored = Spi::connect(|client| -> Result<Vec<usize>, pgrx::spi::Error> {
            let _table = client.select(&sql, None, &[argument])?;
            Ok(pg::with_relation(relid, pg_sys::NoLock, |rel| {
                // SAFETY: the result of the statement before; it lives as long as the connection.
                unsafe { record_all(rel, pg_sys::SPI_tuptable, keys.len()) }
            }))
        });
        stored.unwrap_or_else(|error| pgrx::error!("could not read the rows: {error}"))
    }

    /// The rows of `$1` as records `r` of the table, with their places.
    fn records(&self) -> String {
        self.records_where(None)
    }

    /// Those of which a condition on the table's columns holds.
    fn records_where(&self, condition: Option<&str>) -> String {
        let row = format!(
            "pg_catalog.jsonb_populate_record(NULL::{}, u.e::pg_catalog.jsonb)",
            self.name
        );
        let row = condition.map_or(row.clone(), |condition| {
            format!("(SELECT p.* FROM {row} p WHERE {condition})")
        });
        format!("pg_catalog.unnest($1) WITH ORDINALITY u(e, o), LATERAL {row} r")
    }

    fn insert(&self, columns: &[String]) -> String {
        let quoted: Vec<String> = columns.iter().map(quote_identifier).collect();
        let values: Vec<String> = quoted.iter().map(|column| format!("r.{column}")).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY u.o",
            self.name,
            quoted.join(", "),
            values.join(", "),
            self.records()
        )
    }

    /// Deletes the rows of keys, whose sequence allows it where one is named; returns how many there were.
    fn delete(&self, sequence: Option<&Given>, rows: &[String]) -> usize {
        let deleted = execute(&self.deletion(sequence, "="), rows.to_vec());
        let nulls = self.of_null_keys(rows);
        if nulls.is_empty() {
            return deleted;
        }
        // Not for all rows: no index is searched for it.
        deleted + execute(&self.deletion(sequence, "IS NOT DISTINCT FROM"), nulls)
    }

    /// The rows with a NULL in their key.
    fn of_null_keys(&self, rows: &[String]) -> Vec<String> {
        let columns = self.key.columns.iter().zip(&self.key.nullable);
        let nulls: Vec<String> = columns
            .filter(|(_, nullable)| **nullable)
            .map(|(column, _)| format!("r.{} IS NULL", quote_identifier(column)))
            .collect();
        if nulls.is_empty() {
            return Vec::new();
        }
        let sql = format!(
            "SELECT u.e FROM {} WHERE {} ORDER BY u.o",
            self.records(),
            nulls.join(" OR ")
        );
        // SAFETY: a text array is what the statement takes.
        let argument = unsafe { DatumWithOid::new(rows.to_vec(), pg_sys::TEXTARRAYOID) };
        let found = Spi::connect(|client| -> Result<Vec<String>, pgrx::spi::Error> {
            let table = client.select(&sql, None, &[argument])?;
            let texts = table.map(|row| row.get::<String>(1));
            texts.filter_map(Result::transpose).collect()
        });
        found.unwrap_or_else(|error| pgrx::error!("could not read the rows: {error}"))
    }

    fn deletion(&self, sequence: Option<&Given>, equals: &str) -> String {
        let keys = self.key.columns.iter().map(quote_identifier);
        let mut conditions: Vec<String> = keys
            .map(|key| format!("t.{key} {equals} r.{key}"))
            .collect();
        conditions.extend(sequence.map(|given| {
            let name = quote_identifier(given.name);
            format!("(t.{name} IS NULL OR t.{name} <= {})", given.value)
        }));
        format!(
            "DELETE FROM {} t USING {} WHERE {}",
            self.name,
            self.records(),
            conditions.join(" AND ")
        )
    }
}

impl Store {
    fn alone(relid: pg_sys::Oid) -> Self {
        Self {
            relid,
            of_key: false,
        }
    }

    /// A partition, whose key is known.
    fn partition(rel: pg_sys::Relation, key: &Key) -> Self {
        let decides = columns(rel, &raw::partition_columns(rel));
        Self {
            relid: pg::relation_id(rel),
            of_key: decides.iter().all(|(name, _)| key.columns.contains(name)),
        }
    }
}

/// Who may neither insert nor delete any rows does not get as far as the locks.
fn check_rights(relid: pg_sys::Oid) {
    // SAFETY: catalogue look-ups of any relation; the name is a palloc'd copy, or null.
    unsafe {
        let (user, any) = (pg_sys::GetUserId(), pg_sys::AclMaskHow::ACLMASK_ANY);
        let granted = pg_sys::AclResult::ACLCHECK_OK;
        let (insert, delete) = (pg_sys::ACL_INSERT, pg_sys::ACL_DELETE);
        if pg_sys::pg_class_aclcheck(relid, user, (insert | delete) as pg_sys::AclMode) != granted
            && pg_sys::pg_attribute_aclcheck_all(relid, user, insert as pg_sys::AclMode, any)
                != granted
        {
            let kind = pg_sys::get_relkind_objtype(pg_sys::get_rel_relkind(relid));
            pg_sys::aclcheck_error(
                pg_sys::AclResult::ACLCHECK_NO_PRIV,
                kind,
                pg_sys::get_rel_name(relid),
            );
        }
    }
}

/// The key that all partitions of a table have, and the partitions.
fn key_of_partitions(relid: pg_sys::Oid, name: &str) -> (Option<Key>, Vec<Store>) {
    let mut key: Option<Key> = None;
    let mut stores = Vec::new();
    for relid in raw::inheritors_locked(relid, pg_sys::RowExclusiveLock as i32) {
        // SAFETY: a catalogue look-up.
        let kind = unsafe { pg_sys::get_rel_relkind(relid) } as u8;
        if kind == pg_sys::RELKIND_PARTITIONED_TABLE {
            continue;
        }
        let of_partition = pg::with_relation(relid, pg_sys::NoLock, |rel| {
            let found = Key::of(rel).ok_or_else(|| pg::relation_name(rel));
            stores.extend(found.iter().map(|key| Store::partition(rel, key)));
            found
        });
        let of_partition = of_partition.unwrap_or_else(|partition| refuse_table(&partition));
        let both = match key.take() {
            None => Some(of_partition),
            Some(key) => key.and(of_partition),
        };
        key = Some(both.unwrap_or_else(|| refuse_keys(name)));
    }
    (key, stores)
}

/// What holds for the rows of a partition, as SQL.
fn partition_condition(relid: pg_sys::Oid) -> String {
    // SAFETY: an OID is what the statement takes.
    let argument = unsafe { DatumWithOid::new(relid, pg_sys::OIDOID) };
    let sql = "SELECT coalesce(pg_catalog.pg_get_partition_constraintdef($1), 'true')";
    let found = Spi::get_one_with_args::<String>(sql, &[argument]);
    let found = found.unwrap_or_else(|error| pgrx::error!("could not read the partition: {error}"));
    found.unwrap_or_else(|| String::from("true"))
}

/// The expression of a generated column, as a value of the column's type.
fn generation_expression(relid: pg_sys::Oid, number: u16) -> String {
    // SAFETY: values of the types that the statement takes.
    let arguments = unsafe {
        [
            DatumWithOid::new(relid, pg_sys::OIDOID),
            DatumWithOid::new(number as i16, pg_sys::INT2OID),
        ]
    };
    let sql = "\
SELECT pg_catalog.format('(%s)::%s', pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.format_type(a.atttypid, a.atttypmod))
  FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE d.adrelid = $1 AND d.adnum = $2";
    let found = Spi::get_one_with_args::<String>(sql, &arguments);
    let found = found.unwrap_or_else(|error| pgrx::error!("could not read the column: {error}"));
    found.unwrap_or_else(|| String::from("NULL"))
}

fn refuse_table(name: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("\"{name}\" is not a unique key table"),
        "Rows that name their own columns need a table with option unique_key, or a partitioned one of such tables.",
    )
}

fn refuse_keys(name: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("the partitions of \"{name}\" have different keys or sequence columns"),
        "Write to each of the partitions.",
    )
}

/// Runs a statement over rows; returns how many it changed.
fn execute(sql: &str, rows: Vec<String>) -> usize {
    // SAFETY: a text array is what the statements take.
    let rows = unsafe { DatumWithOid::new(rows, pg_sys::TEXTARRAYOID) };
    let done =
        Spi::connect_mut(|client| client.update(sql, None, &[rows]).map(|table| table.len()));
    done.unwrap_or_else(|error| pgrx::error!("could not write the rows: {error}"))
}

/// Remembers the deletes of a result's rows, which are a place from 1, keys and a sequence; returns the places, from 0,
/// of those of whose keys a row is stored.
unsafe fn record_all(
    rel: pg_sys::Relation,
    table: *mut pg_sys::SPITupleTable,
    keys: usize,
) -> Vec<usize> {
    // SAFETY: passed on to the caller: a result with these columns.
    unsafe {
        let count = (*table).numvals as usize;
        if count == 0 {
            return Vec::new();
        }
        let cid = pg_sys::GetCurrentCommandId(true);
        let Some(mut recorder) = DeleteRecorder::of(rel, cid) else {
            return Vec::new();
        };
        let (desc, tuples) = (
            (*table).tupdesc,
            std::slice::from_raw_parts((*table).vals, count),
        );
        let value = |tuple: pg_sys::HeapTuple, column: usize| {
            let mut null = false;
            let value = pg_sys::SPI_getbinval(tuple, desc, column as i32 + 1, &mut null);
            (value, null)
        };
        let record = |tuple: &&pg_sys::HeapTuple| {
            let (sequence, none) = value(**tuple, keys + 1);
            let key: Vec<_> = (1..=keys).map(|column| value(**tuple, column)).collect();
            !none && !recorder.record(&key, sequence)
        };
        let stored = tuples.iter().filter(record);
        stored.map(|tuple| value(*tuple, 0).0.value() - 1).collect()
    }
}

/// Columns by number, and whether they may be NULL.
fn columns(rel: pg_sys::Relation, numbers: &[u16]) -> Vec<(String, bool)> {
    let wanted = numbers.iter().filter_map(|number| {
        let mut all = attributes::live(rel);
        let attribute = all.find(|attribute| attribute.attnum as u16 == *number)?;
        Some((pg::attribute_name(attribute), !attribute.attnotnull))
    });
    wanted.collect()
}

fn refuse_row(target: &Target, place: i64, what: &str, hint: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("row {place} for table \"{}\" {what}", target.plain_name),
        hint,
    )
}
