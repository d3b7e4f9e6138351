// SPDX-License-Identifier: Apache-2.0
//! What a reader must know of each attribute of a table.
use crate::write::kind::Kind;
use pgrx::pg_sys;

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    /// Attribute number, from 1; a segment's columns carry it as their id.
    pub number: u16,
    /// How a new segment would store it.
    pub kind: Kind,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    /// Dropped from the table.
    pub dropped: bool,
}

/// The attributes of an open relation, in order.
pub fn of(rel: pg_sys::Relation) -> Vec<Attr> {
    // SAFETY: an open relation's descriptor.
    unsafe { of_descriptor((*rel).rd_att) }
}

/// The attributes of a descriptor: a table rewrite reads rows by the types they had before.
///
/// # Safety
/// A valid descriptor.
pub unsafe fn of_descriptor(desc: pg_sys::TupleDesc) -> Vec<Attr> {
    // SAFETY: passed on to the caller; what is returned is a copy.
    let all = unsafe { crate::pg::attributes::of_descriptor(desc) };
    all.zip(1..)
        .map(|(attribute, number)| Attr {
            number,
            kind: Kind::of(attribute),
            type_oid: attribute.atttypid,
            dropped: attribute.attisdropped,
        })
        .collect()
}
