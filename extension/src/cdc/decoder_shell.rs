// SPDX-License-Identifier: Apache-2.0
//! The decoding process of a sync of this server: reads the WAL, decodes it with pgoutput, sends packets.
//!
//! Decoding in a process of the server needs no connection, so no password and no line in pg_hba.conf; in a process
//! of its own it runs beside the application of the changes and a large transaction never has to be held in memory.
//! (Decoding inside the apply worker was rejected: a transaction is replayed in one call, under a historic snapshot,
//! in which nothing can be written.)
use super::catalogue::{self, slot_name};
use super::channel::{Channel, SendResult};
use super::copier::NOT_DECODED;
use super::session::{caught, check_interrupts, start_worker, transaction, wait};
use super::shared_state;

use crate::pg::{self, attributes};
use doris_cdc::pace::Pace;
use doris_cdc::pgoutput::{self, Message, Relation};
use doris_cdc::streamed::{self, Piece};
use doris_cdc::{frame, Lsn};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::ffi::CString;

/// A packet of this size is sent without waiting for more.
pub(crate) const PACKET_BYTES_MIN: usize = 64 << 10;

/// How often to look for the rest of a record, which is on its way to the disk while others write.
const PARTIAL_RECORD_MS: i64 = 3;

/// Records of WAL that are decoded between two looks at what else there is to do.
const RECORDS_AT_ONCE: usize = 100;

extern "C-unwind" {
    fn wal_segment_open(
        state: *mut pg_sys::XLogReaderState,
        segment: pg_sys::XLogSegNo,
        timeline: *mut pg_sys::TimeLineID,
    );
    fn wal_segment_close(state: *mut pg_sys::XLogReaderState);
    fn LogicalDecodingProcessRecord(
        ctx: *mut pg_sys::LogicalDecodingContext,
        record: *mut pg_sys::XLogReaderState,
    );
}

/// What the callbacks work on. One decoding process has one.
pub(crate) struct Sender {
    channel: Channel,
    pub(crate) packet: Vec<u8>,
    progress: Lsn,
    /// What comes belongs to a block of a transaction that has not committed yet.
    in_block: bool,
}

impl Sender {
    pub(crate) fn flush(&mut self) {
        if self.packet.is_empty() {
            return;
        }
        if !self.channel.send(&self.packet) {
            // The receiver went away: there is nobody to report to.
            // SAFETY: the regular end of a process.
            unsafe { pg_sys::proc_exit(0) };
        }
        self.packet.clear();
    }

    /// Sends what is there if there is room. False if it has to be tried again before anything is added.
    pub(crate) fn try_flush(&mut self) -> bool {
        if self.packet.is_empty() {
            return true;
        }
        match self.channel.try_send(&self.packet) {
            SendResult::Sent => self.packet.clear(),
            SendResult::Full => return false,
            // SAFETY: the regular end of a process.
            SendResult::Closed => unsafe { pg_sys::proc_exit(0) },
        }
        true
    }

    /// Adds how far the WAL has been decoded, if that is news.
    pub(crate) fn note(&mut self, decoded: Lsn) {
        if decoded > self.progress {
            self.progress = decoded;
            frame::put_progress(&mut self.packet, decoded);
        }
    }

    /// Sends what is there, and how far the WAL has been decoded.
    fn flush_at(&mut self, decoded: Lsn) {
        self.note(decoded);
        self.flush();
    }
}

static mut SENDER: Option<Sender> = None;
static mut OWN_ORIGIN: pg_sys::RepOriginId = 0;

/// The sender, set before the first callback.
pub(crate) fn sender() -> &'static mut Sender {
    // SAFETY: a process with one thread; no two borrows overlap, as the callbacks do not call each other.
    unsafe {
        let slot = &raw mut SENDER;
        (*slot).as_mut().unwrap_or_else(|| error!("no channel"))
    }
}

/// The arguments of a decoding process, in the worker's extra text.
pub(crate) struct Arguments {
    pub(crate) db: u32,
    pub(crate) sync: i32,
    /// The process that applies; when it is gone, so is this one.
    pub(crate) worker: i32,
    pub(crate) channel: u32,
    pub(crate) from: Lsn,
    /// Values may come in binary form.
    pub(crate) binary: bool,
}

impl Arguments {
    /// As text.
    pub(crate) fn to_text(&self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.db, self.sync, self.worker, self.channel, self.from.0, self.binary
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Arguments {
            db: words.next()?.parse().ok()?,
            sync: words.next()?.parse().ok()?,
            worker: words.next()?.parse().ok()?,
            channel: words.next()?.parse().ok()?,
            from: Lsn(words.next()?.parse().ok()?),
            binary: words.next()?.parse().ok()?,
        })
    }
}

/// The decoding process.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_decoder_main(_argument: pg_sys::Datum) {
    serve(decode);
}

/// Runs `stream`, which sends what it finds, in a process that sends: until it fails, or nobody listens.
pub(crate) fn serve(stream: impl FnOnce(&Arguments)) {
    let text = pgrx::bgworkers::BackgroundWorker::get_extra();
    let Some(arguments) = Arguments::parse(text) else {
        error!("bad arguments \"{text}\"")
    };
    start_worker(Some(arguments.db));
    let sender = Sender {
        channel: Channel::open(arguments.channel),
        packet: Vec::new(),
        progress: Lsn(0),
        in_block: false,
    };
    // SAFETY: the only thread; nobody borrows it yet.
    unsafe { SENDER = Some(sender) };
    // SAFETY: reads this process's own pid.
    let pid = unsafe { pg_sys::MyProcPid };
    shared_state::update(arguments.db, arguments.sync, |e| e.decoder_pid = pid);
    // SAFETY: the function only writes shared memory.
    unsafe { pg_sys::before_shmem_exit(Some(release), pg_sys::Datum::from(arguments.sync)) };
    let result = caught(|| stream(&arguments));
    if let Err((message, _)) = result {
        // The applying process reports it; this one has nothing left to say.
        let sender = self::sender();
        super::session::abort();
        sender.packet.clear();
        frame::put_failure(&mut sender.packet, &message);
        sender.flush();
        // SAFETY: the regular end of a process.
        unsafe { pg_sys::proc_exit(0) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn release(_code: i32, sync: pg_sys::Datum) {
    // SAFETY: globals of this process.
    let (db, pid) = unsafe { (u32::from(pg_sys::MyDatabaseId), pg_sys::MyProcPid) };
    shared_state::write(|b| {
        let Some(at) = b.position(db, sync.value() as i32) else {
            return;
        };
        if b.entries[at].decoder_pid == pid {
            b.entries[at].decoder_pid = 0;
        }
    });
}

fn decode(arguments: &Arguments) {
    let ctx = start(arguments);
    let mut pace = Pace::default();
    let mut confirmed = 0;
    loop {
        check_interrupts();
        confirm(arguments, &mut confirmed);
        // SAFETY: the context and its reader live as long as the process.
        let (end, flushed) = unsafe {
            (
                (*(*ctx).reader).EndRecPtr,
                pg_sys::GetFlushRecPtr(std::ptr::null_mut()),
            )
        };
        if end >= flushed {
            sender().flush_at(Lsn(end));
            wait(pace.wait_ms().into());
            continue;
        }
        pace.found();
        decode_up_to(ctx, flushed);
    }
}

/// Decodes some of the records that begin before a position.
fn decode_up_to(ctx: *mut pg_sys::LogicalDecodingContext, end: u64) {
    for _ in 0..RECORDS_AT_ONCE {
        decode_record(ctx);
        if sender().packet.len() >= PACKET_BYTES_MIN {
            return sender().flush();
        }
        // SAFETY: the context and its reader live as long as the process.
        if unsafe { (*(*ctx).reader).EndRecPtr } >= end {
            return;
        }
    }
}

/// Acquires the slot and starts pgoutput on it.
fn start(arguments: &Arguments) -> *mut pg_sys::LogicalDecodingContext {
    let slot = CString::new(slot_name(arguments.db, arguments.sync)).unwrap_or_default();
    let sync = transaction(|| catalogue::sync(arguments.sync));
    let publication = sync.map_or_else(|| error!("the sync is gone"), |s| s.publication());
    let options = [
        ("proto_version", "2".to_owned()),
        ("streaming", "on".to_owned()),
        ("publication_names", super::source::quoted(&publication)),
        ("binary", arguments.binary.to_string()),
    ];
    // SAFETY: the calls a walsender makes at START_REPLICATION, in their order; the options and the context are
    // allocated in a context that lives as long as the process.
    unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"doris decoder".as_ptr());
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        pg_sys::StartTransactionCommand();
        OWN_ORIGIN = pg_sys::replorigin_by_name(slot.as_ptr(), true);
        pg_sys::CommitTransactionCommand();
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"doris decoder".as_ptr());
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        acquire_slot(&slot);
        let mut list = std::ptr::null_mut();
        for (name, value) in options {
            let name = CString::new(name).unwrap_or_default();
            let value = CString::new(value).unwrap_or_default();
            let text = pg_sys::makeString(pg_sys::pstrdup(value.as_ptr()));
            let element = pg_sys::makeDefElem(pg_sys::pstrdup(name.as_ptr()), text.cast(), -1);
            list = pg_sys::lappend(list, element.cast());
        }
        let mut routine = pg_sys::XLogReaderRoutine {
            page_read: Some(read_page),
            segment_open: Some(wal_segment_open),
            segment_close: Some(wal_segment_close),
        };
        let from = arguments.from.0;
        let ctx = pg_sys::CreateDecodingContext(
            from,
            list,
            false,
            &mut routine,
            Some(prepare_write),
            Some(write),
            Some(update_progress),
        );
        (*ctx).callbacks.filter_by_origin_cb = Some(is_own_change);
        let slot = pg_sys::MyReplicationSlot;
        sender().progress = Lsn((*slot).data.confirmed_flush.max(from));
        pg_sys::XLogBeginRead((*ctx).reader, (*slot).data.restart_lsn);
        // Where reading begins is where "decoded up to" begins, too.
        (*(*ctx).reader).EndRecPtr = (*slot).data.restart_lsn;
        ctx
    }
}

unsafe fn acquire_slot(name: &CString) {
    // SAFETY: a C string; the caller holds no slot.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        pg_sys::ReplicationSlotAcquire(name.as_ptr(), false);
        #[cfg(feature = "pg18")]
        pg_sys::ReplicationSlotAcquire(name.as_ptr(), false, true);
    }
}

fn decode_record(ctx: *mut pg_sys::LogicalDecodingContext) {
    // SAFETY: the context lives as long as the process; the reader stands on a record boundary.
    unsafe {
        let mut message = std::ptr::null_mut();
        let record = pg_sys::XLogReadRecord((*ctx).reader, &mut message);
        if !message.is_null() {
            let text = pg::text(message);
            error!("could not read WAL: {text}");
        }
        if !record.is_null() {
            crate::pg::raw::guarded(|| LogicalDecodingProcessRecord(ctx, (*ctx).reader));
        }
    }
}

/// Tells the slot what is durable in the mirrors, so that its WAL can go.
fn confirm(arguments: &Arguments, confirmed: &mut u64) {
    let Some(entry) = shared_state::get(arguments.db, arguments.sync) else {
        return;
    };
    // SAFETY: this process holds the slot.
    unsafe {
        if entry.worker_pid != arguments.worker {
            pg_sys::proc_exit(0);
        }
        if entry.flushed > *confirmed {
            *confirmed = entry.flushed;
            pg_sys::LogicalConfirmReceivedLocation(entry.flushed);
        }
    }
}

/// Reads a page of WAL; sends what is ready before it waits for more.
#[pg_guard]
unsafe extern "C-unwind" fn read_page(
    state: *mut pg_sys::XLogReaderState,
    page: pg_sys::XLogRecPtr,
    wanted: std::ffi::c_int,
    target: pg_sys::XLogRecPtr,
    buffer: *mut std::ffi::c_char,
) -> std::ffi::c_int {
    let end = page + wanted as u64;
    // SAFETY: reads shared memory; then the arguments are passed on as they came.
    unsafe {
        if end > pg_sys::GetFlushRecPtr(std::ptr::null_mut()) {
            sender().flush();
        }
        // PostgreSQL's own function would look each millisecond.
        while end > pg_sys::GetFlushRecPtr(std::ptr::null_mut()) {
            wait(PARTIAL_RECORD_MS);
        }
        pg_sys::read_local_xlog_page(state, page, wanted, target, buffer)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn prepare_write(
    ctx: *mut pg_sys::LogicalDecodingContext,
    _lsn: pg_sys::XLogRecPtr,
    _xid: pg_sys::TransactionId,
    _last: bool,
) {
    // SAFETY: the context's own buffer.
    unsafe { pg_sys::resetStringInfo((*ctx).out) };
}

#[pg_guard]
unsafe extern "C-unwind" fn write(
    ctx: *mut pg_sys::LogicalDecodingContext,
    _lsn: pg_sys::XLogRecPtr,
    _xid: pg_sys::TransactionId,
    _last: bool,
) {
    // SAFETY: the plugin has filled the context's buffer.
    let message = unsafe {
        std::slice::from_raw_parts((*(*ctx).out).data.cast::<u8>(), (*(*ctx).out).len as usize)
    };
    let sender = sender();
    match message.first() {
        Some(b'S') => sender.in_block = true,
        Some(b'E') => sender.in_block = false,
        _ => {}
    }
    match with_numbers(message, sender.in_block) {
        Some(described) => frame::put_data(&mut sender.packet, &described),
        None => frame::put_data(&mut sender.packet, message),
    }
    if sender.packet.len() >= PACKET_BYTES_MIN {
        sender.flush();
        check_interrupts();
    }
}

/// The description of a table with the numbers of its columns, which are those of the moment at which the change was
/// made; `None` for other messages.
fn with_numbers(message: &[u8], in_block: bool) -> Option<Vec<u8>> {
    message.first().filter(|kind| **kind == b'R')?;
    let plain = match streamed::piece(message, in_block) {
        Ok(Piece::Change { kind, rest, .. }) => [&[kind], rest].concat(),
        _ => message.to_vec(),
    };
    let Ok(Message::Relation(described)) = pgoutput::decode(&plain) else {
        return None;
    };
    // SAFETY: pgoutput has the table open, by the catalogue of that moment.
    let numbers = unsafe { numbers_of(&described)? };
    let mut bytes = message.to_vec();
    pgoutput::put_numbers(&mut bytes, &numbers);
    Some(bytes)
}

/// # Safety
/// Decoding has set up the snapshot of the change that is being sent.
unsafe fn numbers_of(described: &Relation) -> Option<Vec<i16>> {
    // SAFETY: the caller's promise; the relation is closed again.
    unsafe {
        let rel = pg_sys::RelationIdGetRelation(described.id.into());
        if rel.is_null() {
            return None;
        }
        let mut by_name = HashMap::new();
        for attribute in attributes::live(rel) {
            let name = pg::name_bytes(&attribute.attname).to_vec();
            by_name.insert(name, attribute.attnum);
        }
        pg_sys::RelationClose(rel);
        let columns = described.columns.iter();
        columns
            .map(|c| by_name.get(c.name.as_bytes()).copied())
            .collect()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn update_progress(
    _ctx: *mut pg_sys::LogicalDecodingContext,
    _lsn: pg_sys::XLogRecPtr,
    _xid: pg_sys::TransactionId,
    _skipped: bool,
) {
}

/// What this sync wrote itself is not decoded: its mirrors are in no publication of it.
#[pg_guard]
unsafe extern "C-unwind" fn is_own_change(
    _ctx: *mut pg_sys::LogicalDecodingContext,
    origin: pg_sys::RepOriginId,
) -> bool {
    // SAFETY: set once, before decoding starts.
    unsafe { (OWN_ORIGIN != 0 && origin == OWN_ORIGIN) || origin == NOT_DECODED }
}
