// SPDX-License-Identifier: Apache-2.0
//! The receiving process of a sync of another server: what the decoding process is for this one. It reads the stream
//! of the slot over a replication connection, sends packets, and reports what is durable in the mirrors.
use super::catalogue::{self, Sync};
use super::decoder_shell::{sender, serve, Arguments, PACKET_BYTES_MIN};
use super::remote_shell::{wait_for_socket, Arrived, Connection};
use super::session::{check_interrupts, transaction};
use super::shared_state;
use super::source::quoted;
use doris_cdc::stream::{self, Sent};
use doris_cdc::{frame, Lsn};
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// Reports without news keep the connection alive.
const REPORT_SECONDS: u64 = 10;
/// What became durable is reported at most this often.
const REPORT_MS: u128 = 100;
/// While the applying process has no room for more, the source hears from us this often: it gives up on receivers
/// that are silent, and a large transaction would begin anew each time.
const BUSY_REPORT_MS: u128 = 1000;

/// The receiving process.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_receiver_main(_argument: pg_sys::Datum) {
    serve(receive);
}

fn receive(arguments: &Arguments) {
    let sync = transaction(|| catalogue::sync(arguments.sync));
    let sync = sync.unwrap_or_else(|| error!("the sync is gone"));
    let mut receiver = Receiver {
        connection: connect(arguments, &sync),
        received: Lsn(0),
        reported: (Lsn(0), Lsn(0)),
        reported_at: Instant::now(),
        heard_at: Instant::now(),
        asked: false,
    };
    loop {
        check_interrupts();
        receiver.take_all(arguments);
        let flushed = flushed(arguments);
        receiver.report(flushed, false);
        receiver.check_silence(flushed);
    }
}

/// What is durable in the mirrors. Ends this process if it has no worker any more.
fn flushed(arguments: &Arguments) -> Lsn {
    let entry = shared_state::get(arguments.db, arguments.sync).unwrap_or_default();
    if entry.worker_pid != arguments.worker {
        // SAFETY: the regular end of a process.
        unsafe { pg_sys::proc_exit(0) };
    }
    Lsn(entry.flushed)
}

fn connect(arguments: &Arguments, sync: &Sync) -> Connection {
    let conninfo = sync
        .connection
        .as_deref()
        .unwrap_or_else(|| error!("the sync has no connection"));
    let mut connection = Connection::open(conninfo, &format!("pg_doris {}", sync.name));
    connection.start_replication(&format!(
        "START_REPLICATION SLOT {} LOGICAL {} (proto_version '2', streaming 'on', publication_names {}, binary '{}')",
        quoted(&sync.slot()),
        arguments.from,
        // The protocol's own grammar has no escapes but doubled quotes.
        format_args!("'{}'", quoted(&sync.publication()).replace('\'', "''")),
        arguments.binary
    ));
    connection
}

struct Receiver {
    connection: Connection,
    /// All transactions that committed before this have arrived.
    received: Lsn,
    reported: (Lsn, Lsn),
    reported_at: Instant,
    heard_at: Instant,
    /// An answer has been asked for since anything was heard.
    asked: bool,
}

impl Receiver {
    /// Takes what has arrived, and waits a little if that is nothing.
    fn take_all(&mut self, arguments: &Arguments) {
        loop {
            match self.connection.receive() {
                Arrived::Bytes(bytes) => {
                    (self.heard_at, self.asked) = (Instant::now(), false);
                    match stream::sent(bytes).unwrap_or_else(|e| error!("{e}")) {
                        Sent::Data(message) => frame::put_data(&mut sender().packet, message),
                        Sent::Alive { end, answer } => {
                            self.received = self.received.max(end);
                            // Forces the next report.
                            if answer {
                                self.reported = (Lsn(u64::MAX), Lsn(u64::MAX));
                            }
                            sender().note(end);
                            return self.flush(arguments);
                        }
                    }
                    if sender().packet.len() >= PACKET_BYTES_MIN {
                        return self.flush(arguments);
                    }
                }
                Arrived::Nothing(socket) => {
                    self.flush(arguments);
                    wait_for_socket(socket, REPORT_MS as i64);
                    return;
                }
                Arrived::End => error!("the source ended the stream"),
            }
        }
    }

    /// Hands over what has arrived; waits while there is no room, and lets the source know that this is alive.
    fn flush(&mut self, arguments: &Arguments) {
        while !sender().try_flush() {
            let flushed = flushed(arguments);
            if self.reported_at.elapsed().as_millis() >= BUSY_REPORT_MS {
                self.tell(flushed, false);
            }
            wait_for_socket(pg_sys::PGINVALID_SOCKET, REPORT_MS as i64);
            (self.heard_at, self.asked) = (Instant::now(), false);
        }
    }

    /// Tells the source how far this is, if that is news or it asked.
    fn report(&mut self, flushed: Lsn, ask: bool) {
        // Whoever has it on disk has received it.
        let now = (self.received.max(flushed), flushed);
        let since = self.reported_at.elapsed();
        let asked_for = self.reported.0 == Lsn(u64::MAX);
        let news = now != self.reported && since.as_millis() >= REPORT_MS;
        if !(ask || asked_for || news || since.as_secs() >= REPORT_SECONDS) {
            return;
        }
        self.tell(flushed, ask);
    }

    fn tell(&mut self, flushed: Lsn, ask: bool) {
        let now = (self.received.max(flushed), flushed);
        self.connection
            .send(&stream::report(now.0, now.1, shared_state::now_us(), ask));
        (self.reported, self.reported_at) = (now, Instant::now());
    }

    /// A source that says nothing is asked, and given up when it does not answer.
    fn check_silence(&mut self, flushed: Lsn) {
        // SAFETY: a setting of the server.
        let limit = unsafe { pg_sys::wal_receiver_timeout };
        if limit <= 0 {
            return;
        }
        let (limit, silent) = (Duration::from_millis(limit as u64), self.heard_at.elapsed());
        if silent >= limit {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
                format!("nothing heard from the source for {} s", silent.as_secs())
            );
        }
        if silent >= limit / 2 && !self.asked {
            self.asked = true;
            self.report(flushed, true);
        }
    }
}
