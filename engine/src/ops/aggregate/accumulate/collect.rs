// SPDX-License-Identifier: Apache-2.0
//! `string_agg` and `array_agg`: the items of a group one after the other, sorted and put together at the end.
//!
//! Without an order of its own, a call takes its rows in the order of the input, whichever thread met them: items hold
//! their rows' places.

use std::sync::Arc;

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

use super::{required, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::expr::{Expr, ExprKind, Item};
use crate::ops::sort::normal::KeyOrder;
use crate::plan::{AggregateCall, Collected, Element};

/// Most bytes of a value in PostgreSQL, its header included.
const VALUE_MAX: usize = 0x3fff_ffff;
/// Most bytes of all groups: exported, they are one vector.
const BYTES_MAX: usize = 1 << 31;
/// Duplicates are taken out when a group has grown by so many bytes, and by as many as it had without any.
const DISTINCT_BYTES: usize = 64 * 1024;

/// How items become a value.
#[derive(Clone)]
pub(crate) struct Assembly {
    result: Collected,
    /// The layouts of the fields of an item.
    fields: Arc<[Physical]>,
}

/// The items of all groups.
pub struct Collect {
    assembly: Assembly,
    /// Whether items with equal keys count once.
    distinct: bool,
    order: KeyOrder,
    groups: Vec<Group>,
    bytes: usize,
}

#[derive(Clone, Default)]
struct Group {
    /// Items, each behind its length (4).
    items: Vec<u8>,
    /// Bytes that were left when duplicates were taken out.
    distinct: usize,
}

/// The accumulator of a call whose argument is an item.
pub fn collect(
    call: &AggregateCall,
    result: Collected,
    distinct: bool,
) -> Result<Box<dyn Accumulator>> {
    let item = call.argument.as_ref();
    let Some(ExprKind::Item { columns, .. }) = item.map(Expr::kind) else {
        return Err(Error::internal("an aggregate that collects no items"));
    };
    Ok(Box::new(Collect {
        assembly: Assembly::new(result, item)?,
        distinct,
        order: KeyOrder::new(columns),
        groups: Vec::new(),
        bytes: 0,
    }))
}

/// Takes an item off a group's bytes.
fn next_item<'i>(rest: &mut &'i [u8]) -> Result<Option<Item<'i>>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let item = rest.split_first_chunk::<4>().and_then(|(length, after)| {
        let (item, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *rest = after;
        Item::of(item)
    });
    item.map(Some).ok_or_else(wrong_layout)
}

/// Takes a field off an item's: its bytes; `None`: NULL.
fn next_field<'i>(rest: &mut &'i [u8], layout: Physical) -> Result<Option<&'i [u8]>> {
    let (flag, mut after) = rest.split_first().ok_or_else(wrong_layout)?;
    if *flag == 0 {
        *rest = after;
        return Ok(None);
    }
    let width = match layout.width() {
        Some(width) => width,
        None => {
            let (length, rest) = after.split_first_chunk::<4>().ok_or_else(wrong_layout)?;
            after = rest;
            u32::from_le_bytes(*length) as usize
        }
    };
    let (value, after) = after.split_at_checked(width).ok_or_else(wrong_layout)?;
    *rest = after;
    Ok(Some(value))
}

impl Assembly {
    /// The assembly of the items that an expression makes.
    pub(crate) fn new(result: Collected, item: Option<&Expr>) -> Result<Self> {
        let Some(ExprKind::Item { columns, args }) = item.map(Expr::kind) else {
            return Err(Error::internal("an aggregate that collects no items"));
        };
        let fields = args[columns.len()..].iter();
        Ok(Self {
            result,
            fields: fields.map(|f| f.data_type().physical()).collect(),
        })
    }

    /// The value of some items in their order; false if it is NULL.
    pub(crate) fn put_together(&self, items: &[Item<'_>], out: &mut Vec<u8>) -> Result<bool> {
        self.extend(items, 0, false, out)
    }

    /// Makes of the value of the first `from` items, in `out` and not NULL if `any`, that of all; false if it is NULL.
    pub(crate) fn extend(
        &self,
        items: &[Item<'_>],
        from: usize,
        any: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool> {
        if from == items.len() {
            return Ok(any);
        }
        match self.result {
            Collected::Text(_) => self.text(&items[from..], any, out),
            Collected::Array(element) => {
                out.clear();
                self.array(items, element, out).map(|()| true)
            }
        }
    }

    fn text(&self, items: &[Item<'_>], mut any: bool, out: &mut Vec<u8>) -> Result<bool> {
        for item in items {
            let mut rest = item.fields;
            let [value, delimiter] = &*self.fields else {
                return Err(wrong_layout());
            };
            let value = next_field(&mut rest, *value)?;
            let delimiter = next_field(&mut rest, *delimiter)?;
            let Some(value) = value else {
                continue;
            };
            if any {
                out.extend_from_slice(delimiter.unwrap_or_default());
            }
            any = true;
            out.extend_from_slice(value);
            check_length(out)?;
        }
        Ok(any)
    }

    /// An array of one dimension, as PostgreSQL stores it behind a value's length: the number of dimensions, where the
    /// data starts if some elements are NULL, the elements' type, their number, the first's number, which of them are
    /// not NULL, and the elements, each aligned.
    fn array(&self, items: &[Item<'_>], element: Element, out: &mut Vec<u8>) -> Result<()> {
        const HEADER: usize = 4;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let mut rest = item.fields;
            let layout = self.fields.first().ok_or_else(wrong_layout)?;
            values.push(next_field(&mut rest, *layout)?);
        }
        let aligned = |out: &mut Vec<u8>, to: usize| {
            out.resize((out.len() + HEADER).next_multiple_of(to) - HEADER, 0);
        };
        let nulls = values.contains(&None);
        let count = i32::try_from(values.len()).map_err(|_| Error::LengthTooLarge)?;
        for word in [1, 0, element.type_oid as i32, count, 1] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        if nulls {
            let present = values.iter().map(Option::is_some);
            let mut bits = vec![0u8; values.len().div_ceil(8)];
            for (i, _) in present.enumerate().filter(|(_, present)| *present) {
                bits[i / 8] |= 1 << (i % 8);
            }
            out.extend_from_slice(&bits);
        }
        aligned(out, 8);
        if nulls {
            let offset = (out.len() + HEADER) as i32;
            out[4..8].copy_from_slice(&offset.to_ne_bytes());
        }
        for value in values.into_iter().flatten() {
            match usize::try_from(element.width) {
                Ok(width) => out.extend_from_slice(value.get(..width).ok_or_else(wrong_layout)?),
                Err(_) => {
                    let length = (value.len() + HEADER) as u32;
                    let header = match cfg!(target_endian = "little") {
                        true => length << 2,
                        false => length,
                    };
                    out.extend_from_slice(&header.to_ne_bytes());
                    out.extend_from_slice(value);
                }
            }
            // The last one, too: PostgreSQL puts other arrays right behind.
            aligned(out, usize::from(element.align).max(1));
            check_length(out)?;
        }
        Ok(())
    }
}

impl Collect {
    fn push(&mut self, group: usize, items: &[u8], whole: bool) -> Result<()> {
        let group = &mut self.groups[group];
        let before = group.items.capacity();
        if !whole {
            group
                .items
                .extend_from_slice(&(items.len() as u32).to_le_bytes());
        }
        group.items.extend_from_slice(items);
        self.bytes += group.items.capacity() - before;
        if self.bytes > BYTES_MAX {
            return Err(Error::OutOfMemory);
        }
        if self.distinct && group.items.len() > 2 * group.distinct + DISTINCT_BYTES {
            let mut left = Vec::new();
            for item in sorted(&group.items, &self.order, true)? {
                let length = 4 + item.key.len() + item.place.len() + item.fields.len();
                left.extend_from_slice(&(length as u32).to_le_bytes());
                left.extend_from_slice(&(item.key.len() as u32).to_le_bytes());
                left.extend_from_slice(item.key);
                left.extend_from_slice(item.place);
                left.extend_from_slice(item.fields);
            }
            self.bytes = self.bytes - group.items.capacity() + left.capacity();
            group.distinct = left.len();
            group.items = left;
        }
        Ok(())
    }

    /// The result of a group; false if it is NULL.
    fn put_together(&self, group: &Group, out: &mut Vec<u8>) -> Result<bool> {
        let items = sorted(&group.items, &self.order, self.distinct)?;
        self.assembly.put_together(&items, out)
    }
}

fn check_length(value: &[u8]) -> Result<()> {
    match value.len() < VALUE_MAX - 4 {
        true => Ok(()),
        false => Err(Error::LengthTooLarge),
    }
}

/// A group's items in their order; of those with equal keys, perhaps only the first.
fn sorted<'i>(bytes: &'i [u8], order: &KeyOrder, distinct: bool) -> Result<Vec<Item<'i>>> {
    let mut items = Vec::new();
    let mut rest = bytes;
    while let Some(item) = next_item(&mut rest)? {
        items.push(item);
    }
    items.sort_unstable_by(|a, b| {
        order
            .compare(a.key, b.key)
            .then_with(|| a.place.cmp(b.place))
    });
    if distinct {
        items.dedup_by(|a, b| a.key == b.key);
    }
    Ok(items)
}

impl Accumulator for Collect {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups, Group::default());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        for row in 0..groups.rows() {
            let item = argument.bytes(row).ok_or_else(wrong_layout)?;
            self.push(groups.of(row), item, false)?;
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let items = states[0].bytes(i).ok_or_else(wrong_layout)?;
            self.push(group as usize, items, true)?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        for &group in groups {
            column.push(&self.groups[group as usize].items);
        }
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let mut column = BytesColumn::default();
        let mut present = Vec::with_capacity(to - from);
        let mut value = Vec::new();
        for group in &self.groups[from..to] {
            value.clear();
            present.push(self.put_together(group, &mut value)?);
            if column.data.len() + value.len() > u32::MAX as usize {
                return Err(Error::OutOfMemory);
            }
            column.push(&value);
        }
        Ok(vec![Vector {
            values: Values::Bytes(column),
            validity: Some(Bitmap::from_bools(present)),
        }])
    }

    fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.bytes
    }
}

#[cfg(test)]
mod tests;
