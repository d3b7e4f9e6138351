// SPDX-License-Identifier: Apache-2.0
//! Values of a vector as Datums.
use super::attrs::Attr;
use crate::write::kind::Kind;
use crate::write::numeric;
use doris_storage::vector::{Values, Vector};
use pgrx::pg_sys;

/// Memory for values that Datums point to. Aligned to 8 bytes; freed all at once.
#[derive(Default)]
pub struct Arena {
    pages: Vec<Vec<u64>>,
    page: usize,
    used: usize,
    /// A value in the making.
    scratch: Vec<u8>,
}

const PAGE_WORDS: usize = 8192;
/// The first page: a row of a look-up fits, and larger ones take time to clear.
const FIRST_PAGE_WORDS: usize = 128;

impl Arena {
    /// `bytes` writable bytes that stay where they are until [`Arena::reset`].
    pub fn alloc(&mut self, bytes: usize) -> *mut u8 {
        let words = bytes.div_ceil(8);
        loop {
            match self.pages.get_mut(self.page) {
                Some(page) if self.used + words <= page.len() => {
                    let at = self.used;
                    self.used += words;
                    return page[at..].as_mut_ptr().cast();
                }
                Some(_) => {
                    self.page += 1;
                    self.used = 0;
                }
                None => {
                    let page = match self.pages.is_empty() {
                        true => FIRST_PAGE_WORDS,
                        false => PAGE_WORDS,
                    };
                    self.pages.push(vec![0; words.max(page)]);
                }
            }
        }
    }

    /// Makes all memory free again; large pages are given back.
    pub fn reset(&mut self) {
        self.pages.retain(|page| page.len() <= PAGE_WORDS);
        self.pages.truncate(16);
        self.page = 0;
        self.used = 0;
    }

    fn varlena(&mut self, bytes: &[u8]) -> pg_sys::Datum {
        let at = self.alloc(bytes.len() + 4);
        // SAFETY: `at` has room for the header and the bytes and is aligned.
        unsafe {
            *(at as *mut u32) = ((bytes.len() + 4) as u32) << 2;
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(4), bytes.len());
        }
        pg_sys::Datum::from(at)
    }

    fn copy(&mut self, bytes: &[u8], terminate: bool) -> pg_sys::Datum {
        let at = self.alloc(bytes.len() + usize::from(terminate));
        // SAFETY: `at` has room for the bytes and the terminator.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
            if terminate {
                *at.add(bytes.len()) = 0;
            }
        }
        pg_sys::Datum::from(at)
    }
}

/// Value `i` of a vector as a Datum of an attribute; `None` is NULL. `scale` is the decimal scale with which
/// the segment stored a numeric as an integer.
pub fn datum(
    vector: &Vector,
    i: usize,
    attr: &Attr,
    scale: u16,
    arena: &mut Arena,
) -> Option<pg_sys::Datum> {
    if vector.is_null(i) {
        return None;
    }
    // A column may have come to be of a domain since, whose values are stored by reference.
    let decimal = attr.type_oid == pg_sys::NUMERICOID || attr.kind == Kind::Varlena;
    Some(match &vector.values {
        Values::Bool(v) => pg_sys::Datum::from(v[i] != 0),
        Values::I16(v) => pg_sys::Datum::from(v[i]),
        Values::I32(v) => pg_sys::Datum::from(v[i]),
        Values::I64(v) if decimal => numeric_datum(i128::from(v[i]), scale, arena),
        Values::I64(v) => pg_sys::Datum::from(v[i]),
        Values::I128(v) => numeric_datum(v[i], scale, arena),
        Values::F32(v) => pg_sys::Datum::from(v[i].to_bits()),
        Values::F64(v) => pg_sys::Datum::from(v[i].to_bits()),
        Values::Fixed { .. } => arena.copy(vector.bytes(i).unwrap_or_default(), false),
        Values::Bytes(_) | Values::Dict { .. } => {
            let bytes = vector.bytes(i).unwrap_or_default();
            if attr.kind == Kind::CString {
                arena.copy(bytes, true)
            } else {
                arena.varlena(bytes)
            }
        }
    })
}

fn numeric_datum(value: i128, scale: u16, arena: &mut Arena) -> pg_sys::Datum {
    let mut bytes = std::mem::take(&mut arena.scratch);
    bytes.clear();
    numeric::from_scaled(value, scale, &mut bytes);
    let datum = arena.varlena(&bytes);
    arena.scratch = bytes;
    datum
}
