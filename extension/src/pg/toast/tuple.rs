// SPDX-License-Identifier: Apache-2.0
//! Where the keys and the payload of our tuples are, in memory and on pages.
use pgrx::pg_sys;

/// Offset of the payload behind the tuple header: two four-byte keys and a four-byte varlena header.
pub(super) const PAYLOAD_OFFSET: usize = 12;

/// The payload of a normal tuple of ours on a page; `None` for anything else.
pub(super) unsafe fn page_payload<'a>(page: *mut u8, offset: u16) -> Option<&'a mut [u8]> {
    // SAFETY: the caller holds the page; all offsets are checked against its bounds.
    unsafe {
        let header = page as *const pg_sys::PageHeaderData;
        let items = ((*header).pd_lower as usize).saturating_sub(24) / 4;
        if offset == 0 || offset as usize > items {
            return None;
        }
        let item = *(page.add(24 + 4 * (offset as usize - 1)) as *const u32);
        let (at, flags, length) = (
            (item & 0x7fff) as usize,
            item >> 15 & 3,
            (item >> 17) as usize,
        );
        if flags != pg_sys::LP_NORMAL || length < 36 || at + length > pg_sys::BLCKSZ as usize {
            return None;
        }
        let header_bytes = (*(page.add(at) as *const pg_sys::HeapTupleHeaderData)).t_hoff as usize;
        if header_bytes + PAYLOAD_OFFSET > length {
            return None;
        }
        let start = page.add(at + header_bytes + PAYLOAD_OFFSET);
        let varlena = *(start.sub(4) as *const u32);
        let payload = ((varlena >> 2) as usize).checked_sub(4)?;
        if varlena & 3 != 0 || header_bytes + PAYLOAD_OFFSET + payload > length {
            return None;
        }
        Some(std::slice::from_raw_parts_mut(start, payload))
    }
}

/// The payload of a normal tuple of ours on a page that carries a key.
pub(super) unsafe fn keyed_payload<'a>(
    page: *mut u8,
    offset: u16,
    key: (u32, i32),
) -> Option<&'a [u8]> {
    // SAFETY: passed on to the caller; two four-byte keys are in front of a payload.
    unsafe {
        let payload = page_payload(page, offset)?;
        let keys = payload.as_ptr().sub(PAYLOAD_OFFSET);
        let found = (
            u32::from_ne_bytes(*(keys as *const [u8; 4])),
            i32::from_ne_bytes(*(keys.add(4) as *const [u8; 4])),
        );
        (found == key).then_some(&*payload)
    }
}

/// The chunk_id of a tuple of a TOAST relation.
///
/// # Safety
/// A valid tuple of a TOAST relation.
pub unsafe fn chunk_id(tuple: pg_sys::HeapTuple) -> u32 {
    // SAFETY: the first attribute is an oid at t_hoff.
    unsafe {
        let header = (*tuple).t_data;
        *((header as *const u8).add((*header).t_hoff as usize) as *const u32)
    }
}

/// The chunk_seq of a tuple of a TOAST relation.
///
/// # Safety
/// A valid tuple of a TOAST relation.
pub unsafe fn chunk_seq(tuple: pg_sys::HeapTuple) -> i32 {
    // SAFETY: the second attribute is an int4 behind the oid at t_hoff.
    unsafe {
        let header = (*tuple).t_data;
        *((header as *const u8).add((*header).t_hoff as usize + 4) as *const i32)
    }
}

/// Gives another chunk_seq to a tuple of a TOAST relation in memory.
///
/// # Safety
/// A copy of such a tuple, which nobody else refers to.
pub unsafe fn set_chunk_seq(tuple: pg_sys::HeapTuple, seq: i32) {
    // SAFETY: as for `chunk_seq`.
    unsafe {
        let header = (*tuple).t_data;
        *((header as *mut u8).add((*header).t_hoff as usize + 4) as *mut i32) = seq;
    }
}

/// The payload of a tuple of ours in memory.
///
/// # Safety
/// A copy of a tuple of ours, which nobody else refers to.
pub unsafe fn payload_mut<'a>(tuple: pg_sys::HeapTuple) -> &'a mut [u8] {
    // SAFETY: two four-byte keys and a plain varlena with a four-byte header, as `form` makes them.
    unsafe {
        let header = (*tuple).t_data;
        let data = (header as *mut u8).add((*header).t_hoff as usize);
        let length = (*(data.add(8) as *const u32) >> 2) as usize - 4;
        std::slice::from_raw_parts_mut(data.add(PAYLOAD_OFFSET), length)
    }
}
