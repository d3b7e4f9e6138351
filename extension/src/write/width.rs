// SPDX-License-Identifier: Apache-2.0
//! Rows that no heap page could hold.
//!
//! A segment would take them, but UPDATE, and a dump's small INSERTs, could not write them to the row store: they are
//! refused as the heap refuses them, by the least size that TOAST brings a row to. Only tables whose rows may be that
//! large are measured.
use crate::pg::{self, attributes, raw};
use pgrx::{pg_sys, PgSqlErrorCode};

/// Most bytes of a tuple on a heap page: what is left of one with a page header and one line pointer.
const TUPLE_BYTES_MAX: usize = pg_sys::BLCKSZ as usize - 32;
const TUPLE_HEADER_BYTES: usize = 23;
/// A value in the TOAST relation leaves a pointer of so many bytes.
const POINTER_BYTES: usize = 18;
/// Values up to this size stay in the row.
const KEPT_BYTES: usize = 24;
/// Most bytes of a value with a short header.
const SHORT_BYTES_MAX: usize = 127;

/// How the values of one column are laid out in a tuple.
#[derive(Clone, Copy)]
struct Column {
    /// Its length; -1: a varlena.
    length: i16,
    alignment: usize,
    /// Small values may get the short header of one byte, large ones go to the TOAST relation.
    toastable: bool,
    /// Large values are compressed before, by this method.
    compression: Option<std::ffi::c_char>,
}

/// What is taken for the size of a value that TOAST would make smaller.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// The most that may be left of it.
    Most,
    /// What is left of it.
    Exact,
}

/// The columns of a table whose rows may be too large.
pub struct Widths(Vec<Column>);

impl Widths {
    /// `None` where no row can be too large.
    pub fn of(rel: pg_sys::Relation) -> Option<Self> {
        let columns: Vec<Column> = attributes::all(rel).map(Column::of).collect();
        let header = (TUPLE_HEADER_BYTES + columns.len().div_ceil(8)).next_multiple_of(8);
        let most = columns.iter().map(Column::bytes_max).sum::<usize>() + header;
        (most > TUPLE_BYTES_MAX).then_some(Self(columns))
    }

    /// The size of the row in a slot, if that is more than a page holds.
    ///
    /// # Safety
    /// A slot of the table's row type with all attributes.
    pub unsafe fn excess(&self, slot: *mut pg_sys::TupleTableSlot) -> Option<usize> {
        // SAFETY: passed on to the caller.
        unsafe {
            if self.size(slot, Measure::Most) <= TUPLE_BYTES_MAX {
                return None;
            }
            let size = self.size(slot, Measure::Exact);
            (size > TUPLE_BYTES_MAX).then_some(size)
        }
    }

    /// Bytes of the tuple that a heap would make of the row.
    unsafe fn size(&self, slot: *mut pg_sys::TupleTableSlot, measure: Measure) -> usize {
        let mut bytes = 0usize;
        let mut any_null = false;
        for (at, column) in self.0.iter().enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                match *(*slot).tts_isnull.add(at) {
                    true => any_null = true,
                    false => bytes = column.end(bytes, *(*slot).tts_values.add(at), measure),
                }
            }
        }
        let nulls = if any_null {
            self.0.len().div_ceil(8)
        } else {
            0
        };
        let header = (TUPLE_HEADER_BYTES + nulls).next_multiple_of(8);
        (header + bytes).next_multiple_of(8)
    }
}

impl Column {
    fn of(attribute: &pg_sys::FormData_pg_attribute) -> Self {
        let storage = attribute.attstorage as u8;
        let compressible = [pg_sys::TYPSTORAGE_EXTENDED, pg_sys::TYPSTORAGE_MAIN];
        Self {
            length: attribute.attlen,
            alignment: attributes::alignment_bytes(attribute.attalign),
            toastable: attribute.attlen == -1 && storage != pg_sys::TYPSTORAGE_PLAIN,
            compression: compressible
                .contains(&storage)
                .then_some(attribute.attcompression),
        }
    }

    /// Most bytes that a value takes once TOAST is done, padding included.
    fn bytes_max(&self) -> usize {
        match self.length {
            fixed if fixed >= 0 => fixed as usize + self.alignment - 1,
            _ if self.toastable => KEPT_BYTES + self.alignment - 1,
            _ => TUPLE_BYTES_MAX,
        }
    }

    /// Where a value ends that is put behind `at` bytes of others, by the rules of heap_toast_insert_or_update.
    unsafe fn end(&self, at: usize, value: pg_sys::Datum, measure: Measure) -> usize {
        let aligned = at.next_multiple_of(self.alignment);
        if self.length >= 0 {
            return aligned + self.length as usize;
        }
        let pointer = value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a value of a type of variable length. Its first bytes say how it is stored.
        let (end, size, plain) = unsafe {
            if self.length != -1 {
                return at + std::ffi::CStr::from_ptr(pointer.cast()).count_bytes() + 1;
            }
            if pgrx::varlena::varatt_is_1b_e(pointer) {
                return at + POINTER_BYTES;
            }
            if pgrx::varlena::varatt_is_1b(pointer) {
                let size = pgrx::varlena::varsize_1b(pointer);
                (at + size, size, true)
            } else {
                let size = pgrx::varlena::varsize_4b(pointer);
                let plain = pgrx::varlena::varatt_is_4b_u(pointer);
                // A tuple has the short header of one byte instead of four where that can be.
                match self.toastable && plain && size - 3 <= SHORT_BYTES_MAX {
                    true => (at + size - 3, size - 3, true),
                    false => (aligned + size, size, plain),
                }
            }
        };
        if !self.toastable || size <= KEPT_BYTES {
            return end;
        }
        let compression = self.compression.filter(|_| plain);
        match (measure, compression) {
            // Compressed values that stay in the row are aligned.
            (Measure::Most, Some(_)) => aligned + KEPT_BYTES,
            (Measure::Exact, Some(method)) => {
                // SAFETY: a varlena that is not compressed.
                let left = unsafe { compressed_size(value, method) };
                match left.filter(|left| *left <= KEPT_BYTES) {
                    Some(left) => aligned + left,
                    None => at + POINTER_BYTES,
                }
            }
            (_, None) => at + POINTER_BYTES,
        }
    }
}

/// Bytes of a value once it is compressed; `None` where that makes it no smaller.
///
/// # Safety
/// A varlena that is neither compressed nor stored elsewhere.
unsafe fn compressed_size(value: pg_sys::Datum, method: std::ffi::c_char) -> Option<usize> {
    // SAFETY: passed on to the caller; what compression returns is a varlena of ours with a header of four bytes.
    unsafe {
        let compressed = raw::compressed(value, method)?;
        let varlena = compressed.cast_mut_ptr::<pg_sys::varlena>();
        let size = pgrx::varlena::varsize_4b(varlena);
        pg_sys::pfree(varlena.cast());
        Some(size)
    }
}

/// Refuses a row as a heap does.
pub fn refuse(size: usize) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("row is too big: size {size}, maximum size {TUPLE_BYTES_MAX}"),
        "",
    )
}
