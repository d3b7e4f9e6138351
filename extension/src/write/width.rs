// SPDX-License-Identifier: Apache-2.0
//! Rows that no heap page could hold.
//!
//! A segment would take them, but UPDATE, and a dump's small INSERTs, could not write them to the row store: they are
//! refused as the heap refuses them, by the least size that TOAST brings a row to. Only tables whose rows may be that large
//! are measured.
use crate::pg::{self, compat};
use pgrx::{pg_sys, PgSqlErrorCode};

/// Most bytes of a tuple on a heap page: what is left of one with a page header and one line pointer.
const TUPLE_BYTES_MAX: usize = pg_sys::BLCKSZ as usize - 32;
const TUPLE_HEADER_BYTES: usize = 23;
/// A value in the TOAST relation leaves a pointer of so many bytes.
const POINTER_BYTES: usize = 18;
/// Values up to this size stay in the row.
const KEPT_BYTES: usize = 24;

/// How the values of one column are laid out in a tuple.
#[derive(Clone, Copy)]
struct Column {
    /// Its length; -1: a varlena.
    length: i16,
    alignment: usize,
    /// Large values may go to the TOAST relation.
    toastable: bool,
}

/// The columns of a table whose rows may be too large.
pub struct Widths(Vec<Column>);

impl Widths {
    /// `None` where no row can be too large.
    pub fn of(rel: pg_sys::Relation) -> Option<Self> {
        // SAFETY: an open relation, whose descriptor has natts attributes.
        let columns: Vec<Column> = unsafe {
            let desc = (*rel).rd_att;
            (0..(*desc).natts as usize)
                .map(|at| {
                    let attribute = compat::attribute(desc, at);
                    Column {
                        length: attribute.attlen,
                        alignment: match attribute.attalign as u8 {
                            b'd' => 8,
                            b'i' => 4,
                            b's' => 2,
                            _ => 1,
                        },
                        toastable: attribute.attlen == -1 && attribute.attstorage as u8 != b'p',
                    }
                })
                .collect()
        };
        let header = (TUPLE_HEADER_BYTES + columns.len().div_ceil(8)).next_multiple_of(8);
        let most = columns.iter().map(Column::bytes_max).sum::<usize>() + header;
        (most > TUPLE_BYTES_MAX).then_some(Self(columns))
    }

    /// The size of the row in a slot, if that is more than a page holds.
    ///
    /// # Safety
    /// A slot of the table's row type with all attributes.
    pub unsafe fn excess(&self, slot: *mut pg_sys::TupleTableSlot) -> Option<usize> {
        let mut bytes = 0usize;
        let mut any_null = false;
        for (at, column) in self.0.iter().enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                match *(*slot).tts_isnull.add(at) {
                    true => any_null = true,
                    false => bytes = column.end(bytes, *(*slot).tts_values.add(at)),
                }
            }
        }
        let nulls = if any_null {
            self.0.len().div_ceil(8)
        } else {
            0
        };
        let header = (TUPLE_HEADER_BYTES + nulls).next_multiple_of(8);
        let size = (header + bytes).next_multiple_of(8);
        (size > TUPLE_BYTES_MAX).then_some(size)
    }
}

impl Column {
    /// Most bytes that a value takes once TOAST is done, padding included.
    fn bytes_max(&self) -> usize {
        match self.length {
            fixed if fixed >= 0 => fixed as usize + self.alignment - 1,
            _ if self.toastable => KEPT_BYTES + self.alignment - 1,
            _ => TUPLE_BYTES_MAX,
        }
    }

    /// Where a value ends that is put behind `at` bytes of others.
    unsafe fn end(&self, at: usize, value: pg_sys::Datum) -> usize {
        let aligned = at.next_multiple_of(self.alignment);
        if self.length >= 0 {
            return aligned + self.length as usize;
        }
        let value = value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a value of a type of variable length. Its first bytes say how it is stored.
        let (size, packed) = unsafe {
            if self.length != -1 {
                (
                    std::ffi::CStr::from_ptr(value.cast()).count_bytes() + 1,
                    true,
                )
            } else if pgrx::varlena::varatt_is_1b_e(value) {
                (POINTER_BYTES, true)
            } else if pgrx::varlena::varatt_is_1b(value) {
                (pgrx::varlena::varsize_1b(value), true)
            } else {
                (pgrx::varlena::varsize_4b(value), false)
            }
        };
        match (self.toastable, packed) {
            (true, _) if size > KEPT_BYTES => at + POINTER_BYTES,
            (_, true) => at + size,
            // The short header is of one byte instead of four.
            (true, false) => at + size - 3,
            (false, false) => aligned + size,
        }
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
