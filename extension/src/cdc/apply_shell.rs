// SPDX-License-Identifier: Apache-2.0
//! Writes folded changes into a mirror: deletes, then updates, then inserts, through the table's access method and
//! its indexes, with the rights of the sync's owner.
//!
//! The key index is scanned with one scan for a whole pass and rows go in by the thousand; through SQL the same
//! would be parsed, planned and converted row by row.
use super::load_shell::Load;
use super::target::{Pending, Plan};
use crate::keys::bulk::{delete_keys, Batch};
use crate::keys::merge::Rule;
use crate::write::column::Column;
use doris_cdc::fold::{Change, Net};
use doris_cdc::pgoutput::{Tuple, Value};
use pgrx::prelude::*;
use std::ffi::CStr;

/// Rows inserted at a time, and after which the memory of converted values is given back.
pub(super) const ROWS_AT_ONCE: usize = 1000;

/// From here on it pays to look for all keys of a fold at once.
const DELETES_AT_ONCE: usize = 100;

extern "C-unwind" {
    fn ExecComputeStoredGenerated(
        rri: *mut pg_sys::ResultRelInfo,
        estate: *mut pg_sys::EState,
        slot: *mut pg_sys::TupleTableSlot,
        command: pg_sys::CmdType::Type,
    );
}

/// What a mirror looks like.
pub(crate) struct Shape {
    /// Ordinary columns by name.
    pub(crate) columns: Vec<(String, i16)>,
    /// The primary key's index and columns.
    pub(crate) key: Option<(pg_sys::Oid, Vec<i16>)>,
}

/// Looks at a mirror.
pub(crate) fn describe(target: u32) -> Result<Shape, String> {
    // SAFETY: a transaction is open; the relation is closed again, its lock kept until the end of the transaction.
    unsafe {
        let rel = pg_sys::try_table_open(target.into(), pg_sys::RowExclusiveLock as i32);
        if rel.is_null() {
            return Err("the mirror has been dropped".into());
        }
        let desc = (*rel).rd_att;
        let mut columns = Vec::new();
        for i in 0..(*desc).natts {
            let attribute = attribute(desc, i as usize);
            if !(*attribute).attisdropped && (*attribute).attgenerated == 0 {
                let name = CStr::from_ptr((*attribute).attname.data.as_ptr())
                    .to_string_lossy()
                    .into_owned();
                columns.push((name, i as i16 + 1));
            }
        }
        let index = crate::pg::compat::primary_key(rel);
        let mut key = None;
        if index != pg_sys::InvalidOid {
            let index_rel = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let form = (*index_rel).rd_index;
            let numbers = std::slice::from_raw_parts(
                (*form).indkey.values.as_ptr(),
                (*form).indnkeyatts as usize,
            );
            key = Some((index, numbers.to_vec()));
            pg_sys::index_close(index_rel, pg_sys::AccessShareLock as i32);
        }
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        Ok(Shape { columns, key })
    }
}

unsafe fn attribute(desc: pg_sys::TupleDesc, i: usize) -> pg_sys::Form_pg_attribute {
    // SAFETY: the caller stays below natts.
    #[cfg(not(feature = "pg18"))]
    unsafe {
        (*desc).attrs.as_mut_ptr().add(i)
    }
    // SAFETY: as above; since 18 the attributes follow the compact ones.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::TupleDescAttr(desc, i as i32)
    }
}

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
struct Converter {
    attribute: usize,
    typmod: i32,
    type_oid: pg_sys::Oid,
    receive: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
    input: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
}

/// A mirror open for writing.
pub(super) struct Opened {
    pub(super) rel: pg_sys::Relation,
    pub(super) estate: *mut pg_sys::EState,
    pub(super) rri: *mut pg_sys::ResultRelInfo,
    epq: pg_sys::EPQState,
    pub(super) new: *mut pg_sys::TupleTableSlot,
    old: *mut pg_sys::TupleTableSlot,
    /// Converted values live here until it is reset.
    values: pg_sys::MemoryContext,
    converters: Vec<Converter>,
    scratch: Vec<u8>,
    /// Rows that were not where they should have been.
    missing: u64,
}

/// Writes what is pending. Returns the number of rows to change that were not there.
pub(crate) fn write(target: u32, plan: &Plan) -> u64 {
    // SAFETY: a transaction is open; an error throws everything away with it.
    unsafe {
        let mut opened = Opened::open(target, &plan.attributes);
        match (&plan.pending, &plan.key) {
            (Pending::Keyed(fold), Some((index, positions))) => {
                let upserts = opened.upserts();
                let mut work = Work::default();
                fold.net().for_each(|n| work.count(&n, upserts));
                if upserts && work.deletes >= DELETES_AT_ONCE && !opened.has_triggers() {
                    opened.pass(|o| o.delete_keys(fold.net(), *index, positions));
                } else if work.deletes > 0 {
                    opened.pass(|o| o.change_found(fold.net(), *index, positions, true));
                }
                if work.updates > 0 {
                    let updates = fold.net().filter(|n| !is_upsert(n, upserts));
                    opened.pass(|o| o.change_found(updates, *index, positions, false));
                }
                if work.inserts > 0 {
                    let rows = fold.net().filter_map(|n| match n {
                        Net::Insert(row) => Some(row),
                        Net::Update { row, .. } if is_upsert(&n, upserts) => Some(row),
                        _ => None,
                    });
                    opened.pass(|o| o.insert_all(rows));
                }
            }
            (Pending::Logged(log), _) => {
                let changes: Vec<Change<'_>> = log.changes().collect();
                let is_insert = |c: &Change<'_>| matches!(c, Change::Insert(_));
                for run in changes.chunk_by(|a, b| is_insert(a) && is_insert(b)) {
                    if is_insert(&run[0]) {
                        let rows = run.iter().filter_map(|c| {
                            if let Change::Insert(row) = c {
                                Some(*row)
                            } else {
                                None
                            }
                        });
                        opened.pass(|o| o.insert_all(rows));
                    } else {
                        // A row cannot be locked in the command that wrote it: one command for each.
                        opened.pass(|o| o.replay(run[0]));
                    }
                }
            }
            (Pending::Keyed(_), None) => error!("folded changes without a key"),
        }
        let missing = opened.missing;
        opened.close();
        missing
    }
}

/// What a fold asks for.
#[derive(Default)]
struct Work {
    deletes: usize,
    updates: usize,
    inserts: usize,
}

impl Work {
    fn count(&mut self, net: &Net<'_>, upserts: bool) {
        match net {
            Net::Delete { .. } => self.deletes += 1,
            Net::Update { .. } if !is_upsert(net, upserts) => self.updates += 1,
            Net::Update { .. } | Net::Insert(_) => self.inserts += 1,
        }
    }
}

/// Whether an update is as good as an insert: the mirror replaces rows by key, and the new row is there as a whole.
fn is_upsert(net: &Net<'_>, upserts: bool) -> bool {
    upserts && matches!(net, Net::Update { row, .. } if !row.has_unchanged())
}

/// Empties a mirror.
pub(crate) fn truncate(name: &str) {
    super::session::execute(&format!("TRUNCATE ONLY {name}"), &[]);
}

impl Opened {
    pub(super) unsafe fn open(target: u32, attributes: &[i16]) -> Self {
        // SAFETY: the steps of the executor's start for one result relation; the caller has a transaction open.
        unsafe {
            let rel = pg_sys::table_open(target.into(), pg_sys::RowExclusiveLock as i32);
            check_rights(rel);
            let estate = pg_sys::CreateExecutorState();
            let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            init_range_table(estate, rel);
            let rri =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*rri).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(rri, rel, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(rri, false);
            let mut epq: pg_sys::EPQState = std::mem::zeroed();
            init_epq(&mut epq, estate);
            let values = pg_sys::AllocSetContextCreateInternal(
                (*estate).es_query_cxt,
                c"doris mirror values".as_ptr(),
                0,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let converters = attributes
                .iter()
                .map(|a| Converter::new((*rel).rd_att, *a))
                .collect();
            let tables = &raw mut (*estate).es_tupleTable;
            let (new, old) = (
                pg_sys::table_slot_create(rel, tables),
                pg_sys::table_slot_create(rel, tables),
            );
            pg_sys::MemoryContextSwitchTo(before);
            Opened {
                rel,
                estate,
                rri,
                epq,
                new,
                old,
                values,
                converters,
                scratch: Vec::new(),
                missing: 0,
            }
        }
    }

    pub(super) unsafe fn close(mut self) {
        // SAFETY: closes what `open` opened; the lock stays until the end of the transaction.
        unsafe {
            pg_sys::EvalPlanQualEnd(&mut self.epq);
            pg_sys::ExecCloseIndices(self.rri);
            pg_sys::ExecResetTupleTable((*self.estate).es_tupleTable, false);
            pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    /// Whether an insert replaces the row of its key.
    fn upserts(&self) -> bool {
        // SAFETY: plain call.
        let cid = unsafe { pg_sys::GetCurrentCommandId(false) };
        if Rule::of(self.rel, cid).is_some_and(|rule| !rule.replaces()) {
            error!("a mirror cannot have a model that does more than replace the row of a key");
        }
        crate::keys::model::of(self.rel).is_some()
    }

    /// Runs one pass as a command of its own, which sees the passes before.
    pub(super) unsafe fn pass(&mut self, f: impl FnOnce(&mut Self)) {
        // SAFETY: the frame PostgreSQL puts around every command that writes.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            pg_sys::UpdateActiveSnapshotCommandId();
            pg_sys::AfterTriggerBeginQuery();
            (*self.estate).es_snapshot = pg_sys::GetActiveSnapshot();
            (*self.estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            let before = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            f(self);
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::AfterTriggerEndQuery(self.estate);
            (*self.estate).es_snapshot = std::ptr::null_mut();
            pg_sys::PopActiveSnapshot();
            pg_sys::CommandCounterIncrement();
        }
    }

    unsafe fn has_triggers(&self) -> bool {
        // SAFETY: the executor's description of the relation.
        unsafe { !(*self.rri).ri_TrigDesc.is_null() }
    }

    /// Deletes the rows of all keys at once, from a mirror that has one row a key.
    unsafe fn delete_keys<'a>(
        &mut self,
        net: impl Iterator<Item = Net<'a>>,
        index: pg_sys::Oid,
        positions: &[usize],
    ) {
        let Some(model) = crate::keys::model::of(self.rel) else {
            error!("the mirror has no unique key");
        };
        // SAFETY: the index is the relation's; values of the key columns live until they have been pushed.
        unsafe {
            let index = Lookup::open(self.rel, index);
            let places = model.columns.iter().map(|c| {
                let at = index
                    .attributes
                    .iter()
                    .position(|a| *a as u16 == c.attr.number);
                at.map_or_else(
                    || error!("the mirror's key is not its model's"),
                    |at| positions[at],
                )
            });
            let places: Vec<usize> = places.collect();
            index.close();
            let converters: Vec<usize> = model
                .columns
                .iter()
                .map(|c| {
                    let wanted = usize::from(c.attr.number) - 1;
                    let found = self.converters.iter().position(|c| c.attribute == wanted);
                    found.unwrap_or_else(|| error!("the stream lacks a column of the key"))
                })
                .collect();
            let mut columns: Vec<Column> = model
                .columns
                .iter()
                .map(|c| Column::new(c.attr.kind))
                .collect();
            let mut keys = 0;
            for change in net {
                let Net::Delete { key } = change else {
                    continue;
                };
                for (i, column) in columns.iter_mut().enumerate() {
                    let value = key.values().nth(places[i]).unwrap_or(Value::Null);
                    let datum = self.convert(converters[i], value);
                    column.push(datum.unwrap_or(pg_sys::Datum::null()), datum.is_none());
                }
                keys += 1;
                if keys % ROWS_AT_ONCE == 0 {
                    self.reset_values();
                }
            }
            self.reset_values();
            let columns = columns
                .into_iter()
                .map(|c| (c.kind(), c.finish()))
                .collect();
            let batch = Batch::fold(&model, columns, true, None);
            let deleted = delete_keys(self.rel, &model, &batch, (*self.estate).es_output_cid);
            self.missing += keys.saturating_sub(deleted) as u64;
        }
    }

    /// Deletes, or updates, the rows of their keys.
    unsafe fn change_found<'a>(
        &mut self,
        net: impl Iterator<Item = Net<'a>>,
        index: pg_sys::Oid,
        positions: &[usize],
        deletes: bool,
    ) {
        // SAFETY: one index scan under the active snapshot, closed before the pass ends.
        unsafe {
            let mut lookup = Lookup::open(self.rel, index);
            let mut since_reset = 0;
            for change in net {
                let (key, row) = match change {
                    Net::Delete { key } if deletes => (key, None),
                    Net::Update { key, row } if !deletes => (key, Some(row)),
                    _ => continue,
                };
                self.fill_keys(&mut lookup, key, positions);
                if lookup.find(self.old) {
                    match row {
                        None => pg_sys::ExecSimpleRelationDelete(
                            self.rri,
                            self.estate,
                            &mut self.epq,
                            self.old,
                        ),
                        Some(row) => {
                            self.fill(self.new, row, true);
                            pg_sys::ExecSimpleRelationUpdate(
                                self.rri,
                                self.estate,
                                &mut self.epq,
                                self.old,
                                self.new,
                            );
                        }
                    }
                } else {
                    self.missing += 1;
                    if let Some(row) = row {
                        self.fill(self.new, row, false);
                        pg_sys::ExecSimpleRelationInsert(self.rri, self.estate, self.new);
                    }
                }
                pg_sys::ExecClearTuple(self.old);
                pg_sys::ExecClearTuple(self.new);
                since_reset += 1;
                if since_reset == ROWS_AT_ONCE {
                    since_reset = 0;
                    self.reset_values();
                }
            }
            lookup.close();
            self.reset_values();
        }
    }

    unsafe fn fill_keys(&mut self, lookup: &mut Lookup, key: Tuple<'_>, positions: &[usize]) {
        for (at, position) in positions.iter().enumerate() {
            let value = key.values().nth(*position).unwrap_or(Value::Null);
            let wanted = lookup.attributes[at] as usize - 1;
            let column = self.converters.iter().position(|c| c.attribute == wanted);
            // SAFETY: a key column is a column of the stream.
            lookup.keys[at].sk_argument = unsafe { self.convert(column.unwrap_or(0), value) }
                .unwrap_or(pg_sys::Datum::null());
        }
    }

    /// Inserts rows.
    unsafe fn insert_all<'a>(&mut self, rows: impl Iterator<Item = Tuple<'a>>) {
        let mut load = Load::new(self, &|_| ());
        rows.for_each(|row| load.push(row));
        load.finish();
    }

    /// Generated columns and constraints of a row about to be inserted.
    pub(super) unsafe fn complete(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the slot is filled.
        unsafe {
            let constraints = (*(*self.rel).rd_att).constr;
            if constraints.is_null() {
                return;
            }
            if (*constraints).has_generated_stored {
                let (rri, estate) = (self.rri, self.estate);
                let command = pg_sys::CmdType::CMD_INSERT;
                crate::pg::raw::guarded(|| ExecComputeStoredGenerated(rri, estate, slot, command));
            }
            pg_sys::ExecConstraints(self.rri, slot, self.estate);
        }
    }

    pub(super) unsafe fn insert_slots(
        &mut self,
        slots: &mut [*mut pg_sys::TupleTableSlot],
        bulk: *mut pg_sys::BulkInsertStateData,
    ) {
        if slots.is_empty() {
            return;
        }
        // SAFETY: the slots are filled with values that live in `values`.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            let command = (*self.estate).es_output_cid;
            pg_sys::table_multi_insert(
                self.rel,
                slots.as_mut_ptr(),
                slots.len() as i32,
                command,
                0,
                bulk,
            );
            pg_sys::MemoryContextSwitchTo(before);
            for slot in slots.iter() {
                if (*self.rri).ri_NumIndices > 0 {
                    let list = insert_index_entries(self.rri, *slot, self.estate);
                    pg_sys::list_free(list);
                }
                pg_sys::ExecClearTuple(*slot);
            }
            self.reset_values();
        }
    }

    /// Carries out an update or delete of a table without a key: of one row that equals the old one.
    unsafe fn replay(&mut self, change: Change<'_>) {
        let (old, new) = match change {
            Change::Update { old, new } => (old, Some(new)),
            Change::Delete { old } => (old, None),
            Change::Insert(_) => return,
        };
        // SAFETY: the slots belong to the executor state.
        unsafe {
            self.fill(self.new, old, false);
            let lock = pg_sys::LockTupleMode::LockTupleExclusive;
            if !pg_sys::RelationFindReplTupleSeq(self.rel, lock, self.new, self.old) {
                self.missing += 1;
                return;
            }
            match new {
                Some(new) => {
                    self.fill(self.new, new, true);
                    pg_sys::ExecSimpleRelationUpdate(
                        self.rri,
                        self.estate,
                        &mut self.epq,
                        self.old,
                        self.new,
                    );
                }
                None => {
                    pg_sys::ExecSimpleRelationDelete(self.rri, self.estate, &mut self.epq, self.old)
                }
            }
            pg_sys::ExecClearTuple(self.old);
            pg_sys::ExecClearTuple(self.new);
            self.reset_values();
        }
    }

    /// Fills a slot with a row; what the row leaves out comes from `self.old` or is null.
    pub(super) unsafe fn fill(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        row: Tuple<'_>,
        over_old: bool,
    ) {
        // SAFETY: both slots have the relation's descriptor, so `natts` values each.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let natts = (*(*self.rel).rd_att).natts as usize;
            let values = std::slice::from_raw_parts_mut((*slot).tts_values, natts);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            if over_old {
                pg_sys::slot_getallattrs(self.old);
                values.copy_from_slice(std::slice::from_raw_parts((*self.old).tts_values, natts));
                nulls.copy_from_slice(std::slice::from_raw_parts((*self.old).tts_isnull, natts));
            } else {
                nulls.fill(true);
            }
            for (at, value) in row.values().enumerate() {
                if value == Value::Unchanged {
                    if !over_old {
                        error!("a large value that did not change is missing in the mirror");
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
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            nulls.fill(true);
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            for (at, converter) in self.converters.iter().enumerate() {
                if *(*from).tts_isnull.add(at) {
                    continue;
                }
                let form = attribute(desc, converter.attribute);
                let value = *(*from).tts_values.add(at);
                nulls[converter.attribute] = false;
                *(*slot).tts_values.add(converter.attribute) = if (*form).attbyval {
                    value
                } else {
                    copied(value, (*form).attlen)
                };
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::ExecStoreVirtualTuple(slot);
        }
    }

    /// A value as the type's input functions see it; `None` is null.
    unsafe fn convert(&mut self, at: usize, value: Value<'_>) -> Option<pg_sys::Datum> {
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
    unsafe fn new(desc: pg_sys::TupleDesc, number: i16) -> Self {
        // SAFETY: the number is one of the relation's attributes.
        unsafe {
            let form = attribute(desc, number as usize - 1);
            Converter {
                attribute: number as usize - 1,
                typmod: (*form).atttypmod,
                type_oid: (*form).atttypid,
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

/// Finds rows by key through one index scan.
struct Lookup {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    keys: Vec<pg_sys::ScanKeyData>,
    attributes: Vec<i16>,
}

impl Lookup {
    unsafe fn open(rel: pg_sys::Relation, index: pg_sys::Oid) -> Self {
        // SAFETY: the index is one of the relation's, a B-tree of a primary key: each column has an equality operator.
        unsafe {
            let index = pg_sys::index_open(index, pg_sys::RowExclusiveLock as i32);
            let form = (*index).rd_index;
            let count = (*form).indnkeyatts as usize;
            let attributes =
                std::slice::from_raw_parts((*form).indkey.values.as_ptr(), count).to_vec();
            let mut keys = Vec::with_capacity(count);
            for i in 0..count {
                let (family, input) = (*(*index).rd_opfamily.add(i), *(*index).rd_opcintype.add(i));
                let strategy = pg_sys::BTEqualStrategyNumber as i16;
                let operator = pg_sys::get_opfamily_member(family, input, input, strategy);
                let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
                pg_sys::ScanKeyEntryInitialize(
                    &mut key,
                    0,
                    i as i16 + 1,
                    strategy as u16,
                    input,
                    *(*index).rd_indcollation.add(i),
                    pg_sys::get_opcode(operator),
                    pg_sys::Datum::from(0usize),
                );
                keys.push(key);
            }
            let scan = begin_scan(rel, index, count);
            Lookup {
                index,
                scan,
                keys,
                attributes,
            }
        }
    }

    /// Finds the row of the keys set.
    unsafe fn find(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the scan is open, its keys have their values.
        unsafe {
            let count = self.keys.len() as i32;
            pg_sys::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                count,
                std::ptr::null_mut(),
                0,
            );
            pg_sys::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
        }
    }

    unsafe fn close(self) {
        // SAFETY: closes what `open` opened.
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}

/// The rights an ordinary statement would need; row security would filter silently, so it is refused.
unsafe fn check_rights(rel: pg_sys::Relation) {
    // SAFETY: the relation is open.
    unsafe {
        let (oid, user) = ((*rel).rd_id, pg_sys::GetUserId());
        let name = CStr::from_ptr((*(*rel).rd_rel).relname.data.as_ptr()).to_string_lossy();
        for right in [
            pg_sys::ACL_INSERT,
            pg_sys::ACL_UPDATE,
            pg_sys::ACL_DELETE,
            pg_sys::ACL_SELECT,
        ] {
            if pg_sys::pg_class_aclcheck(oid, user, right as pg_sys::AclMode)
                != pg_sys::AclResult::ACLCHECK_OK
            {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                    format!("the sync's owner lacks rights on mirror \"{name}\"")
                );
            }
        }
        let enabled = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
        if pg_sys::check_enable_rls(oid, pg_sys::InvalidOid, false) == enabled {
            error!("mirror \"{name}\" has row security that applies to the sync's owner");
        }
    }
}

unsafe fn init_range_table(estate: *mut pg_sys::EState, rel: pg_sys::Relation) {
    // SAFETY: nodes in the executor state's memory.
    unsafe {
        let rte =
            pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast::<pg_sys::RangeTblEntry>();
        (*rte).type_ = pg_sys::NodeTag::T_RangeTblEntry;
        (*rte).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*rte).relid = (*rel).rd_id;
        (*rte).relkind = (*(*rel).rd_rel).relkind;
        (*rte).rellockmode = pg_sys::AccessShareLock as i32;
        let list = pg_sys::lappend(std::ptr::null_mut(), rte.cast());
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(estate, list);
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            let mut permissions = std::ptr::null_mut();
            pg_sys::addRTEPermissionInfo(&mut permissions, rte);
            #[cfg(not(feature = "pg18"))]
            pg_sys::ExecInitRangeTable(estate, list, permissions);
            #[cfg(feature = "pg18")]
            pg_sys::ExecInitRangeTable(estate, list, permissions, pg_sys::bms_make_singleton(1));
        }
    }
}

unsafe fn init_epq(epq: &mut pg_sys::EPQState, estate: *mut pg_sys::EState) {
    let (plan, marks) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: no plan: rows are never rechecked.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::EvalPlanQualInit(epq, estate, plan, marks, -1);
        #[cfg(not(feature = "pg15"))]
        pg_sys::EvalPlanQualInit(epq, estate, plan, marks, -1, std::ptr::null_mut());
    }
}

unsafe fn begin_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    keys: usize,
) -> pg_sys::IndexScanDesc {
    // SAFETY: both relations are open, a snapshot is active.
    unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(rel, index, snapshot, keys as i32, 0);
        #[cfg(feature = "pg18")]
        let scan =
            pg_sys::index_beginscan(rel, index, snapshot, std::ptr::null_mut(), keys as i32, 0);
        scan
    }
}

unsafe fn insert_index_entries(
    rri: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
) -> *mut pg_sys::List {
    let (conflict, arbiters) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the slot holds a row just inserted into the relation.
    unsafe {
        #[cfg(feature = "pg15")]
        let list =
            pg_sys::ExecInsertIndexTuples(rri, slot, estate, false, false, conflict, arbiters);
        #[cfg(not(feature = "pg15"))]
        let list = pg_sys::ExecInsertIndexTuples(
            rri, slot, estate, false, false, conflict, arbiters, false,
        );
        list
    }
}
