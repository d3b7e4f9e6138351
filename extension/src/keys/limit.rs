// SPDX-License-Identifier: Apache-2.0
//! The longest key. The key index takes what a btree takes; a segment takes any key, but an UPDATE or DELETE of its row
//! brings it to the row store. So loads of longer keys are refused, however many rows they have.
use super::key_encoding::Form;
use super::model::Model;
use super::publish_segment::Batch;
use crate::pg::{self, attributes, compat, raw};
use crate::read::datum::Arena;
use pgrx::{pg_sys, varlena, PgSqlErrorCode};

/// Key bytes (as in [`Keys`](super::key_encoding::Keys)) with which no index entry is too long.
const SHORT_BYTES: usize = 1000;
/// The longest entry of a btree (BTMaxItemSize of access/nbtree.h).
const ENTRY_BYTES_MAX: usize = {
    let page = pg_sys::BLCKSZ as usize - (24 + 3 * 4 + 4) - 16;
    page / 3 / 8 * 8 - 8
};
/// Longer values are compressed in index entries (TOAST_INDEX_TARGET of access/heaptoast.h).
const COMPRESSED_BYTES_MIN: i32 = (pg_sys::BLCKSZ as i32 - 32) / 16;

/// Raises an error where a row of a batch has a key that the key index does not take.
pub fn check(rel: pg_sys::Relation, model: &Model, batch: &Batch) {
    let short = SHORT_BYTES.saturating_sub(blanks_max(rel, model));
    if batch.keys().are_shorter_than(short) {
        return;
    }
    let mut entry = Entry::of(rel, model);
    let mut arena = Arena::default();
    for key in 0..batch.len() {
        if batch.keys().length(key) < short {
            continue;
        }
        arena.reset();
        let values = batch.values(model, key, &mut arena);
        entry.check(rel, model, &values);
        pgrx::check_for_interrupts!();
    }
}

/// How many bytes longer than a key its entry may be by the blanks at the end of its values, which are not part of the
/// key.
fn blanks_max(rel: pg_sys::Relation, model: &Model) -> usize {
    let padded = model.columns.iter().filter(|c| c.form == Form::Blank);
    let widths = padded.map(|column| {
        // SAFETY: an open relation and one of its columns; a catalogue look-up of its type; plain calls.
        let (characters, bytes) = unsafe {
            let attribute = compat::attribute((*rel).rd_att, usize::from(column.attr.number) - 1);
            let mut typmod = attribute.atttypmod;
            pg_sys::getBaseTypeAndTypmod(attribute.atttypid, &mut typmod);
            let characters = usize::try_from(typmod - pg_sys::VARHDRSZ as i32);
            (
                characters,
                pg_sys::pg_database_encoding_max_length() as usize,
            )
        };
        characters.map_or(usize::MAX, |characters| characters * bytes)
    });
    widths.fold(0, usize::saturating_add)
}

/// An entry of the key index.
struct Entry {
    desc: pg_sys::TupleDesc,
    memory: pgrx::memcxt::PgMemoryContexts,
}

impl Entry {
    fn of(rel: pg_sys::Relation, model: &Model) -> Self {
        // SAFETY: an open relation and its columns.
        let desc = unsafe {
            let desc = pg_sys::CreateTemplateTupleDesc(model.columns.len() as i32);
            for (at, column) in model.columns.iter().enumerate() {
                let number = column.attr.number as i16;
                pg_sys::TupleDescCopyEntry(desc, at as i16 + 1, (*rel).rd_att, number);
            }
            desc
        };
        Self {
            desc,
            memory: pgrx::memcxt::PgMemoryContexts::new("doris key lengths"),
        }
    }

    /// Raises an error where the entry of a key is too long.
    fn check(&mut self, rel: pg_sys::Relation, model: &Model, key: &[(pg_sys::Datum, bool)]) {
        // SAFETY: values of the key columns; compressed copies are freed with the context.
        let (bytes, widths) = unsafe {
            self.memory.reset();
            let before = pg_sys::MemoryContextSwitchTo(self.memory.value());
            let (mut values, mut nulls): (Vec<_>, Vec<bool>) = key.iter().copied().unzip();
            for (at, value) in values.iter_mut().enumerate().filter(|(at, _)| !key[*at].1) {
                *value = as_in_index(compat::attribute(self.desc, at), *value);
            }
            let header = match nulls.contains(&true) {
                true => 16,
                false => 8,
            };
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            let data = pg_sys::heap_compute_data_size(self.desc, values, nulls) as usize;
            let widths: Vec<usize> = (0..key.len())
                .map(
                    |at| match key[at].1 || compat::attribute(self.desc, at).attlen != -1 {
                        true => 0,
                        false => varlena::varsize_any((*values.add(at)).cast_mut_ptr()),
                    },
                )
                .collect();
            pg_sys::MemoryContextSwitchTo(before);
            (header + data, widths)
        };
        if bytes.next_multiple_of(8) > ENTRY_BYTES_MAX {
            refuse(rel, model, bytes, &widths);
        }
    }
}

/// A value as `index_form_tuple` puts it into an entry.
unsafe fn as_in_index(
    attribute: &pg_sys::FormData_pg_attribute,
    value: pg_sys::Datum,
) -> pg_sys::Datum {
    // TYPSTORAGE_EXTENDED and TYPSTORAGE_MAIN of catalog/pg_type.h.
    let compresses = matches!(attribute.attstorage as u8, b'x' | b'm');
    // SAFETY: a value of the attribute's type.
    unsafe {
        if attribute.attlen != -1 || !compresses {
            return value;
        }
        let pointer = value.cast_mut_ptr::<pg_sys::varlena>();
        let plain = varlena::varatt_is_4b_u(pointer);
        if !plain || varlena::varsize_any(pointer) as i32 <= COMPRESSED_BYTES_MIN {
            return value;
        }
        raw::compressed(value, attribute.attcompression).unwrap_or(value)
    }
}

fn refuse(rel: pg_sys::Relation, model: &Model, bytes: usize, widths: &[usize]) -> ! {
    let widest = (0..widths.len()).max_by_key(|at| widths[*at]).unwrap_or(0);
    let number = model.columns[widest].attr.number;
    let column = pg::attribute_name(attributes::numbered(rel, number));
    pg::refuse(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!(
            "a key of table \"{}\" takes {bytes} bytes, {} of them in column \"{column}\": an index takes keys of at most \
             {ENTRY_BYTES_MAX}",
            pg::relation_name(rel),
            widths[widest]
        ),
        "Make a hash of the value the key, such as md5(value), and keep the value in a column behind it.",
    )
}
