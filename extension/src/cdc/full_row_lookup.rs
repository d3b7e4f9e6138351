// SPDX-License-Identifier: Apache-2.0
//! Rows of a mirror without a key, found by all their values: one scan for all rows of a batch that go.
//!
//! Rows are equal as the operators of their types say, by whose hash functions they are found; where a type has none,
//! by their bytes. Of rows that are equal but do not look the same (1.0 and 1.00) the one that looks the same goes, if
//! there is one.
use super::apply_shell::ROWS_AT_ONCE;
use super::mirror_relation::MirrorRelation;
use super::row_converter::Over;
use crate::pg::attributes;
use doris_cdc::fold;
use doris_cdc::pgoutput::Tuple;
use pgrx::prelude::*;
use std::collections::{HashMap, HashSet};

/// How values of a column are compared.
struct Column {
    collation: pg_sys::Oid,
    by_value: bool,
    length: i16,
    /// Equal values are the same bytes: no function is called for them.
    plain: bool,
    /// The entry of the type's that has its functions; it lives as long as the process.
    known: *mut pg_sys::TypeCacheEntry,
}

/// A row that is to go.
struct Wanted {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// How many of it.
    left: u64,
    /// Rows that are equal and do not look the same, as many as all that are equal may take.
    similar: Vec<pg_sys::ItemPointerData>,
}

impl MirrorRelation {
    /// Deletes rows, so many of each.
    pub(super) unsafe fn delete_equal<'a>(&mut self, rows: impl Iterator<Item = (Tuple<'a>, u64)>) {
        // SAFETY: converted values live until the end; slots have the relation's descriptor.
        unsafe {
            let columns = self.columns();
            let mut wanted = Vec::new();
            let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
            for (row, times) in rows {
                self.fill(self.new, row, Over::Nothing);
                let (values, nulls) = values_of(self.new, columns.len());
                places
                    .entry(hash(&columns, values, nulls))
                    .or_default()
                    .push(wanted.len());
                wanted.push(Wanted {
                    values: values.to_vec(),
                    nulls: nulls.to_vec(),
                    left: times,
                    similar: Vec::new(),
                });
            }
            pg_sys::ExecClearTuple(self.new);
            let found = self.find_equal(&columns, &mut wanted, &places);
            self.delete_places(found);
            self.missing += wanted.iter().map(|w| w.left).sum::<u64>();
            drop(wanted);
            self.reset_values();
        }
    }

    /// Scans for the rows wanted, and takes those found off `left`.
    unsafe fn find_equal(
        &mut self,
        columns: &[Column],
        wanted: &mut [Wanted],
        places: &HashMap<u64, Vec<usize>>,
    ) -> Vec<pg_sys::ItemPointerData> {
        let mut found = Vec::new();
        // SAFETY: a scan under the pass's snapshot, ended here; an error ends it with the transaction.
        unsafe {
            let mut open: u64 = wanted.iter().map(|w| w.left).sum();
            let scan = pg_sys::table_beginscan(
                self.rel,
                (*self.estate).es_snapshot,
                0,
                std::ptr::null_mut(),
            );
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            // What the types' functions leave behind.
            let scratch = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"doris rows compared".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let mut seen = 0;
            while open > 0 && pg_sys::table_scan_getnextslot(scan, forward, self.old) {
                seen += 1;
                if seen % ROWS_AT_ONCE == 0 {
                    super::session::check_interrupts();
                }
                // Nothing to do where no function left anything; values may be large.
                pg_sys::MemoryContextReset(scratch);
                pg_sys::slot_getallattrs(self.old);
                let row = values_of(self.old, columns.len());
                let before = pg_sys::MemoryContextSwitchTo(scratch);
                let candidates = places.get(&hash(columns, row.0, row.1));
                let candidates = candidates.map_or(&[][..], Vec::as_slice);
                let matched = matching(columns, wanted, candidates, row);
                pg_sys::MemoryContextSwitchTo(before);
                let tid = (*self.old).tts_tid;
                match matched {
                    Match::Same(at) => {
                        wanted[at].left -= 1;
                        open -= 1;
                        found.push(tid);
                    }
                    Match::Equal(equal) => note_similar(wanted, candidates, &equal, tid),
                }
            }
            pg_sys::MemoryContextDelete(scratch);
            pg_sys::table_endscan(scan);
            pg_sys::ExecClearTuple(self.old);
        }
        take_similar(wanted, &mut found);
        found
    }

    unsafe fn columns(&self) -> Vec<Column> {
        // SAFETY: the relation is open.
        unsafe {
            let functions = pg_sys::TYPECACHE_EQ_OPR_FINFO | pg_sys::TYPECACHE_HASH_PROC_FINFO;
            attributes::all(self.rel)
                .enumerate()
                .map(|(i, form)| {
                    // What the source does not send is not compared.
                    let sent = self.converters.iter().any(|c| c.attribute == i);
                    Column {
                        collation: form.attcollation,
                        by_value: form.attbyval,
                        length: form.attlen,
                        plain: is_plain(form.atttypid, form.attcollation),
                        known: match sent {
                            true => pg_sys::lookup_type_cache(form.atttypid, functions as i32),
                            false => std::ptr::null_mut(),
                        },
                    }
                })
                .collect()
        }
    }
}

/// Which of the rows wanted a row is.
enum Match {
    /// It looks the same as this one.
    Same(usize),
    /// It is equal to these, maybe none, and does not look the same.
    Equal(Vec<usize>),
}

/// Compares a row with those of the rows wanted that have its hash.
unsafe fn matching(
    columns: &[Column],
    wanted: &[Wanted],
    candidates: &[usize],
    row: (&[pg_sys::Datum], &[bool]),
) -> Match {
    let mut equal = Vec::new();
    for at in candidates {
        let candidate = &wanted[*at];
        // SAFETY: rows of the relation's row type.
        match unsafe { alike(columns, row, (&candidate.values, &candidate.nulls)) } {
            Alike::Same if candidate.left > 0 => return Match::Same(*at),
            Alike::Equal if candidate.left > 0 => equal.push(*at),
            _ => {}
        }
    }
    Match::Equal(equal)
}

/// Notes a row with those of the rows wanted that it equals: one of them takes it unless rows that look the same come.
fn note_similar(
    wanted: &mut [Wanted],
    candidates: &[usize],
    equal: &[usize],
    tid: pg_sys::ItemPointerData,
) {
    // Another row that is wanted may take it.
    let enough: u64 = candidates.iter().map(|at| wanted[*at].left).sum();
    for at in equal {
        let similar = &mut wanted[*at].similar;
        if (similar.len() as u64) < enough {
            similar.push(tid);
        }
    }
}

/// Makes up for what is left by rows that are only equal, each once.
fn take_similar(wanted: &mut [Wanted], found: &mut Vec<pg_sys::ItemPointerData>) {
    let mut taken: HashSet<(u32, u16)> = HashSet::new();
    if wanted.iter().any(|w| !w.similar.is_empty()) {
        taken.extend(found.iter().map(place));
    }
    for w in wanted.iter_mut().filter(|w| w.left > 0) {
        for tid in std::mem::take(&mut w.similar) {
            if w.left > 0 && taken.insert(place(&tid)) {
                found.push(tid);
                w.left -= 1;
            }
        }
    }
}

/// Types whose values are equal if, and only if, their bytes are.
fn is_plain(of: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    const PLAIN: [pg_sys::Oid; 9] = [
        pg_sys::BOOLOID,
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::DATEOID,
        pg_sys::TIMESTAMPOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::UUIDOID,
        pg_sys::BYTEAOID,
    ];
    let text = [pg_sys::TEXTOID, pg_sys::VARCHAROID].contains(&of);
    // SAFETY: a catalogue look-up.
    PLAIN.contains(&of)
        || text
            && (collation == pg_sys::InvalidOid
                || unsafe { pg_sys::get_collation_isdeterministic(collation) })
}

/// A hash of a value's bytes.
unsafe fn hash_bytes(column: &Column, value: pg_sys::Datum) -> u64 {
    if column.by_value {
        let bits = 64 - 8 * column.length as u32;
        return fold::hash(&((value.value() as u64) << bits).to_ne_bytes());
    }
    let from = value.cast_mut_ptr::<u8>();
    // SAFETY: a value by reference of the column's length, which is fixed or -1 in plain types.
    unsafe {
        if column.length > 0 {
            return fold::hash(std::slice::from_raw_parts(from, column.length as usize));
        }
        let packed = pg_sys::pg_detoast_datum_packed(from.cast());
        let hash = fold::hash(bytes_of(packed));
        if packed.cast() != from {
            pg_sys::pfree(packed.cast());
        }
        hash
    }
}

fn place(tid: &pg_sys::ItemPointerData) -> (u32, u16) {
    let block = (u32::from(tid.ip_blkid.bi_hi) << 16) | u32::from(tid.ip_blkid.bi_lo);
    (block, tid.ip_posid)
}

unsafe fn values_of<'s>(
    slot: *mut pg_sys::TupleTableSlot,
    columns: usize,
) -> (&'s [pg_sys::Datum], &'s [bool]) {
    // SAFETY: a slot of so many columns, all of which are there; used before it changes.
    unsafe {
        (
            std::slice::from_raw_parts((*slot).tts_values, columns),
            std::slice::from_raw_parts((*slot).tts_isnull, columns),
        )
    }
}

/// A hash that is the same for equal rows.
unsafe fn hash(columns: &[Column], values: &[pg_sys::Datum], nulls: &[bool]) -> u64 {
    let mut out = 0u64;
    for (i, column) in columns.iter().enumerate() {
        if column.known.is_null() {
            continue;
        }
        // SAFETY: a value of the column's type and a function of the type's.
        let own = unsafe {
            let function = &raw mut (*column.known).hash_proc_finfo;
            match nulls[i] {
                true => 1,
                false if column.plain => hash_bytes(column, values[i]),
                false if (*function).fn_oid == pg_sys::InvalidOid => 2,
                false => {
                    let hash = pg_sys::FunctionCall1Coll(function, column.collation, values[i]);
                    hash.value() as u32 as u64 + 3
                }
            }
        };
        out = (out.rotate_left(5) ^ own).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    out
}

enum Alike {
    Same,
    Equal,
    Not,
}

unsafe fn alike(
    columns: &[Column],
    a: (&[pg_sys::Datum], &[bool]),
    b: (&[pg_sys::Datum], &[bool]),
) -> Alike {
    let mut same = true;
    for (i, column) in columns.iter().enumerate() {
        if column.known.is_null() || (a.1[i] && b.1[i]) {
            continue;
        }
        if a.1[i] != b.1[i] {
            return Alike::Not;
        }
        // SAFETY: values of the column's type, and its operator.
        unsafe {
            if looks_same(column, a.0[i], b.0[i]) {
                continue;
            }
            if column.plain {
                return Alike::Not;
            }
            same = false;
            let function = &raw mut (*column.known).eq_opr_finfo;
            let equal = (*function).fn_oid != pg_sys::InvalidOid
                && pg_sys::FunctionCall2Coll(function, column.collation, a.0[i], b.0[i]).value()
                    != 0;
            if !equal {
                return Alike::Not;
            }
        }
    }
    match same {
        true => Alike::Same,
        false => Alike::Equal,
    }
}

/// Whether two values are the same bytes.
unsafe fn looks_same(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    if column.by_value {
        let bits = 64 - 8 * column.length as u32;
        return (a.value() as u64) << bits == (b.value() as u64) << bits;
    }
    let (a, b) = (a.cast_mut_ptr::<u8>(), b.cast_mut_ptr::<u8>());
    // SAFETY: values by reference of this length: fixed, varlena (-1) or with a zero at the end (-2).
    unsafe {
        match column.length {
            -1 => {
                let (x, y) = (
                    pg_sys::pg_detoast_datum_packed(a.cast()),
                    pg_sys::pg_detoast_datum_packed(b.cast()),
                );
                let same = bytes_of(x) == bytes_of(y);
                for (value, from) in [(x, a), (y, b)] {
                    if value.cast() != from {
                        pg_sys::pfree(value.cast());
                    }
                }
                same
            }
            -2 => std::ffi::CStr::from_ptr(a.cast()) == std::ffi::CStr::from_ptr(b.cast()),
            n => {
                std::slice::from_raw_parts(a, n as usize)
                    == std::slice::from_raw_parts(b, n as usize)
            }
        }
    }
}

unsafe fn bytes_of<'v>(value: *mut pg_sys::varlena) -> &'v [u8] {
    // SAFETY: a value that is not toasted.
    unsafe {
        let data = pgrx::varlena::vardata_any(value).cast::<u8>();
        std::slice::from_raw_parts(data, pgrx::varlena::varsize_any_exhdr(value))
    }
}
