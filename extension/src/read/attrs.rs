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
    /// Passed by value.
    pub by_value: bool,
    /// Dropped from the table.
    pub dropped: bool,
}

/// The attributes of an open relation, in order.
pub fn of(rel: pg_sys::Relation) -> Vec<Attr> {
    // SAFETY: an open relation's descriptor holds natts attributes.
    unsafe {
        let desc = (*rel).rd_att;
        let count = (*desc).natts as usize;
        (0..count)
            .map(|i| {
                let attribute = crate::pg::compat::attribute(desc, i);
                Attr {
                    number: i as u16 + 1,
                    kind: Kind::of(attribute),
                    type_oid: attribute.atttypid,
                    by_value: attribute.attbyval,
                    dropped: attribute.attisdropped,
                }
            })
            .collect()
    }
}
