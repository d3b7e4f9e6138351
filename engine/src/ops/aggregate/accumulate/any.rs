// SPDX-License-Identifier: Apache-2.0
//! Some value of the group: for columns that the grouping columns determine.

use doris_storage::vector::{BytesColumn, Physical, Values, Vector};

use super::{required, Accumulator, Groups};
use crate::error::Result;
use crate::keys::{encode_field, FieldBuilder};

/// The first value met of each group, as an encoded field; empty: none yet.
pub struct Any {
    physical: Physical,
    fields: Vec<Vec<u8>>,
    bytes: usize,
}

impl Any {
    /// States for arguments of a layout.
    pub fn new(physical: Physical) -> Self {
        Self {
            physical,
            fields: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, group: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        let field = &mut self.fields[group];
        if field.is_empty() {
            encode(field);
            self.bytes += field.capacity();
        }
    }
}

impl Accumulator for Any {
    fn resize(&mut self, groups: usize) {
        self.fields.resize(groups, Vec::new());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        for row in 0..groups.rows() {
            self.take(groups.of(row), |field| encode_field(field, argument, row));
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let state = states[0].bytes(i).unwrap_or_default();
            self.take(group as usize, |field| field.extend_from_slice(state));
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        groups
            .iter()
            .for_each(|&g| column.push(&self.fields[g as usize]));
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let mut builder = FieldBuilder::new(self.physical);
        for field in &self.fields[from..to] {
            builder.take(if field.is_empty() { &[0] } else { field });
        }
        let column = builder.finish();
        Ok(vec![column])
    }

    fn clear(&mut self) {
        self.fields.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.fields.capacity() * 24 + self.bytes
    }
}
