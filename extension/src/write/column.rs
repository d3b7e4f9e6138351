// SPDX-License-Identifier: Apache-2.0
//! One column of a segment being built: Datums in, a vector out.
use super::kind::Kind;
use super::memory;
use super::numeric;
use doris_storage::vector::{Bitmap, Physical, Values, Vector};
use pgrx::pg_sys;

/// A growing column.
pub struct Column {
    kind: Kind,
    vector: Vector,
    rows: usize,
}

impl Column {
    /// An empty column of a kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            vector: Vector::empty(kind.physical()),
            rows: 0,
        }
    }

    /// A column of what was collected before.
    pub fn of(kind: Kind, vector: Vector) -> Self {
        let rows = vector.len();
        Self { kind, vector, rows }
    }

    /// The kind its values have: a decimal column that met a value it cannot hold is `Varlena` from then on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The rows so far.
    pub fn vector(&self) -> &Vector {
        &self.vector
    }

    /// The finished vector.
    pub fn finish(self) -> Vector {
        self.vector
    }

    /// Appends a value; returns the bytes it took.
    ///
    /// # Safety
    /// `datum` is a valid value of the attribute this column was made for.
    pub unsafe fn push(&mut self, datum: pg_sys::Datum, is_null: bool) -> usize {
        if is_null {
            self.push_null();
            return 1;
        }
        if let Some(validity) = &mut self.vector.validity {
            validity.push(true);
        }
        self.rows += 1;
        // SAFETY: passed on to the caller.
        unsafe { self.push_value(datum) }
    }

    fn push_null(&mut self) {
        let rows = self.rows;
        self.vector
            .validity
            .get_or_insert_with(|| Bitmap::filled(rows, true))
            .push(false);
        self.rows += 1;
        match &mut self.vector.values {
            Values::Bool(v) => v.push(0),
            Values::I16(v) => v.push(0),
            Values::I32(v) => v.push(0),
            Values::I64(v) => v.push(0),
            Values::I128(v) => v.push(0),
            Values::F32(v) => v.push(0.0),
            Values::F64(v) => v.push(0.0),
            Values::Fixed { width, data } => data.resize(data.len() + usize::from(*width), 0),
            Values::Bytes(v) => v.push(&[]),
            Values::Dict { codes, .. } => codes.push(0),
        }
    }

    unsafe fn push_value(&mut self, datum: pg_sys::Datum) -> usize {
        let word = datum.value();
        match &mut self.vector.values {
            Values::Bool(v) => v.push(u8::from(word as u8 != 0)),
            Values::I16(v) => v.push(word as i16),
            Values::I32(v) => v.push(word as i32),
            Values::F32(v) => v.push(f32::from_bits(word as u32)),
            Values::F64(v) => v.push(f64::from_bits(word as u64)),
            Values::Fixed { width, data } => {
                // SAFETY: a by-reference Datum of this width.
                let bytes =
                    unsafe { std::slice::from_raw_parts(word as *const u8, usize::from(*width)) };
                data.extend_from_slice(bytes);
            }
            Values::I64(_) | Values::I128(_) | Values::Bytes(_) => {
                // SAFETY: passed on.
                return unsafe { self.push_wide(datum) };
            }
            Values::Dict { .. } => unreachable!("a column is not built as a dictionary"),
        }
        8
    }

    unsafe fn push_wide(&mut self, datum: pg_sys::Datum) -> usize {
        match self.kind {
            Kind::I64 => {
                if let Values::I64(v) = &mut self.vector.values {
                    v.push(datum.value() as i64);
                }
                8
            }
            Kind::CString => {
                // SAFETY: a cstring Datum.
                let bytes = unsafe { std::ffi::CStr::from_ptr(datum.cast_mut_ptr()) }.to_bytes();
                self.push_bytes(bytes)
            }
            Kind::Decimal64(scale) | Kind::Decimal128(scale) => {
                // SAFETY: a numeric Datum.
                unsafe { with_varlena(datum, |bytes| self.push_decimal(bytes, scale)) }
            }
            // SAFETY: a varlena Datum.
            _ => unsafe { with_varlena(datum, |bytes| self.push_bytes(bytes)) },
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> usize {
        if let Values::Bytes(v) = &mut self.vector.values {
            memory::make_room(&mut v.data, bytes.len());
            v.push(bytes);
        }
        bytes.len() + 4
    }

    fn push_decimal(&mut self, bytes: &[u8], scale: u16) -> usize {
        let scaled = numeric::to_scaled(bytes, scale);
        match (&mut self.vector.values, scaled) {
            (Values::I64(v), Some(value)) if i64::try_from(value).is_ok() => v.push(value as i64),
            (Values::I128(v), Some(value)) => v.push(value),
            _ => {
                // NaN, an infinity or an odd display scale: this segment keeps the column as it came.
                self.widen(scale);
                return self.push_bytes(bytes);
            }
        }
        16
    }

    /// Turns a decimal column into one of numeric varlenas. The row being pushed is already counted.
    fn widen(&mut self, scale: u16) {
        let mut bytes = doris_storage::vector::BytesColumn::default();
        let mut buffer = Vec::new();
        for row in 0..self.rows - 1 {
            buffer.clear();
            match &self.vector.values {
                Values::I64(v) => numeric::from_scaled(i128::from(v[row]), scale, &mut buffer),
                Values::I128(v) => numeric::from_scaled(v[row], scale, &mut buffer),
                _ => {}
            }
            bytes.push(&buffer);
        }
        self.kind = Kind::Varlena;
        debug_assert_eq!(self.kind.physical(), Physical::Bytes);
        self.vector.values = Values::Bytes(bytes);
    }
}

/// Calls `f` with the bytes of a varlena behind its header, detoasted and flattened.
///
/// # Safety
/// `datum` is a valid varlena.
unsafe fn with_varlena<T>(datum: pg_sys::Datum, f: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: detoasting returns the argument itself or a palloc'd copy, which is freed here.
    unsafe {
        let original: *mut pg_sys::varlena = datum.cast_mut_ptr();
        let plain = if *(original as *const u8) == 1 || *(original as *const u8) & 3 == 2 {
            pg_sys::pg_detoast_datum(original)
        } else {
            original
        };
        let bytes = pgrx::varlena_to_byte_slice(plain);
        let result = f(bytes);
        if plain != original {
            pg_sys::pfree(plain.cast());
        }
        result
    }
}
