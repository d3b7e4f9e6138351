// SPDX-License-Identifier: Apache-2.0
//! What becomes of two rows of one key: the rule of a table and a statement.
//!
//! Every path that finds that a new row has the key of another asks the same rule: a row that goes to the heap and
//! a stored row ([`Rule::merge`]), and the rows of a batch among themselves and with stored ones
//! ([`Rule::fold`]). A rule never looks at the key: its caller found the rows to have the same one.
//!
//! | option or setting | what stays of a stored and a new row |
//! |---|---|
//! | `unique_key` | the new row |
//! | `sequence` | the row of the larger sequence, the new one of two equals; NULL is the smallest |
//! | `delete_sign` | nothing, when the new row's sign is set and its sequence does not forbid it |
//! | `doris.partial_update` | the stored row with the named columns of the new one |
//! | `aggregate_key` | what each column's aggregation makes of the two |
mod batch;
mod column;
pub(super) mod recheck;
mod statement_deletes;
mod winners;

pub use batch::{row_of, Folded, Groups, Part};
pub use column::can_be_summed;

use super::statement;
use crate::options::model::{self, Aggregation, Keyed, Model};
use crate::options::settings;
use crate::pg::{self, attributes};
use crate::types::values::{Comparer, TypeKey};
use column::{Choice, Fold};
use pgrx::pg_sys::{self, Datum};
use pgrx::PgSqlErrorCode;
use statement_deletes::StatementDeletes;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;

/// A row in the relation's row type.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// One value an attribute, dropped ones too.
    pub values: &'a [Datum],
    /// Which of them are NULL.
    pub nulls: &'a [bool],
}

impl Row<'_> {
    fn get(&self, column: usize) -> Option<Datum> {
        (!self.nulls[column]).then(|| self.values[column])
    }
}

/// A row that a rule made. What it points to lives as long as the two rows and the current memory context.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// As in [`Row`].
    pub values: Vec<Datum>,
    /// As in [`Row`].
    pub nulls: Vec<bool>,
}

impl Merged {
    /// A row of its own with the values of another.
    pub fn of(row: Row) -> Self {
        Merged {
            values: row.values.to_vec(),
            nulls: row.nulls.to_vec(),
        }
    }

    /// The row of a tuple, into which it points.
    ///
    /// # Safety
    /// A tuple of the relation's row type.
    pub unsafe fn of_tuple(rel: pg_sys::Relation, tuple: pg_sys::HeapTuple) -> Self {
        // SAFETY: passed on to the caller; the arrays have an element an attribute.
        unsafe {
            let count = (*(*rel).rd_att).natts as usize;
            let mut row = Merged {
                values: vec![Datum::from(0); count],
                nulls: vec![true; count],
            };
            let (values, nulls) = (row.values.as_mut_ptr(), row.nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(tuple, (*rel).rd_att, values, nulls);
            row
        }
    }

    fn set(&mut self, column: usize, value: Option<Datum>) {
        self.nulls[column] = value.is_none();
        self.values[column] = value.unwrap_or(Datum::from(0));
    }

    /// The row.
    pub fn row(&self) -> Row<'_> {
        Row {
            values: &self.values,
            nulls: &self.nulls,
        }
    }
}

/// What to do with a new row.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing: the stored row stays as it is.
    Keep,
    /// Store the new row as it is, in place of the stored one if there is one.
    Take,
    /// Store this row in place of the stored one.
    Write(Merged),
    /// Delete the stored row, if there is one; store nothing.
    Delete,
}

/// The rule of a table and a statement.
pub struct Rule {
    keys: Vec<usize>,
    kind: Kind,
    sequence: Option<Sequence>,
    delete_sign: Option<Sign>,
    deleted_keys: StatementDeletes,
    /// Merged rows must be checked against constraints, or have columns computed from others.
    recheck: bool,
}

enum Kind {
    Replace,
    Partial(Partial),
    /// One for each attribute; none for keys and dropped columns.
    Aggregate(Vec<Option<Fold>>),
}

/// Larger sequences win.
struct Sequence {
    column: usize,
    order: Comparer,
}

/// The column that says of a row that it deletes its key.
struct Sign {
    column: usize,
    oid: pg_sys::Oid,
}

/// A statement that names some columns only.
struct Partial {
    /// One for each attribute.
    named: Vec<bool>,
    /// The sequence column is among them, or computed from them.
    sequenced: bool,
    /// Columns that are not named, must not be NULL and have no default.
    required: Vec<usize>,
    /// New keys are an error.
    no_new_keys: bool,
}

thread_local! {
    static RULES: RefCell<VecDeque<(pg_sys::Oid, pg_sys::CommandId, Rc<Rule>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Rules that are kept: a statement's triggers may write to other tables in between.
const RULES_MAX: usize = 16;

/// Forgets the rules in use: a transaction or subtransaction has ended.
pub fn forget() {
    let rules = RULES.take();
    drop(rules);
}

/// Forgets the rules for whole rows of a table that was changed, or of all tables; those of commands last as long as
/// the command, which holds a lock.
pub fn forget_whole_rows(relid: pg_sys::Oid) {
    let concerns = |rule: &(pg_sys::Oid, pg_sys::CommandId, Rc<Rule>)| {
        rule.1 == pg_sys::InvalidCommandId && (relid == pg_sys::InvalidOid || rule.0 == relid)
    };
    let dropped = RULES.with_borrow_mut(|rules| {
        let all = std::mem::take(rules);
        let (dropped, kept) = all.into_iter().partition::<Vec<_>, _>(concerns);
        rules.extend(kept);
        dropped
    });
    drop(dropped);
}

impl Rule {
    /// The rule by which a command's rows go into a table; `None` when it has no key model.
    pub fn of(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<Rc<Rule>> {
        Self::kept(rel, cid, |keyed| match keyed.model {
            Model::Unique => {
                statement::named(rel, cid).and_then(|named| named_columns(rel, keyed, named))
            }
            Model::Aggregate => None,
        })
    }

    /// The rule for whole rows, whatever the running statement names.
    pub fn of_whole_rows(rel: pg_sys::Relation) -> Option<Rc<Rule>> {
        Self::kept(rel, pg_sys::InvalidCommandId, |_| None)
    }

    fn kept(
        rel: pg_sys::Relation,
        cid: pg_sys::CommandId,
        named: impl FnOnce(&Keyed) -> Option<Vec<bool>>,
    ) -> Option<Rc<Rule>> {
        let relid = pg::relation_id(rel);
        let known = RULES.with_borrow(|rules| {
            let found = rules.iter().find(|rule| rule.0 == relid && rule.1 == cid);
            found.map(|(_, _, rule)| Rc::clone(rule))
        });
        if known.is_some() {
            return known;
        }
        let keyed = model::of(rel)?;
        let named = named(&keyed);
        let rule = Rc::new(Rule::new(rel, &keyed, named));
        let copy = Rc::clone(&rule);
        let oldest = RULES.with_borrow_mut(|rules| {
            rules.push_back((relid, cid, copy));
            (rules.len() > RULES_MAX).then(|| rules.pop_front())
        });
        drop(oldest);
        Some(rule)
    }

    fn new(rel: pg_sys::Relation, keyed: &Keyed, named: Option<Vec<bool>>) -> Rule {
        let at = |number: u16| usize::from(number) - 1;
        let sequence = keyed.sequence.map(|number| Sequence {
            column: at(number),
            order: Comparer::order(type_key(rel, at(number))),
        });
        let delete_sign = keyed.delete_sign.map(|number| Sign {
            column: at(number),
            oid: type_key(rel, at(number)).oid,
        });
        let kind = match (keyed.model, named) {
            (Model::Aggregate, _) => Kind::Aggregate(folds(rel, &keyed.aggregations)),
            (Model::Unique, None) => Kind::Replace,
            (Model::Unique, Some(named)) => Kind::Partial(Partial {
                sequenced: sequence
                    .as_ref()
                    .is_some_and(|s| gives_sequence(rel, s.column, &keyed.keys, &named)),
                required: required(rel, &named),
                no_new_keys: settings::new_keys_are_errors(),
                named,
            }),
        };
        let merges = !matches!(kind, Kind::Replace);
        let summed = |kind: &Kind| match kind {
            Kind::Aggregate(folds) => {
                let sums = (0..folds.len()).filter(|i| matches!(folds[*i], Some(Fold::Sum(_))));
                recheck::decide_partition(rel, sums)
            }
            _ => false,
        };
        Rule {
            keys: keyed.keys.iter().map(|number| at(*number)).collect(),
            recheck: merges && (recheck::needed(rel) || summed(&kind)),
            kind,
            sequence,
            delete_sign,
            deleted_keys: StatementDeletes::default(),
        }
    }

    /// Whether rows name some columns only.
    pub fn is_partial(&self) -> bool {
        matches!(self.kind, Kind::Partial(_))
    }

    /// Whether the new row always replaces the stored one, whatever is in either.
    pub fn replaces(&self) -> bool {
        matches!(self.kind, Kind::Replace) && self.sequence.is_none() && self.delete_sign.is_none()
    }

    /// The columns of the stored row whose values [`Rule::merge`] looks at, from 0; it takes whatever the others
    /// hold. None at all where the new row replaces the stored one unseen.
    pub fn needs(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Replace => self.sequence.iter().map(|s| s.column).collect(),
            Kind::Partial(partial) => {
                let sequence = self.sequence.as_ref().filter(|_| partial.sequenced);
                let read = |column: &usize| {
                    !partial.named[*column] || sequence.is_some_and(|s| s.column == *column)
                };
                (0..partial.named.len()).filter(read).collect()
            }
            Kind::Aggregate(folds) => {
                let reads = |fold: &Option<Fold>| fold.as_ref().is_some_and(Fold::reads_stored);
                (0..folds.len()).filter(|i| reads(&folds[*i])).collect()
            }
        }
    }

    /// What to do with a new row, given the stored row of its key, if there is one.
    pub fn merge(
        &self,
        rel: pg_sys::Relation,
        stored: Option<Row>,
        new: Row,
        part: Part,
    ) -> Outcome {
        if stored.is_some_and(|stored| self.is_older(stored, new)) {
            return Outcome::Keep;
        }
        if part == Part::Deleted || part == Part::Loaded && self.deletes(new) {
            self.remember_delete(rel, new);
            return Outcome::Delete;
        }
        let Some(stored) = stored else {
            if self.is_superseded(rel, new) {
                return Outcome::Keep;
            }
            return match part {
                Part::Loaded | Part::AfterDelete => self.take_new(rel, new),
                _ => Outcome::Take,
            };
        };
        let merged = match &self.kind {
            Kind::Replace => return Outcome::Take,
            Kind::Partial(_) if part == Part::Whole => return Outcome::Take,
            Kind::Partial(_)
                if part == Part::AfterDelete && !self.outlives_delete(rel, stored, new) =>
            {
                return self.take_new(rel, new);
            }
            Kind::Partial(partial) => partial.combine(stored, new),
            Kind::Aggregate(folds) => combine(folds, stored, new),
        };
        Outcome::Write(self.rechecked(rel, merged))
    }

    /// A row of a new key is stored.
    fn take_new(&self, rel: pg_sys::Relation, new: Row) -> Outcome {
        self.admit(rel, new);
        match self.checks_new_rows() {
            true => Outcome::Write(self.rechecked(rel, Merged::of(new))),
            false => Outcome::Take,
        }
    }

    /// Whether rows of new keys are to be checked: those of a partial update, of which nobody else has looked at the
    /// row that will be stored, if they are admitted at all.
    pub fn checks_new_rows(&self) -> bool {
        let admits = |partial: &Partial| partial.required.is_empty() && !partial.no_new_keys;
        self.recheck && matches!(&self.kind, Kind::Partial(partial) if admits(partial))
    }

    /// Whether loaded rows that follow a delete of their key find that it has taken the stored row.
    pub fn finds_stored_deleted(
        &self,
        rel: pg_sys::Relation,
        stored: Row,
        new: Row,
        part: Part,
    ) -> bool {
        part == Part::AfterDelete
            && !self.is_older(stored, new)
            && !self.outlives_delete(rel, stored, new)
    }

    /// Raises the error for a row whose key is not in the table, where the rule does not admit it.
    pub fn admit(&self, rel: pg_sys::Relation, new: Row) {
        let Kind::Partial(partial) = &self.kind else {
            return;
        };
        if partial.no_new_keys {
            self.refuse_new_key(rel, new);
        }
        if let Some(column) = partial.required.first() {
            refuse_null(rel, *column);
        }
    }

    /// Whether loaded rows may be deletes.
    pub fn has_delete_sign(&self) -> bool {
        self.delete_sign.is_some()
    }

    /// Whether rows of keys that are not there are stored, whatever is in them.
    pub fn takes_new_keys(&self) -> bool {
        let partial = matches!(self.kind, Kind::Partial(_));
        !partial && self.sequence.is_none() && self.delete_sign.is_none()
    }

    /// The sequence column, where it decides about this statement's rows.
    fn deciding_sequence(&self) -> Option<&Sequence> {
        let ignored = matches!(&self.kind, Kind::Partial(partial) if !partial.sequenced);
        self.sequence.as_ref().filter(|_| !ignored)
    }

    fn remember_delete(&self, rel: pg_sys::Relation, row: Row) {
        if let Some(sequence) = self.deciding_sequence() {
            self.deleted_keys.insert(rel, &self.keys, sequence, row);
        }
    }

    /// Whether a row is older than one of the same statement that deleted its key.
    fn is_superseded(&self, rel: pg_sys::Relation, row: Row) -> bool {
        let sequence = self.deciding_sequence();
        sequence.is_some_and(|sequence| self.deleted_keys.supersede(rel, &self.keys, sequence, row))
    }

    /// Whether a stored row is newer than every delete of its key that came before a row of the same statement.
    fn outlives_delete(&self, rel: pg_sys::Relation, stored: Row, new: Row) -> bool {
        self.deciding_sequence().is_some_and(|sequence| {
            stored.get(sequence.column).is_some_and(|stored| {
                self.deleted_keys
                    .below(rel, &self.keys, sequence, new, stored)
            })
        })
    }

    /// Whether a new row's sequence is below that of the stored one.
    fn is_older(&self, stored: Row, new: Row) -> bool {
        self.deciding_sequence()
            .is_some_and(|s| match (stored.get(s.column), new.get(s.column)) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(stored), Some(new)) => s.order.compare(new, stored) == Ordering::Less,
            })
    }

    /// Whether a row deletes its key.
    fn deletes(&self, row: Row) -> bool {
        let sign = self.delete_sign.as_ref();
        sign.is_some_and(|sign| row.get(sign.column).is_some_and(|value| sign.is_set(value)))
    }

    fn rechecked(&self, rel: pg_sys::Relation, mut merged: Merged) -> Merged {
        if self.recheck {
            recheck::Checker::new(rel).row(&mut merged);
        }
        merged
    }

    fn refuse_new_key(&self, rel: pg_sys::Relation, row: Row) -> ! {
        let key: Vec<String> = self
            .keys
            .iter()
            .map(|column| match row.get(*column) {
                None => String::from("NULL"),
                Some(value) => {
                    let text = crate::types::shells::output_text(value, type_key(rel, *column).oid);
                    String::from_utf8_lossy(&text).into_owned()
                }
            })
            .collect();
        pg::refuse(
            PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            format!(
                "[E-7003]Can't append new rows in partial update when partial_update_new_key_behavior is ERROR. \
                 Row with key=[{}] is not in table.",
                key.join(", ")
            ),
            "Set doris.partial_update_new_key to append to insert rows of new keys.",
        )
    }
}

impl Sign {
    fn is_set(&self, value: Datum) -> bool {
        match self.oid {
            pg_sys::BOOLOID => value.value() as u8 != 0,
            pg_sys::INT2OID => value.value() as i16 != 0,
            _ => value.value() as i32 != 0,
        }
    }
}

impl Partial {
    fn combine(&self, stored: Row, new: Row) -> Merged {
        let mut merged = Merged::of(stored);
        let named = (0..self.named.len()).filter(|column| self.named[*column]);
        named.for_each(|column| merged.set(column, new.get(column)));
        merged
    }
}

fn combine(folds: &[Option<Fold>], stored: Row, new: Row) -> Merged {
    let mut merged = Merged::of(new);
    for (column, fold) in folds.iter().enumerate() {
        let Some(fold) = fold else { continue };
        match fold.combine(stored.get(column), new.get(column)) {
            Choice::Stored => merged.set(column, stored.get(column)),
            Choice::New => {}
            Choice::Value(value) => merged.set(column, Some(value)),
        }
    }
    merged
}

fn attribute<'a>(rel: pg_sys::Relation, column: usize) -> &'a pg_sys::FormData_pg_attribute {
    attributes::numbered(rel, column as u16 + 1)
}

fn type_key(rel: pg_sys::Relation, column: usize) -> TypeKey {
    let attribute = attribute(rel, column);
    TypeKey {
        // SAFETY: a catalogue look-up of a type that exists.
        oid: unsafe { pg_sys::getBaseType(attribute.atttypid) },
        collation: attribute.attcollation,
    }
}

/// The columns of a partial update; `None` for whole rows, which must have a sequence where the table has one.
fn named_columns(
    rel: pg_sys::Relation,
    keyed: &Keyed,
    named: statement::Named,
) -> Option<Vec<bool>> {
    let missing = |number: &&u16| !named.columns[usize::from(**number) - 1];
    if named.partial {
        if let Some(key) = keyed.keys.iter().find(missing) {
            refuse_unnamed(rel, *key, true);
        }
        return Some(named.columns);
    }
    let sequence = keyed.sequence.iter().find(missing);
    if let Some(sequence) = sequence.filter(|_| settings::require_sequence()) {
        if !statement::gets_default(attribute(rel, usize::from(*sequence) - 1)) {
            refuse_unnamed(rel, *sequence, false);
        }
    }
    None
}

/// Whether rows that name some columns say what their sequence is. A generated one is that of the row that will be
/// stored where all columns are named that it is computed from, and stays as it is where none is.
fn gives_sequence(rel: pg_sys::Relation, column: usize, keys: &[u16], named: &[bool]) -> bool {
    if attribute(rel, column).attgenerated == 0 {
        return named[column];
    }
    let is_key = |column: usize| keys.iter().any(|key| usize::from(*key) - 1 == column);
    let sources = recheck::sources(rel, column);
    let missing = sources.iter().find(|source| !named[**source]);
    let Some(missing) = missing else {
        return true;
    };
    if sources.iter().any(|s| named[*s] && !is_key(*s)) {
        let name = |column| pg::attribute_name(attribute(rel, column));
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "a partial update of table \"{}\" must name column \"{}\": the sequence column \"{}\" is computed from it",
                pg::relation_name(rel),
                name(*missing),
                name(column)
            ),
            "Name all columns that the sequence column is computed from, or none.",
        );
    }
    false
}

/// Raises the error for a statement that leaves out a column that it must name.
fn refuse_unnamed(rel: pg_sys::Relation, number: u16, key: bool) -> ! {
    let name = pg::attribute_name(attributes::numbered(rel, number));
    let table = pg::relation_name(rel);
    if key {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION,
            format!("a partial update of table \"{table}\" must name key column \"{name}\""),
            "Rows are found by their whole key; name all of its columns.",
        );
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION,
        format!("Table {table} has sequence column, need to specify the sequence column"),
        &format!("Name column \"{name}\", or give it a default, or turn doris.require_sequence_in_insert off."),
    )
}

fn folds(rel: pg_sys::Relation, aggregations: &[(u16, Aggregation)]) -> Vec<Option<Fold>> {
    let columns = attributes::count(rel);
    let mut folds: Vec<Option<Fold>> = (0..columns).map(|_| None).collect();
    for (number, what) in aggregations {
        let column = usize::from(*number) - 1;
        let typmod = attribute(rel, column).atttypmod;
        folds[column] = Some(Fold::new(*what, type_key(rel, column), typmod));
    }
    folds
}

/// The columns that a row of a new key would lack.
fn required(rel: pg_sys::Relation, named: &[bool]) -> Vec<usize> {
    let lacking = |column: &usize| {
        let attribute = attribute(rel, *column);
        statement::lacks_default(attribute) && !named[*column]
    };
    (0..named.len()).filter(lacking).collect()
}

fn refuse_null(rel: pg_sys::Relation, column: usize) -> ! {
    let name = pg::attribute_name(attribute(rel, column));
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION,
        format!(
            "null value in column \"{name}\" of relation \"{table}\" violates not-null constraint"
        ),
        "A partial update inserts rows of new keys: name the column, or give it a default.",
    )
}
