// SPDX-License-Identifier: Apache-2.0
//! The columns of relations, as their descriptors have them.
use super::compat;
use pgrx::pg_sys;

type Attribute = pg_sys::FormData_pg_attribute;

/// The attributes of a descriptor, dropped ones too.
///
/// # Safety
/// A descriptor that outlives the iterator and what it gives.
pub unsafe fn of_descriptor<'a>(
    desc: pg_sys::TupleDesc,
) -> impl ExactSizeIterator<Item = &'a Attribute> {
    // SAFETY: passed on to the caller.
    let count = unsafe { (*desc).natts as usize };
    // SAFETY: as above; `at` is below the descriptor's count.
    (0..count).map(move |at| unsafe { compat::attribute(desc, at) })
}

/// The attributes of an open relation, dropped ones too.
pub fn all<'a>(rel: pg_sys::Relation) -> impl ExactSizeIterator<Item = &'a Attribute> {
    // SAFETY: callers pass an open relation, whose descriptor stays while it is open.
    unsafe { of_descriptor((*rel).rd_att) }
}

/// The attributes of an open relation that are not dropped.
pub fn live<'a>(rel: pg_sys::Relation) -> impl Iterator<Item = &'a Attribute> {
    all(rel).filter(|attribute| !attribute.attisdropped)
}

/// The attribute of a number, counted from 1, that an open relation has.
pub fn numbered<'a>(rel: pg_sys::Relation, number: u16) -> &'a Attribute {
    // SAFETY: callers pass an open relation and the number of one of its attributes.
    unsafe { compat::attribute((*rel).rd_att, usize::from(number) - 1) }
}

/// How many attributes an open relation has, dropped ones too.
pub fn count(rel: pg_sys::Relation) -> usize {
    // SAFETY: callers pass an open relation.
    unsafe { (*(*rel).rd_att).natts as usize }
}

/// The number of the live attribute of a name in a descriptor; `None` where there is none.
///
/// # Safety
/// A valid descriptor.
pub unsafe fn number_in_descriptor(desc: pg_sys::TupleDesc, name: &str) -> Option<u16> {
    // SAFETY: passed on to the caller; the attributes do not leave this function.
    let mut attributes = unsafe { of_descriptor(desc) };
    let at = attributes.position(|attribute| {
        !attribute.attisdropped && super::name_bytes(&attribute.attname) == name.as_bytes()
    })?;
    Some(at as u16 + 1)
}

/// The numbers of the columns that an expression reads of an open relation, which is its first variable number. System
/// columns and whole rows are not among them.
///
/// # Safety
/// An expression, a list of them, or null.
pub unsafe fn read_by(expression: *mut pg_sys::Node, rel: pg_sys::Relation) -> Vec<u16> {
    let mut found = std::ptr::null_mut();
    // SAFETY: passed on to the caller.
    unsafe { pg_sys::pull_varattnos(expression, 1, &mut found) };
    let is_read = |number: &u16| {
        let member = i32::from(*number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: a set, or null.
        unsafe { pg_sys::bms_is_member(member, found) }
    };
    (1..=count(rel) as u16).filter(is_read).collect()
}

/// The bytes that an alignment of the catalogue (`attalign`, `typalign`) stands for.
pub fn alignment_bytes(letter: std::ffi::c_char) -> usize {
    match letter as u8 {
        pg_sys::TYPALIGN_DOUBLE => 8,
        pg_sys::TYPALIGN_INT => 4,
        pg_sys::TYPALIGN_SHORT => 2,
        _ => 1,
    }
}
