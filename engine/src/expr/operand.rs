// SPDX-License-Identifier: Apache-2.0
//! Arguments of kernels: a vector, or one value for every row.
//!
//! Kernels are written once over [`Side`]s; the loops below are compiled for each mix of vector and constant,
//! so that the constant stays in a register.

use std::sync::Arc;

use doris_storage::vector::{Bitmap, Physical, Values, Vector};

use crate::error::{Error, Result};
use crate::gather::nulls;
use crate::types::Scalar;

/// An evaluated argument.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// One entry a row.
    Vector(Arc<Vector>),
    /// The same for every row; `None` is NULL.
    Scalar(Option<Scalar>),
}

/// The values of an operand in one layout.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side<'a, T> {
    /// One a row.
    Slice(&'a [T]),
    /// One for all rows.
    One(T),
}

impl<T: Copy> Side<'_, T> {
    #[inline]
    pub(super) fn get(&self, i: usize) -> T {
        match self {
            Side::Slice(values) => values[i],
            Side::One(value) => *value,
        }
    }
}

/// A Rust type that is a vector layout.
pub(super) trait Native: Copy {
    fn slice(values: &Values) -> Option<&[Self]>;
    fn from_scalar(scalar: &Scalar) -> Option<Self>;
    fn wrap(values: Vec<Self>) -> Values;
}

macro_rules! native {
    ($($type:ty => $variant:ident),*) => {$(
        impl Native for $type {
            fn slice(values: &Values) -> Option<&[Self]> {
                match values {
                    Values::$variant(values) => Some(values),
                    _ => None,
                }
            }
            fn from_scalar(scalar: &Scalar) -> Option<Self> {
                match scalar {
                    Scalar::$variant(value) => Some((*value).into()),
                    _ => None,
                }
            }
            fn wrap(values: Vec<Self>) -> Values {
                Values::$variant(values)
            }
        }
    )*};
}
native!(u8 => Bool, i16 => I16, i32 => I32, i64 => I64, i128 => I128, f32 => F32, f64 => F64);

impl Operand {
    /// Whether it is the NULL constant.
    pub(super) fn is_null_scalar(&self) -> bool {
        matches!(self, Operand::Scalar(None))
    }

    /// Its values as `T`s. The NULL constant has none: callers answer it before.
    pub(super) fn side<T: Native>(&self) -> Result<Side<'_, T>> {
        let side = match self {
            Operand::Vector(vector) => T::slice(&vector.values).map(Side::Slice),
            Operand::Scalar(Some(scalar)) => T::from_scalar(scalar).map(Side::One),
            Operand::Scalar(None) => None,
        };
        side.ok_or_else(|| {
            Error::internal(format!("operand {self:?} has another layout than its type"))
        })
    }

    /// The bytes of row `i`.
    #[inline]
    pub(super) fn bytes(&self, i: usize) -> &[u8] {
        match self {
            Operand::Vector(vector) => vector.bytes(i).unwrap_or_default(),
            Operand::Scalar(Some(Scalar::Bytes(bytes))) => bytes,
            Operand::Scalar(_) => &[],
        }
    }

    /// Whether row `i` is NULL.
    #[inline]
    pub(super) fn is_null(&self, i: usize) -> bool {
        match self {
            Operand::Vector(vector) => vector.is_null(i),
            Operand::Scalar(value) => value.is_none(),
        }
    }

    /// As a vector of `rows` rows.
    pub(super) fn into_vector(self, physical: Physical, rows: usize) -> Arc<Vector> {
        match self {
            Operand::Vector(vector) => vector,
            Operand::Scalar(value) => Arc::new(broadcast(value.as_ref(), physical, rows)),
        }
    }
}

/// A constant as a vector of `rows` rows.
pub(super) fn broadcast(value: Option<&Scalar>, physical: Physical, rows: usize) -> Vector {
    let Some(value) = value else {
        return nulls(physical, rows);
    };
    let values = match value {
        Scalar::Bool(v) => Values::Bool(vec![u8::from(*v); rows]),
        Scalar::I16(v) => Values::I16(vec![*v; rows]),
        Scalar::I32(v) => Values::I32(vec![*v; rows]),
        Scalar::I64(v) => Values::I64(vec![*v; rows]),
        Scalar::I128(v) => Values::I128(vec![*v; rows]),
        Scalar::F32(v) => Values::F32(vec![*v; rows]),
        Scalar::F64(v) => Values::F64(vec![*v; rows]),
        Scalar::Bytes(bytes) => match physical {
            Physical::Fixed(width) => Values::Fixed {
                width,
                data: bytes.repeat(rows),
            },
            _ => {
                let mut dict = doris_storage::vector::BytesColumn::default();
                dict.push(bytes);
                Values::Dict {
                    codes: vec![0; rows],
                    dict: Arc::new(dict),
                }
            }
        },
    };
    Vector {
        values,
        validity: None,
    }
}

/// The rows where no operand is NULL; `None`: all of them.
pub(super) fn strict_validity(operands: &[Operand], rows: usize) -> Option<Bitmap> {
    let mut combined: Option<Bitmap> = None;
    for operand in operands {
        match operand {
            Operand::Scalar(None) => return Some(Bitmap::filled(rows, false)),
            Operand::Scalar(Some(_)) => {}
            Operand::Vector(vector) => {
                let Some(validity) = &vector.validity else {
                    continue;
                };
                match &mut combined {
                    None => combined = Some(validity.clone()),
                    Some(bits) => bits
                        .words_mut()
                        .iter_mut()
                        .zip(validity.words())
                        .for_each(|(a, b)| *a &= b),
                }
            }
        }
    }
    combined
}

/// `f` of every row's value.
#[inline]
pub(super) fn map<A: Copy, R: Clone>(a: Side<A>, rows: usize, f: impl Fn(A) -> R) -> Vec<R> {
    match a {
        Side::Slice(a) => a[..rows].iter().map(|&a| f(a)).collect(),
        Side::One(a) => vec![f(a); rows],
    }
}

/// `f` of every row's two values.
#[inline]
pub(super) fn zip<A: Copy, B: Copy, R: Clone>(
    a: Side<A>,
    b: Side<B>,
    rows: usize,
    f: impl Fn(A, B) -> R,
) -> Vec<R> {
    match (a, b) {
        (Side::Slice(a), Side::Slice(b)) => a[..rows]
            .iter()
            .zip(&b[..rows])
            .map(|(&a, &b)| f(a, b))
            .collect(),
        (Side::Slice(a), Side::One(b)) => a[..rows].iter().map(|&a| f(a, b)).collect(),
        (Side::One(a), Side::Slice(b)) => b[..rows].iter().map(|&b| f(a, b)).collect(),
        (Side::One(a), Side::One(b)) => vec![f(a, b); rows],
    }
}

/// `f` of every row's value, where `f` also says whether it failed; the first failed row that is not NULL, if
/// any, is the error. The first pass has no branches; the rows are looked at again only when one failed.
#[inline]
pub(super) fn try_map<A: Copy, R: Clone>(
    a: Side<A>,
    rows: usize,
    validity: Option<&Bitmap>,
    f: impl Fn(A) -> (R, bool),
) -> std::result::Result<Vec<R>, usize> {
    let failed = std::cell::Cell::new(false);
    let out = map(a, rows, |a| {
        let (result, bad) = f(a);
        failed.set(failed.get() | bad);
        result
    });
    match first_failed(failed.get(), rows, validity, |i| f(a.get(i)).1) {
        Some(row) => Err(row),
        None => Ok(out),
    }
}

/// [`try_map`] over two operands.
#[inline]
pub(super) fn try_zip<A: Copy, B: Copy, R: Clone>(
    a: Side<A>,
    b: Side<B>,
    rows: usize,
    validity: Option<&Bitmap>,
    f: impl Fn(A, B) -> (R, bool),
) -> std::result::Result<Vec<R>, usize> {
    let failed = std::cell::Cell::new(false);
    let out = zip(a, b, rows, |a, b| {
        let (result, bad) = f(a, b);
        failed.set(failed.get() | bad);
        result
    });
    match first_failed(failed.get(), rows, validity, |i| f(a.get(i), b.get(i)).1) {
        Some(row) => Err(row),
        None => Ok(out),
    }
}

fn first_failed(
    any: bool,
    rows: usize,
    validity: Option<&Bitmap>,
    bad: impl Fn(usize) -> bool,
) -> Option<usize> {
    if !any {
        return None;
    }
    (0..rows).find(|&i| validity.is_none_or(|bits| bits.get(i)) && bad(i))
}
