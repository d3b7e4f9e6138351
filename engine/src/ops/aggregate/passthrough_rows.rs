// SPDX-License-Identifier: Apache-2.0
//! Rows that go out without a lookup: their keys, and the arguments of the calls as they came. A state for each of them
//! would be larger, and made only to be merged into another.

use std::sync::Arc;

use doris_storage::vector::{Physical, Values, Vector};

use super::inputs::Inputs;
use crate::error::{Error, Result};
use crate::gather::{concat, memory_bytes};
use crate::keys::KeyColumn;

/// Which argument each call takes.
pub type Takes = Arc<[Option<usize>]>;

/// The rows of some batches.
pub struct PassthroughRows<K> {
    /// Their keys.
    pub keys: K,
    /// The pieces of each argument.
    arguments: Vec<Vec<Arc<Vector>>>,
    takes: Takes,
    bytes: usize,
}

impl<K: KeyColumn> PassthroughRows<K> {
    /// No rows yet, of the kind of `inputs`.
    pub fn new(inputs: &Inputs) -> Self {
        Self {
            keys: K::default(),
            arguments: vec![Vec::new(); inputs.arguments().len()],
            takes: inputs.takes(),
            bytes: 0,
        }
    }

    /// Adds a batch; `keys` are its keys.
    pub fn push(&mut self, keys: &K, inputs: &Inputs) {
        self.keys.append(keys);
        for (pieces, argument) in self.arguments.iter_mut().zip(inputs.arguments()) {
            self.bytes += memory_bytes(argument);
            pieces.push(Arc::clone(argument));
        }
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes() + self.bytes
    }

    /// The keys, the arguments, and which of them each call takes.
    pub fn into_columns(self) -> Result<(K, Vec<Vector>, Takes)> {
        let arguments = self.arguments.iter().map(|pieces| joined(pieces));
        Ok((self.keys, arguments.collect::<Result<_>>()?, self.takes))
    }
}

/// Pieces of an argument, end to end. Sums that fit into 64 bits come so in some batches and in 128 in others.
pub fn joined(pieces: &[Arc<Vector>]) -> Result<Vector> {
    let Some(first) = pieces.first() else {
        return Err(Error::internal("an argument without rows"));
    };
    let physical = first.physical();
    let joined = match pieces.iter().all(|piece| piece.physical() == physical) {
        true => concat(physical, pieces),
        false => concat(
            Physical::I128,
            &pieces.iter().map(widened).collect::<Result<Vec<_>>>()?,
        ),
    };
    joined.ok_or(Error::OutOfMemory)
}

fn widened(piece: &Arc<Vector>) -> Result<Arc<Vector>> {
    let values = match &piece.values {
        Values::I128(_) => return Ok(Arc::clone(piece)),
        Values::I64(values) => values.iter().map(|&value| i128::from(value)).collect(),
        _ => return Err(Error::internal("an argument of several layouts")),
    };
    Ok(Arc::new(Vector {
        values: Values::I128(values),
        validity: piece.validity.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_and_wide_pieces_are_joined() {
        let piece = |values| {
            Arc::new(Vector {
                values,
                validity: None,
            })
        };
        let narrow = piece(Values::I64(vec![-1, i64::MAX]));
        let wide = piece(Values::I128(vec![i128::MIN]));
        let all = joined(&[narrow.clone(), wide, narrow]).unwrap();
        let most = i128::from(i64::MAX);
        assert_eq!(
            all.values,
            Values::I128(vec![-1, most, i128::MIN, -1, most])
        );
        let text = piece(Values::Bool(vec![1]));
        assert!(joined(&[text, piece(Values::I64(vec![1]))]).is_err());
        assert!(joined(&[]).is_err());
    }
}
