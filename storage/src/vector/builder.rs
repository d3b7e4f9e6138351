// SPDX-License-Identifier: Apache-2.0
//! Row-by-row construction of a vector, as INSERT needs it.

use super::{Bitmap, Physical, Values, Vector};

/// Collects the values of one column. A push of the wrong layout panics: the caller picks the push
/// once per column from `Physical`.
#[derive(Debug, Clone)]
pub struct VectorBuilder {
    vector: Vector,
    rows: usize,
}

macro_rules! push {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, value: $type) {
            match &mut self.vector.values {
                Values::$variant(values) => values.push(value),
                _ => wrong_layout(),
            }
            self.valid();
        }
    )*};
}

#[cold]
#[inline(never)]
fn wrong_layout() -> ! {
    panic!("a value was pushed to a vector builder of another layout")
}

impl VectorBuilder {
    /// An empty builder.
    pub fn new(physical: Physical) -> Self {
        Self {
            vector: Vector::empty(physical),
            rows: 0,
        }
    }

    /// Rows pushed so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The layout of the values.
    pub fn physical(&self) -> Physical {
        self.vector.physical()
    }

    /// Bytes of values held, about.
    pub fn memory_bytes(&self) -> usize {
        self.vector.memory_bytes()
    }

    push! {
        /// Appends a 16-bit integer.
        push_i16, I16, i16;
        /// Appends a 32-bit integer.
        push_i32, I32, i32;
        /// Appends a 64-bit integer.
        push_i64, I64, i64;
        /// Appends a 128-bit integer.
        push_i128, I128, i128;
        /// Appends a single-precision float.
        push_f32, F32, f32;
        /// Appends a double-precision float.
        push_f64, F64, f64;
    }

    /// Appends a boolean.
    #[inline]
    pub fn push_bool(&mut self, value: bool) {
        match &mut self.vector.values {
            Values::Bool(values) => values.push(u8::from(value)),
            _ => wrong_layout(),
        }
        self.valid();
    }

    /// Appends a `Bytes` value, or a `Fixed` one of exactly the column's width.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        match &mut self.vector.values {
            Values::Bytes(values) => values.push(value),
            Values::Fixed { width, data } if usize::from(*width) == value.len() => {
                data.extend_from_slice(value);
            }
            _ => wrong_layout(),
        }
        self.valid();
    }

    /// Appends a NULL.
    pub fn push_null(&mut self) {
        self.vector.values.push_default(1);
        self.vector
            .validity
            .get_or_insert_with(|| Bitmap::filled(self.rows, true))
            .push(false);
        self.rows += 1;
    }

    /// The vector; the builder starts over, empty, with the same layout.
    pub fn finish(&mut self) -> Vector {
        self.rows = 0;
        let empty = Vector::empty(self.vector.physical());
        std::mem::replace(&mut self.vector, empty)
    }

    #[inline]
    fn valid(&mut self) {
        self.rows += 1;
        if let Some(validity) = &mut self.vector.validity {
            validity.push(true);
        }
    }
}
