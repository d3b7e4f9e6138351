// SPDX-License-Identifier: Apache-2.0
//! Unions of stored bitmaps and hll values: the set or the number of its members.

use std::cell::RefCell;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::{required, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::sketch::{BitmapUnion, Hll, SketchError, StoredBitmap};

/// What stored values are united in.
pub trait Union: Default + Send {
    /// Adds a stored value.
    fn add(&mut self, stored: &[u8]) -> std::result::Result<(), SketchError>;
    /// The number of members.
    fn count(&mut self) -> u64;
    /// The stored form.
    fn encode(&mut self) -> Vec<u8>;
    /// Bytes of memory beyond the value itself, roughly.
    fn bytes(&self) -> usize;
}

impl Union for BitmapUnion {
    fn add(&mut self, stored: &[u8]) -> std::result::Result<(), SketchError> {
        self.add_stored(StoredBitmap::parse(stored)?)
    }

    fn count(&mut self) -> u64 {
        self.distinct()
    }

    fn encode(&mut self) -> Vec<u8> {
        BitmapUnion::encode(self)
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }
}

impl Union for Hll {
    fn add(&mut self, stored: &[u8]) -> std::result::Result<(), SketchError> {
        self.merge_stored(stored)
    }

    fn count(&mut self) -> u64 {
        self.estimate()
    }

    fn encode(&mut self) -> Vec<u8> {
        Hll::encode(self)
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }
}

/// A union, and what is known of its size.
#[derive(Default)]
struct Member<U> {
    union: RefCell<U>,
    /// Bytes when it was last measured, and bytes that were added since.
    measured: usize,
    added: usize,
}

/// Bytes that are added to a union before it is measured.
const MEASURED: usize = 4096;

impl<U: Union> Member<U> {
    /// Adds a stored value; returns by how much the union has grown when it was measured.
    fn add(&mut self, stored: &[u8]) -> Result<usize> {
        let union = self.union.get_mut();
        union
            .add(stored)
            .map_err(|e| Error::damaged(e.to_string()))?;
        self.added += stored.len();
        if self.added <= self.measured.max(MEASURED) {
            return Ok(0);
        }
        let before = std::mem::replace(&mut self.measured, union.bytes());
        self.added = 0;
        Ok(self.measured.saturating_sub(before))
    }
}

/// The unions of all groups.
pub struct Unions<U> {
    unions: Vec<Member<U>>,
    /// The result is the number of members.
    counted: bool,
    bytes: usize,
}

impl<U: Union> Unions<U> {
    /// No groups yet.
    pub fn new(counted: bool) -> Self {
        Self {
            unions: Vec::new(),
            counted,
            bytes: 0,
        }
    }

    fn encoded<'a>(&'a self, unions: impl Iterator<Item = &'a Member<U>>) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        unions.for_each(|member| column.push(&member.union.borrow_mut().encode()));
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }
}

impl<U: Union> Accumulator for Unions<U> {
    fn resize(&mut self, groups: usize) {
        self.unions.resize_with(groups, || Member {
            union: RefCell::default(),
            measured: 0,
            added: 0,
        });
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            let stored = argument.bytes(row).ok_or_else(wrong_layout)?;
            self.bytes += self.unions[group].add(stored)?;
            Ok(())
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let stored = states[0].bytes(i).ok_or_else(wrong_layout)?;
            self.bytes += self.unions[group as usize].add(stored)?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        self.encoded(groups.iter().map(|&g| &self.unions[g as usize]))
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let unions = self.unions[from..to].iter();
        if !self.counted {
            return Ok(self.encoded(unions));
        }
        let counts = unions.map(|member| member.union.borrow_mut().count() as i64);
        Ok(vec![Vector {
            values: Values::I64(counts.collect()),
            validity: None,
        }])
    }

    fn clear(&mut self) {
        self.unions.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.unions.capacity() * (std::mem::size_of::<Member<U>>() + MEASURED / 4) + self.bytes
    }
}
