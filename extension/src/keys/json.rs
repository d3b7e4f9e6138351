// SPDX-License-Identifier: Apache-2.0
//! `doris.upsert_json`: rows that each name their own columns.
//!
//! Rows that follow each other and name the same columns become one INSERT under `doris.partial_update` (the
//! function's declaration turns it on), so that triggers, constraints and row security are PostgreSQL's. Rows with
//! a delete sign become a DELETE; where they name the sequence, it is remembered for their keys (`burial`).
use crate::keys::burial::Burial;
use crate::keys::statement::name_of;
use crate::options::model::{self, Model};
use crate::pg;
use crate::plan::hook::is_doris_table;
use crate::types::shells::{sql_functions, Args};
use pgrx::datum::DatumWithOid;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};
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
    /// Key columns, and whether they are never NULL.
    keys: Vec<(String, bool)>,
    sequence: Option<String>,
}

impl Target {
    fn of(relid: pg_sys::Oid) -> Self {
        // SAFETY: the relation stays locked until the transaction ends, as it would be by a statement.
        unsafe {
            let rel = pg_sys::relation_open(relid, pg_sys::RowExclusiveLock as i32);
            let plain_name = pg::relation_name(rel);
            let keyed = is_doris_table(relid).then(|| model::of(rel)).flatten();
            let Some(keyed) = keyed.filter(|keyed| keyed.model == Model::Unique) else {
                pg::refuse(
                    PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                    format!("\"{plain_name}\" is not a unique key table"),
                    "Rows that name their own columns need a table with option unique_key.",
                );
            };
            let schema = pg_sys::get_namespace_name((*(*rel).rd_rel).relnamespace);
            let schema = std::ffi::CStr::from_ptr(schema).to_string_lossy();
            let name = quote_qualified_identifier(&*schema, &plain_name);
            let target = Self {
                relid,
                name,
                plain_name,
                keys: columns(rel, &keyed.keys),
                sequence: keyed.sequence.and_then(|number| {
                    let found = columns(rel, &[number]).into_iter().next();
                    found.map(|(name, _)| name)
                }),
            };
            pg_sys::relation_close(rel, pg_sys::NoLock as i32);
            target
        }
    }

    fn apply(&self, run: Run) {
        if let Some((key, _)) = self.keys.iter().find(|(key, _)| !run.columns.contains(key)) {
            let what = format!("lacks key column \"{key}\"");
            refuse_row(self, run.first, &what, "Rows are found by their whole key.");
        }
        if run.deletes {
            self.delete_rows(run);
        } else {
            execute(&self.insert(&run.columns), run.rows);
        }
    }

    /// Deletes the rows of keys, and remembers the sequences that are given for the others: of the keys that are not there
    /// any more. A row that came between the two is deleted in another turn, and who deletes one meanwhile leaves its own
    /// sequence only: the rest stays once a turn has neither deleted nor remembered any of it.
    fn delete_rows(&self, run: Run) {
        let sql = self.delete(&run.columns);
        let named = |name: &&String| run.columns.contains(name);
        let sequence = self.sequence.as_ref().filter(named);
        let (mut rows, mut again) = (run.rows, false);
        while !rows.is_empty() {
            let (deleted, before) = (execute(&sql, rows.clone()), rows.len());
            let Some(sequence) = sequence else {
                return;
            };
            rows = self.bury(sequence, rows);
            if again && deleted == 0 && rows.len() == before {
                return;
            }
            again = true;
        }
    }

    /// Remembers the sequences of rows; returns those of whose keys a row is stored.
    fn bury(&self, sequence: &str, rows: Vec<String>) -> Vec<String> {
        // SAFETY: plain calls; who may not see all rows does not decide about those that are not there.
        let hidden = unsafe {
            let rls = pg_sys::check_enable_rls(self.relid, pg_sys::InvalidOid, true);
            rls == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
        };
        if hidden {
            return Vec::new();
        }
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(key, _)| quote_identifier(key))
            .collect();
        let sql = format!(
            "SELECT r.{}, r.{} FROM {} ORDER BY u.o",
            keys.join(", r."),
            quote_identifier(sequence),
            self.records()
        );
        // SAFETY: a text array is what the statement takes.
        let argument = unsafe { DatumWithOid::new(rows.clone(), pg_sys::TEXTARRAYOID) };
        let left = Spi::connect(|client| -> Result<Vec<String>, pgrx::spi::Error> {
            let _table = client.select(&sql, None, &[argument])?;
            // SAFETY: the result of the statement before; it lives as long as the connection. The relation is locked.
            let stored = unsafe {
                let rel = pg_sys::table_open(self.relid, pg_sys::NoLock as i32);
                let stored = bury_all(rel, pg_sys::SPI_tuptable, keys.len());
                pg_sys::table_close(rel, pg_sys::NoLock as i32);
                stored
            };
            let left = rows.into_iter().zip(stored).filter(|(_, stored)| *stored);
            Ok(left.map(|(row, _)| row).collect())
        });
        left.unwrap_or_else(|error| pgrx::error!("could not read the rows: {error}"))
    }

    /// The rows of `$1` as records `r` of the table, with their places.
    fn records(&self) -> String {
        format!(
            "pg_catalog.unnest($1) WITH ORDINALITY u(e, o), \
             LATERAL pg_catalog.jsonb_populate_record(NULL::{}, u.e::pg_catalog.jsonb) r",
            self.name
        )
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

    fn delete(&self, columns: &[String]) -> String {
        let mut conditions: Vec<String> = self
            .keys
            .iter()
            .map(|(key, never_null)| {
                let (key, equals) = (
                    quote_identifier(key),
                    if *never_null {
                        "="
                    } else {
                        "IS NOT DISTINCT FROM"
                    },
                );
                format!("t.{key} {equals} r.{key}")
            })
            .collect();
        let sequence = self.sequence.as_ref().filter(|name| columns.contains(name));
        conditions.extend(sequence.map(|name| {
            let name = quote_identifier(name);
            format!("(t.{name} IS NULL OR t.{name} <= r.{name})")
        }));
        format!(
            "DELETE FROM {} t USING {} WHERE {}",
            self.name,
            self.records(),
            conditions.join(" AND ")
        )
    }
}

/// Runs a statement over rows; returns how many it changed.
fn execute(sql: &str, rows: Vec<String>) -> usize {
    // SAFETY: a text array is what the statements take.
    let rows = unsafe { DatumWithOid::new(rows, pg_sys::TEXTARRAYOID) };
    let done =
        Spi::connect_mut(|client| client.update(sql, None, &[rows]).map(|table| table.len()));
    done.unwrap_or_else(|error| pgrx::error!("could not write the rows: {error}"))
}

/// Remembers the deletes of a result's rows, which are keys and a sequence; tells of which keys a row is stored.
unsafe fn bury_all(
    rel: pg_sys::Relation,
    table: *mut pg_sys::SPITupleTable,
    keys: usize,
) -> Vec<bool> {
    // SAFETY: passed on to the caller: a result with these columns.
    unsafe {
        let cid = pg_sys::GetCurrentCommandId(true);
        let count = (*table).numvals as usize;
        let Some(mut burial) = Burial::of(rel, cid) else {
            return vec![false; count];
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
        let bury = |tuple: &pg_sys::HeapTuple| {
            let (sequence, none) = value(*tuple, keys);
            let key: Vec<_> = (0..keys).map(|column| value(*tuple, column)).collect();
            !none && !burial.key(&key, sequence)
        };
        tuples.iter().map(bury).collect()
    }
}

fn columns(rel: pg_sys::Relation, numbers: &[u16]) -> Vec<(String, bool)> {
    let wanted = numbers.iter().filter_map(|number| {
        let mut all = model::live_attributes(rel);
        let attribute = all.find(|attribute| attribute.attnum as u16 == *number)?;
        Some((name_of(attribute), attribute.attnotnull))
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
