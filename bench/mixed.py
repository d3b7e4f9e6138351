#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small and bulk writes for some minutes, with compaction on: the number of segments and the time of a scan must stay
bounded; how much is written for how much that came in is reported.

    bench/mixed.py --seconds 600            with the variables that scripts/server.sh env prints
"""
import argparse
import random
import threading
import time

import psycopg

import report

SCAN = "SELECT count(*), sum(v), max(at) FROM stream"


def connect():
    return psycopg.connect(dbname="postgres", autocommit=True)


class Writer(threading.Thread):
    """Writes until it is told to stop; keeps what failed."""

    def __init__(self, write, pause):
        super().__init__(daemon=True)
        self.write, self.pause = write, pause
        self.rows, self.error, self.stopped = 0, None, threading.Event()

    def run(self):
        try:
            with connect() as connection:
                while not self.stopped.wait(self.pause):
                    self.rows += self.write(connection)
        except psycopg.Error as error:
            self.error = error


def small(connection):
    """A row, or an upsert of one that is there."""
    key = random.randrange(1, 2_000_000)
    connection.execute("INSERT INTO stream VALUES (%s, 1, now(), 'single')", [key])
    return 1


def bulk(connection):
    """A batch of 20,000 rows, half of them new."""
    first = random.randrange(1, 4_000_000)
    connection.execute("INSERT INTO stream SELECT x, x %% 100, now(), 'bulk ' || x FROM generate_series(%s::bigint, %s) x", [first, first + 19_999])
    return 20_000


def delete(connection):
    first = random.randrange(1, 4_000_000)
    return connection.execute("DELETE FROM stream WHERE k BETWEEN %s AND %s", [first, first + 2000]).rowcount


def scan(connection):
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        connection.execute(SCAN).fetchall()
        taken.append((time.perf_counter() - start) * 1000)
    return min(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--no-report", action="store_true", help="print only")
    args = parser.parse_args()
    connection = connect()
    value = lambda text: connection.execute(text).fetchone()[0]
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_doris")
    connection.execute("DROP TABLE IF EXISTS stream")
    connection.execute("CREATE TABLE stream (k bigint, v int, at timestamptz, note text) USING doris WITH (unique_key = 'k')")
    segments = lambda: value("SELECT count(*) FROM doris.segments_of('stream')")
    wal = value("SELECT pg_current_wal_insert_lsn()")
    writers = [Writer(small, 0.002), Writer(small, 0.002), Writer(bulk, 0.5), Writer(delete, 2)]
    for writer in writers:
        writer.start()
    seen, most = [], 0
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        time.sleep(min(10, max(0.1, end - time.monotonic())))
        most = max(most, segments())
        seen.append((most, segments(), scan(connection)))
    for writer in writers:
        writer.stopped.set()
    for writer in writers:
        writer.join()
        if writer.error:
            raise writer.error
    written = value(f"SELECT pg_current_wal_insert_lsn() - '{wal}'::pg_lsn")
    runs = connection.execute("SELECT kind, count(*), sum(output_rows), sum(output_bytes) FROM doris.compactions WHERE state = 'done' GROUP BY kind ORDER BY kind").fetchall()
    last = scan(connection)
    left = segments()
    connection.execute("CALL doris.compact('stream')")
    compacted = scan(connection)
    size = value("SELECT sum(bytes) FROM doris.segments_of('stream')")
    came = sum(writer.rows for writer in writers[:3])
    rows = [
        ("rows written by single and bulk statements", f"{came:,}"),
        ("rows deleted", f"{writers[3].rows:,}"),
        ("segments, most and last", f"{most} / {left}"),
        ("scan, slowest while writing, last, and of the compacted table", f"{max(s[2] for s in seen):.1f} / {last:.1f} / {compacted:.1f} ms"),
        ("WAL written", report.mebibytes(int(written))),
        ("segments of the compacted table", report.mebibytes(int(size))),
    ]
    rows += [(f"compactions of kind {kind} (of the last 128)", f"{count}, {int(out or 0):,} rows, {report.mebibytes(int(size or 0))}") for kind, count, out, size in runs]
    amplification = sum(int(out or 0) for _, _, out, _ in runs) / max(came, 1)
    rows.append(("rows written by compaction for each row that came", f"{amplification:.2f}"))
    connection.execute("DROP TABLE stream")
    if args.no_report:
        print(report.table(["what", "measured"], rows))
        return
    text = report.stamp(f"SECONDS_MIXED={args.seconds} make bench BENCH=mixed", "PostgreSQL " + value("SHOW server_version").split()[0], "bench/postgresql.conf") + "\n"
    text += "Two clients write single rows, one writes batches of 20,000, one deletes; compaction works with its defaults.\n\n"
    text += report.table(["what", "measured"], rows)
    report.write_section("mixed", "Mixed writes with compaction", text)


if __name__ == "__main__":
    main()
