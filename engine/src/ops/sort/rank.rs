// SPDX-License-Identifier: Apache-2.0
//! Text in a locale's order, as numbers: the different values are sorted once, and rows compare by their ranks.
//!
//! ```text
//! values of all parts --> different values --> pieces, each sorted by a task --(merged by pairs)--> rank of each
//! ```

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};

use doris_storage::vector::{BytesColumn, Values, Vector};
use hashbrown::HashMap;

use super::full::Part;
use super::normal::{compared_bytes, Column};
use crate::collate::LocaleOrder;
use crate::error::Result;
use crate::exec::driver::{lock, Driver};
use crate::exec::query::Query;
use crate::memory;
use crate::types::DataType;

/// Values that a task sorts at a time, ...
const PIECE: usize = 16 * 1024;
/// ... and that are merged between two looks at whether to stop.
const MERGED: usize = 4 * 1024;
/// Memory that a column takes for each row: its number and rank, and a different value with its hash table entry.
pub const RANK_BYTES: usize = 96;

/// Replaces the key columns of `parts` that compare by a locale with ranks. The caller has [`RANK_BYTES`] to spare.
pub fn rank_columns(driver: &Driver, columns: &mut [Column], parts: &mut [Part]) -> Result<()> {
    for (number, column) in columns.iter_mut().enumerate() {
        let Some(order) = column.locale() else {
            continue;
        };
        let vectors: Vec<Arc<Vector>> = parts.iter().map(|p| Arc::clone(&p.keys[number])).collect();
        let ranks = ranks(driver, order, column.data_type, &vectors)?;
        for (part, ranks) in parts.iter_mut().zip(ranks) {
            part.keys[number] = Arc::new(ranks);
        }
        column.data_type = DataType::Int4;
    }
    Ok(())
}

/// The rows' ranks among the values of all vectors; NULLs stay NULL.
fn ranks(
    driver: &Driver,
    order: LocaleOrder,
    data_type: DataType,
    vectors: &[Arc<Vector>],
) -> Result<Vec<Vector>> {
    let mut different = Different {
        data_type,
        numbers: HashMap::new(),
        values: Vec::new(),
        dictionary: None,
    };
    let mut numbered = Vec::with_capacity(vectors.len());
    for vector in vectors {
        driver.idle()?;
        numbered.push(different.numbers_of(vector));
    }
    let values = different.values;
    let sorted = sort(driver, order, &values)?;
    memory::foresee(values.len() * size_of::<i32>())?;
    let mut rank_of = vec![0i32; values.len()];
    for (rank, entry) in sorted.iter().enumerate() {
        rank_of[entry.number as usize] = rank as i32;
    }
    let ranked = |(numbers, vector): (Vec<u32>, &Arc<Vector>)| {
        let rank = |number: u32| rank_of.get(number as usize).copied().unwrap_or(0);
        Vector {
            values: Values::I32(numbers.into_iter().map(rank).collect()),
            validity: vector.validity.clone(),
        }
    };
    Ok(numbered.into_iter().zip(vectors).map(ranked).collect())
}

/// The values met so far, numbered.
struct Different<'v> {
    data_type: DataType,
    numbers: HashMap<&'v [u8], u32>,
    values: Vec<&'v [u8]>,
    /// The numbers of the entries of the dictionary met last.
    dictionary: Option<(&'v Arc<BytesColumn>, Vec<Option<u32>>)>,
}

impl<'v> Different<'v> {
    /// The numbers of a vector's values; of NULLs, anything.
    fn numbers_of(&mut self, vector: &'v Vector) -> Vec<u32> {
        let Values::Dict { codes, dict } = &vector.values else {
            let number = |row| match vector.is_null(row) {
                true => 0,
                false => self.number(vector.bytes(row).unwrap_or_default()),
            };
            return (0..vector.len()).map(number).collect();
        };
        let known = self.dictionary.take();
        let known = known.filter(|(last, _)| Arc::ptr_eq(last, dict));
        let mut entries = known.map_or_else(|| vec![None; dict.len()], |(_, entries)| entries);
        let number = |(row, &code): (usize, &u32)| {
            if vector.is_null(row) {
                return 0;
            }
            let entry = &mut entries[code as usize];
            *entry.get_or_insert_with(|| self.number(dict.get(code as usize)))
        };
        let numbers = codes.iter().enumerate().map(number).collect();
        self.dictionary = Some((dict, entries));
        numbers
    }

    fn number(&mut self, value: &'v [u8]) -> u32 {
        let value = compared_bytes(self.data_type, value);
        let values = &mut self.values;
        *self.numbers.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() as u32 - 1
        })
    }
}

/// A value's number, and what tells it from most others.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    number: u32,
}

/// All values in their order.
fn sort(driver: &Driver, order: LocaleOrder, values: &[&[u8]]) -> Result<Vec<Entry>> {
    let compare = |a: &Entry, b: &Entry| {
        let full = || order.compare(values[a.number as usize], values[b.number as usize]);
        a.prefix.cmp(&b.prefix).then_with(full)
    };
    let mut pieces: Vec<Vec<Entry>> = vec![Vec::new(); values.len().div_ceil(PIECE)];
    let work = pieces.iter_mut().zip(values.chunks(PIECE)).enumerate();
    driver.for_all(work.collect(), &|_, (at, (piece, values))| {
        let entry = |(number, value): (u32, &&[u8])| Entry {
            prefix: order.prefix(value),
            number,
        };
        *piece = ((at * PIECE) as u32..).zip(values).map(entry).collect();
        piece.sort_unstable_by(compare);
        Ok(())
    })?;
    while pieces.len() > 1 {
        let merged = Mutex::new(vec![Vec::new(); pieces.len().div_ceil(2)]);
        let pairs: Vec<(usize, &[Vec<Entry>])> = pieces.chunks(2).enumerate().collect();
        driver.for_all(pairs, &|worker, (at, pair)| {
            let both = match pair {
                [one, other] => merge(worker.query, one, other, &compare)?,
                rest => rest.concat(),
            };
            lock(&merged)[at] = both;
            Ok(())
        })?;
        pieces = std::mem::take(&mut *lock(&merged));
    }
    Ok(pieces.pop().unwrap_or_default())
}

fn merge(
    query: &Query,
    one: &[Entry],
    other: &[Entry],
    compare: &impl Fn(&Entry, &Entry) -> Ordering,
) -> Result<Vec<Entry>> {
    let mut out = memory::vec(one.len() + other.len())?;
    let (mut one, mut other) = (one, other);
    while let ([a, rest_of_one @ ..], [b, rest_of_other @ ..]) = (one, other) {
        if out.len() % MERGED == 0 {
            query.check()?;
        }
        if compare(a, b).is_le() {
            out.push(*a);
            one = rest_of_one;
        } else {
            out.push(*b);
            other = rest_of_other;
        }
    }
    out.extend_from_slice(one);
    out.extend_from_slice(other);
    Ok(out)
}
