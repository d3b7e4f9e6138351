// SPDX-License-Identifier: Apache-2.0
//! `count(*)` and `count(x)`.

use doris_storage::vector::{Values, Vector};

use super::{each_valid, pick, wrong_layout, Accumulator, Groups};
use crate::error::Result;

/// Rows, or rows whose argument is not NULL.
#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let validity = argument.and_then(|a| a.validity.as_ref());
        match (groups, validity) {
            (Groups::One(rows), None) => self.counts[0] += rows as i64,
            (Groups::Sorted(sorted), None) => {
                for (group, rows) in sorted.runs() {
                    self.counts[group] += rows.len() as i64;
                }
            }
            (Groups::One(_), Some(valid)) => self.counts[0] += valid.count_ones() as i64,
            _ => each_valid(groups, validity, |group, _| self.counts[group] += 1),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let Values::I64(counts) = &states[0].values else {
            return Err(wrong_layout());
        };
        groups
            .iter()
            .zip(&counts[from..])
            .for_each(|(&g, count)| self.counts[g as usize] += count);
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        vec![Vector {
            values: Values::I64(pick(&self.counts, groups)),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        Ok(vec![Vector {
            values: Values::I64(self.counts[from..to].to_vec()),
            validity: None,
        }])
    }

    fn clear(&mut self) {
        self.counts.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
