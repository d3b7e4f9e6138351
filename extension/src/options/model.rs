// SPDX-License-Identifier: Apache-2.0
//! A table's model as its options say: which columns are its key, and what becomes of the others when two rows
//! of one key meet.
use super::table;
use crate::pg;
use pgrx::pg_sys;

/// The options that name the columns of one aggregation, and what it does.
pub const AGGREGATIONS: [(&str, Aggregation); 9] = [
    ("sum", Aggregation::Sum),
    ("min", Aggregation::Min),
    ("max", Aggregation::Max),
    ("replace", Aggregation::Replace),
    ("replace_if_not_null", Aggregation::ReplaceIfNotNull),
    ("hll_union", Aggregation::HllUnion),
    ("bitmap_union", Aggregation::BitmapUnion),
    ("quantile_union", Aggregation::QuantileUnion),
    ("agg_state", Aggregation::AggState),
];

/// What a value column of the aggregate model does with a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// Adds it.
    Sum,
    /// Keeps the smaller.
    Min,
    /// Keeps the larger.
    Max,
    /// Takes it, NULL too.
    Replace,
    /// Takes it unless it is NULL.
    ReplaceIfNotNull,
    /// The union of two `hll`.
    HllUnion,
    /// The union of two `bitmap`.
    BitmapUnion,
    /// The union of two `quantile_state`.
    QuantileUnion,
    /// What the combine function of an aggregate makes of two states.
    AggState,
}

/// Which rows of a key a table keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The last.
    Unique,
    /// One that all are folded into.
    Aggregate,
}

/// A keyed table's options, resolved to attribute numbers.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// The model.
    pub model: Model,
    /// The key.
    pub keys: Vec<u16>,
    /// The sequence column of a unique key.
    pub sequence: Option<u16>,
    /// The column that says of a loaded row that it deletes its key.
    pub delete_sign: Option<u16>,
    /// The value columns of an aggregate key.
    pub aggregations: Vec<(u16, Aggregation)>,
}

impl Keyed {
    /// Whether a whole new row replaces the stored one, whatever is in either.
    pub fn replaces(&self) -> bool {
        let plain = self.sequence.is_none() && self.delete_sign.is_none();
        self.model == Model::Unique && plain
    }
}

/// The options of a keyed table; `None` where rows of equal keys all stay.
pub fn of(rel: pg_sys::Relation) -> Option<Keyed> {
    resolve(rel, &table::of(pg::relation_id(rel)))
}

fn resolve(rel: pg_sys::Relation, options: &[(String, String)]) -> Option<Keyed> {
    let columns = |option: &str| -> Vec<u16> {
        let value = options.iter().find(|(name, _)| name == option);
        let names = value.map_or_else(Vec::new, |(_, value)| table::column_names(value));
        names
            .iter()
            .filter_map(|name| table::attribute_number(rel, name))
            .collect()
    };
    let unique = columns("unique_key");
    let (model, keys) = if unique.is_empty() {
        (Model::Aggregate, columns("aggregate_key"))
    } else {
        (Model::Unique, unique)
    };
    if keys.is_empty() {
        return None;
    }
    let aggregations = AGGREGATIONS
        .iter()
        .flat_map(|(option, what)| columns(option).into_iter().map(|column| (column, *what)))
        .collect();
    Some(Keyed {
        model,
        keys,
        sequence: columns("sequence").first().copied(),
        delete_sign: columns("delete_sign").first().copied(),
        aggregations,
    })
}

/// The OID of a type of the extension's schema; invalid when there is none.
pub fn own_type(name: &std::ffi::CStr) -> pg_sys::Oid {
    // SAFETY: catalogue look-ups by name.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"doris".as_ptr(), true);
        let none = pg_sys::Datum::from(0);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as i16,
            pg_sys::Datum::from(name.as_ptr()),
            schema.into(),
            none,
            none,
        )
    }
}
