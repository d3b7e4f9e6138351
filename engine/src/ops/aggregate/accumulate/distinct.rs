// SPDX-License-Identifier: Apache-2.0
//! Aggregates of distinct values: each value of a group goes to the wrapped accumulator once.
//!
//! Values met so far are keys (group, value) of a group table. What is exported is a group's values, since two
//! halves may share some: the wrapped accumulator's states are of no use to anybody else.
//!
//! Numerics that carry their scale are told apart by bytes that are equal for equal ones. Which of several that show
//! different scales counts depends on the order of the rows: PostgreSQL is asked.

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::decimal::{Keep, One};
use super::{required, wrong_layout, Accumulator, Groups};
use crate::decimal::View;
use crate::error::Result;
use crate::gather::gather;
use crate::group_table::{hash_all, GroupTable};
use crate::keys::{encode_field, ByteKeys, FieldBuilder, KeyColumn, KeyShape, WordKeys};
use crate::types::DataType;

/// Wraps `inner`, whose argument has type `t`.
pub fn distinct(t: DataType, inner: Box<dyn Accumulator>) -> Result<Box<dyn Accumulator>> {
    let key = match t {
        DataType::Decimal => DataType::Bytea,
        other => other,
    };
    let shape = KeyShape::new(&[DataType::Int4, key], &[false, false])?;
    Ok(match shape.words() {
        Some(1) => Box::new(Distinct::<WordKeys<1>>::new(shape, t, inner)),
        Some(2) => Box::new(Distinct::<WordKeys<2>>::new(shape, t, inner)),
        Some(3) => Box::new(Distinct::<WordKeys<3>>::new(shape, t, inner)),
        _ => Box::new(Distinct::<ByteKeys>::new(shape, t, inner)),
    })
}

struct Distinct<K> {
    shape: KeyShape,
    argument: DataType,
    inner: Box<dyn Accumulator>,
    met: GroupTable<K>,
    /// The value of each entry, where its key is something else.
    values: Option<One>,
    groups: usize,
}

/// Bytes that are equal for equal numerics.
fn order_keys(values: &Vector, rows: usize) -> Result<Vector> {
    let mut column = BytesColumn::default();
    let mut key = Vec::new();
    for row in 0..rows {
        key.clear();
        View::new(values.bytes(row).ok_or_else(wrong_layout)?).push_order(&mut key);
        column.push(&key);
    }
    Ok(Vector {
        values: Values::Bytes(column),
        validity: None,
    })
}

impl<K: KeyColumn> Distinct<K> {
    fn new(shape: KeyShape, argument: DataType, inner: Box<dyn Accumulator>) -> Self {
        Self {
            shape,
            argument,
            inner,
            met: GroupTable::with_capacity(0),
            values: (argument == DataType::Decimal).then(|| One::new(Keep::Same)),
            groups: 0,
        }
    }

    /// Takes the values (none NULL) of some rows.
    fn take(&mut self, groups: &[u32], values: &Vector) -> Result<()> {
        let group_column = Vector {
            values: Values::I32(groups.iter().map(|&g| g as i32).collect()),
            validity: None,
        };
        let mut keys = K::default();
        match self.values {
            None => keys.encode(&self.shape, &[&group_column, values], groups.len())?,
            Some(_) => {
                let order = order_keys(values, groups.len())?;
                keys.encode(&self.shape, &[&group_column, &order], groups.len())?;
            }
        }
        let (mut hashes, mut entries) = (Vec::new(), Vec::new());
        hash_all(&keys, &mut hashes);
        let mut next = self.met.len() as u32;
        self.met.find_or_insert(&keys, 0, &hashes, &mut entries);
        if let Some(kept) = &mut self.values {
            kept.resize(self.met.len());
            kept.update(Groups::Each(&entries), Some(values))?;
        }
        let mut fresh = Vec::new();
        for (row, &entry) in entries.iter().enumerate() {
            if entry == next {
                next += 1;
                fresh.push(row as u32);
            }
        }
        let fresh_groups: Vec<u32> = fresh.iter().map(|&row| groups[row as usize]).collect();
        self.inner
            .update(Groups::Each(&fresh_groups), Some(&gather(values, &fresh)))
    }

    /// The group of every entry, and the values.
    fn entries(&self) -> Result<(Vec<i32>, Vector)> {
        let mut columns = self.met.keys().decode(&self.shape, 0, self.met.len())?;
        let (keys, groups) = (columns.pop(), columns.pop().map(|groups| groups.values));
        let (Some(keys), Some(Values::I32(groups))) = (keys, groups) else {
            return Err(wrong_layout());
        };
        Ok((groups, self.values.as_ref().map_or(keys, One::values)))
    }
}

impl<K: KeyColumn> Accumulator for Distinct<K> {
    fn resize(&mut self, groups: usize) {
        self.groups = groups;
        self.inner.resize(groups);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        let rows: Vec<u32> = (0..groups.rows() as u32)
            .filter(|&row| !argument.is_null(row as usize))
            .collect();
        let of_rows: Vec<u32> = rows
            .iter()
            .map(|&row| groups.of(row as usize) as u32)
            .collect();
        let mut values = gather(argument, &rows);
        values.validity = None;
        self.take(&of_rows, &values)
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let mut of_values = Vec::new();
        let mut values = FieldBuilder::new(self.argument.physical());
        for (i, &group) in (from..).zip(groups) {
            let mut rest = states[0].bytes(i).ok_or_else(wrong_layout)?;
            while !rest.is_empty() {
                rest = values.take(rest);
                of_values.push(group);
            }
        }
        self.take(&of_values, &values.finish())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut fields = vec![Vec::new(); self.groups];
        if let Ok((of_entries, values)) = self.entries() {
            for (entry, &group) in of_entries.iter().enumerate() {
                encode_field(&mut fields[group as usize], &values, entry);
            }
        }
        let mut column = BytesColumn::default();
        groups
            .iter()
            .for_each(|&g| column.push(&fields[g as usize]));
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        self.inner.finish(from, to)
    }

    fn clear(&mut self) {
        self.groups = 0;
        self.inner.clear();
        self.met.clear();
        self.values.iter_mut().for_each(One::clear);
    }

    fn memory_bytes(&self) -> usize {
        let values = self.values.as_ref().map_or(0, One::memory_bytes);
        self.inner.memory_bytes() + self.met.memory_bytes() + values
    }
}
