// SPDX-License-Identifier: Apache-2.0
//! Catalogue tuples and values as C has them.
use pgrx::pg_sys;

/// The fixed part of a catalogue tuple (`GETSTRUCT`).
///
/// # Safety
/// A tuple of the catalogue that `T` describes.
pub unsafe fn form<T>(tuple: pg_sys::HeapTuple) -> *mut T {
    // SAFETY: t_hoff leads to the first attribute.
    unsafe {
        let header = (*tuple).t_data;
        (header as *mut u8).add((*header).t_hoff as usize).cast()
    }
}

/// A varlena of some bytes, in the current memory context.
pub fn varlena(bytes: &[u8]) -> pg_sys::Datum {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    // SAFETY: palloc returns `size` bytes or raises an error (above 1 GB too, so that the length fits an i32).
    unsafe {
        let pointer = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::varlena::set_varsize_4b(pointer, size as i32);
        let content = pointer.cast::<u8>().add(pg_sys::VARHDRSZ);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), content, bytes.len());
        pg_sys::Datum::from(pointer)
    }
}
