// SPDX-License-Identifier: Apache-2.0
//! Values on their way into the rows of a mirror: from the stream's bytes, or from the rows of a query.
use super::mirror_relation::MirrorRelation;
use crate::pg::compat;
use doris_cdc::pgoutput::{Tuple, Value};
use pgrx::prelude::*;
use std::ffi::CStr;

/// What is said where the stream leaves out a large value, as it did not change, and the mirror does not have it: a row
/// came into a publication's condition, or somebody has changed the mirror. The mirror is filled again.
pub(super) const LACKS_VALUE: &str = "a large value that did not change is missing in the mirror";

/// A value by reference, copied to the current memory context.
unsafe fn copied(value: pg_sys::Datum, length: i16) -> pg_sys::Datum {
    let from = value.cast_mut_ptr::<u8>();
    // SAFETY: the value is one of a column of this length: fixed, varlena (-1) or with a zero at its end (-2).
    unsafe {
        let bytes = match length {
            -1 => pgrx::varlena::varsize_any(from.cast()),
            -2 => CStr::from_ptr(from.cast()).to_bytes_with_nul().len(),
            fixed => fixed as usize,
        };
        let to = pg_sys::palloc(bytes).cast::<u8>();
        std::ptr::copy_nonoverlapping(from, to, bytes);
        pg_sys::Datum::from(to)
    }
}

/// Turns a column's bytes into a value.
pub(super) struct Converter {
    pub(super) attribute: usize,
    typmod: i32,
    type_oid: pg_sys::Oid,
    receive: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
    input: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
}

/// What a row's columns hold that no value of the stream is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// What they held in the old row.
    OldRow,
    /// Their defaults.
    Defaults,
    /// NULL, in a row that is only looked for.
    Nothing,
}

impl MirrorRelation {
    /// Fills a slot with a row; what the row leaves out comes from `self.old`, or is the column's default.
    pub(super) unsafe fn fill(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        row: Tuple<'_>,
        over: Over,
    ) {
        // SAFETY: both slots have the relation's descriptor, so `natts` values each.
        unsafe {
            let over_old = over == Over::OldRow;
            pg_sys::ExecClearTuple(slot);
            let natts = (*(*self.rel).rd_att).natts as usize;
            if over_old {
                pg_sys::slot_getallattrs(self.old);
                let (values, nulls) = ((*self.old).tts_values, (*self.old).tts_isnull);
                std::ptr::copy_nonoverlapping(values, (*slot).tts_values, natts);
                std::ptr::copy_nonoverlapping(nulls, (*slot).tts_isnull, natts);
            } else {
                std::slice::from_raw_parts_mut((*slot).tts_isnull, natts).fill(true);
                if over == Over::Defaults {
                    self.fill_own(slot);
                }
            }
            let values = std::slice::from_raw_parts_mut((*slot).tts_values, natts);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            for (at, value) in row.values().enumerate() {
                if value == Value::Unchanged {
                    if !over_old {
                        error!("{LACKS_VALUE}");
                    }
                    continue;
                }
                let attribute = self.converters[at].attribute;
                let datum = self.convert(at, value);
                nulls[attribute] = datum.is_none();
                values[attribute] = datum.unwrap_or(pg_sys::Datum::null());
            }
            pg_sys::ExecStoreVirtualTuple(slot);
        }
    }

    /// Fills a slot with a row of a query, copied, as the query's own memory goes with its next row.
    pub(super) unsafe fn fill_from(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        from: *mut pg_sys::TupleTableSlot,
    ) {
        // SAFETY: the query has a column for each converter, of its attribute's type.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            pg_sys::slot_getallattrs(from);
            let desc = (*self.rel).rd_att;
            let natts = (*desc).natts as usize;
            std::slice::from_raw_parts_mut((*slot).tts_isnull, natts).fill(true);
            self.fill_own(slot);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            for (at, converter) in self.converters.iter().enumerate() {
                if *(*from).tts_isnull.add(at) {
                    continue;
                }
                let form = compat::attribute(desc, converter.attribute);
                let value = *(*from).tts_values.add(at);
                nulls[converter.attribute] = false;
                *(*slot).tts_values.add(converter.attribute) = if form.attbyval {
                    value
                } else {
                    copied(value, form.attlen)
                };
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::ExecStoreVirtualTuple(slot);
        }
    }

    /// A value as the type's input functions see it; `None` is null.
    pub(super) unsafe fn convert(&mut self, at: usize, value: Value<'_>) -> Option<pg_sys::Datum> {
        // SAFETY: the result lives in `values`; the input has a zero byte behind it, as input functions expect.
        unsafe {
            let (bytes, binary) = match value {
                Value::Null | Value::Unchanged => return None,
                Value::Binary(bytes) => (bytes, true),
                Value::Text(bytes) => (bytes, false),
            };
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            let converter = &mut self.converters[at];
            let datum = match converter.direct(bytes, binary) {
                Some(datum) => datum,
                None => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(bytes);
                    self.scratch.push(0);
                    converter.call(&mut self.scratch, binary, (*self.estate).es_query_cxt)
                }
            };
            pg_sys::MemoryContextSwitchTo(before);
            Some(datum)
        }
    }

    pub(super) unsafe fn reset_values(&mut self) {
        // SAFETY: no slot with such values is in use.
        unsafe { pg_sys::MemoryContextReset(self.values) };
    }
}

impl Converter {
    pub(super) unsafe fn new(desc: pg_sys::TupleDesc, number: i16) -> Self {
        // SAFETY: the number is one of the relation's attributes.
        unsafe {
            let form = compat::attribute(desc, number as usize - 1);
            Converter {
                attribute: number as usize - 1,
                typmod: form.atttypmod,
                type_oid: form.atttypid,
                receive: None,
                input: None,
            }
        }
    }

    /// The commonest types without a function call; `None` leaves it to the type's own function.
    fn direct(&self, bytes: &[u8], binary: bool) -> Option<pg_sys::Datum> {
        if !binary {
            return None;
        }
        match self.type_oid {
            pg_sys::INT4OID | pg_sys::DATEOID => Some(pg_sys::Datum::from(i32::from_be_bytes(
                bytes.try_into().ok()?,
            ))),
            pg_sys::INT8OID => Some(pg_sys::Datum::from(i64::from_be_bytes(
                bytes.try_into().ok()?,
            ))),
            pg_sys::INT2OID => Some(pg_sys::Datum::from(i16::from_be_bytes(
                bytes.try_into().ok()?,
            ))),
            pg_sys::FLOAT8OID => {
                f64::from_bits(u64::from_be_bytes(bytes.try_into().ok()?)).into_datum()
            }
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID if self.typmod == -1 => Some(
                pg_sys::Datum::from(i64::from_be_bytes(bytes.try_into().ok()?)),
            ),
            _ => None,
        }
    }

    unsafe fn call(
        &mut self,
        bytes: &mut [u8],
        binary: bool,
        lasting: pg_sys::MemoryContext,
    ) -> pg_sys::Datum {
        // SAFETY: the functions are the type's own, looked up once for each opening of the mirror; the buffer is ours
        // to write to, which the array and record functions do.
        unsafe {
            let length = bytes.len() - 1;
            let mut io = pg_sys::InvalidOid;
            let mut function = pg_sys::InvalidOid;
            if binary {
                let (info, io) = self.receive.get_or_insert_with(|| {
                    pg_sys::getTypeBinaryInputInfo(self.type_oid, &mut function, &mut io);
                    let mut info: pg_sys::FmgrInfo = std::mem::zeroed();
                    pg_sys::fmgr_info_cxt(function, &mut info, lasting);
                    (info, io)
                });
                let mut buffer = pg_sys::StringInfoData {
                    data: bytes.as_mut_ptr().cast(),
                    len: length as i32,
                    maxlen: bytes.len() as i32,
                    cursor: 0,
                };
                let datum = pg_sys::ReceiveFunctionCall(info, &mut buffer, *io, self.typmod);
                if buffer.cursor != buffer.len {
                    error!(
                        "a value of type {} is {} bytes too long",
                        self.type_oid,
                        buffer.len - buffer.cursor
                    );
                }
                datum
            } else {
                let (info, io) = self.input.get_or_insert_with(|| {
                    pg_sys::getTypeInputInfo(self.type_oid, &mut function, &mut io);
                    let mut info: pg_sys::FmgrInfo = std::mem::zeroed();
                    pg_sys::fmgr_info_cxt(function, &mut info, lasting);
                    (info, io)
                });
                pg_sys::InputFunctionCall(info, bytes.as_mut_ptr().cast(), *io, self.typmod)
            }
        }
    }
}
