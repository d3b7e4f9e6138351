# SPDX-License-Identifier: Apache-2.0
"""Lag and catching up of a mirror, beside a native subscription into a heap with a primary key.

  PG_DORIS_BIN=... PG_DORIS_RECOVERY=... python3 cdc_bench.py [--am doris|heap] [--rows N] [--rate N] [--seconds N] [--native]

Lag is the time from the answer to a COMMIT to the first SELECT that sees it on the mirror, sampled while four clients
change `rate` rows a second. Catching up is the time a paused mirror needs for `rows` changed rows.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import AS_SERVER, Cluster, fresh  # noqa: E402

SCRIPT = """
\\set id random(1, 1000000)
BEGIN;
INSERT INTO bench VALUES (nextval('ids'), :id, 'new row', 1.5), (nextval('ids'), :id, 'new row', 2.5);
UPDATE bench SET v = v + 1, txt = 'changed' WHERE id IN (:id, :id % 1000 + 1);
DELETE FROM bench WHERE id = 100000 + :id % 900000;
COMMIT;
"""
TABLE = "CREATE TABLE bench (id int PRIMARY KEY, v int, txt text, price numeric(12,2))"


def changes(rows):
    """As many changed rows: a half inserted, a third updated, the rest deleted, in transactions of 50,000."""
    done = 0
    while done < rows:
        yield (f"INSERT INTO bench SELECT nextval('ids'), i, 'row ' || i, i / 100.0 FROM generate_series(1, 25000) i;"
               f" UPDATE bench SET v = v + 1, txt = 'upd' WHERE id IN (SELECT 1 + (i * 7 + {done}) % 1000000 FROM generate_series(1, 17000) i);"
               f" DELETE FROM bench WHERE id IN (SELECT id FROM bench WHERE id > 1000000 ORDER BY id LIMIT 8000)")
        done += 50_000


def client_load(cluster, rate, seconds):
    script = cluster.home / "load.sql"
    script.touch()
    script.chmod(0o644)
    # So that a slow disk does not keep the clients from reaching the rate.
    script.write_text("SET synchronous_commit = off;\n" + SCRIPT)
    # A transaction changes about five rows.
    return subprocess.Popen(AS_SERVER + [str(cluster.bin / "pgbench"), "-n", "-h", str(cluster.socket), "-p", str(cluster.port),
                                         "-U", "postgres", "-c", "4", "-T", str(seconds), "-R", str(rate // 5), "-f", str(script),
                                         "postgres"], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lags(cluster, target, database, seconds):
    out = []
    until = time.monotonic() + seconds
    with cluster.session() as writer, cluster.session(database) as reader:
        n = 0
        while time.monotonic() < until:
            n += 1
            writer.query(f"UPDATE beat SET n = {n}")
            start = time.monotonic()
            while int(reader.value(f"SELECT n FROM {target}")) < n:
                pass
            out.append((time.monotonic() - start) * 1000)
            time.sleep(0.02)
    return sorted(out)


def show(name, values):
    at = lambda q: values[min(len(values) - 1, int(len(values) * q))]
    print(f"{name}: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, max {values[-1]:.1f} ms, {len(values)} samples", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--am", default="doris")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--port", type=int, default=5466)
    o = parser.parse_args()
    cluster = Cluster(fresh("cdc-bench"), o.port)
    cluster.init("max_worker_processes = 16\nshared_buffers = 1GB\nmax_wal_size = 16GB\nautovacuum = off\nfsync = on\n").start()
    try:
        cluster.query("CREATE EXTENSION pg_doris; CREATE SEQUENCE ids START 1000001;" + TABLE +
                      "; CREATE TABLE beat (id int PRIMARY KEY, n int); INSERT INTO beat VALUES (1, 0)")
        cluster.query("INSERT INTO bench SELECT i, i, 'row ' || i, i / 100.0 FROM generate_series(1, 1000000) i")
        if o.native:
            cluster.query("CREATE DATABASE copy")
            cluster.query(TABLE + "; CREATE TABLE beat (id int PRIMARY KEY, n int)", "copy")
            cluster.query("CREATE PUBLICATION p FOR TABLE bench, beat")
            cluster.query("SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
            cluster.query(f"CREATE SUBSCRIPTION s CONNECTION 'host={cluster.socket} port={o.port} dbname=postgres user=postgres' "
                          "PUBLICATION p WITH (create_slot = false, slot_name = native)", "copy")
            while cluster.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'", "copy") != "0":
                time.sleep(0.2)
            target, database = "beat", "copy"
        else:
            start = time.monotonic()
            for table in ("bench", "beat"):
                cluster.query(f"SELECT doris.sync_table('{table}', options => '{{\"access_method\": \"{o.am}\"}}')")
            cluster.query("SELECT doris.wait_for_sync('main', timeout => '60 s')")
            print(f"copy of 1,000,000 rows: {time.monotonic() - start:.1f} s")
            target, database = "beat_mirror", "postgres"
        show("idle lag", lags(cluster, target, database, 3))
        load = client_load(cluster, o.rate, o.seconds)
        time.sleep(2)
        show(f"lag at {o.rate} rows/s", lags(cluster, target, database, o.seconds - 3))
        tps = [line for line in load.communicate()[0].splitlines() if line.startswith("tps")]
        print(f"clients: {tps}")
        catch_up(cluster, o)
    finally:
        cluster.stop("immediate")


def catch_up(cluster, o):
    if o.native:
        cluster.query("ALTER SUBSCRIPTION s DISABLE", "copy")
    else:
        cluster.query("SELECT doris.wait_for_sync('main')")
        cluster.query("SELECT doris.pause_sync('main')")
    time.sleep(1)
    with cluster.session() as session:
        for sql in changes(o.rows):
            session.query(f"BEGIN; {sql}; COMMIT")
    start = time.monotonic()
    if o.native:
        lsn = cluster.value("SELECT pg_current_wal_flush_lsn()")
        cluster.query("ALTER SUBSCRIPTION s ENABLE", "copy")
        while cluster.value(f"SELECT coalesce(confirmed_flush_lsn < '{lsn}', true) FROM pg_replication_slots") == "t":
            time.sleep(0.05)
    else:
        cluster.query("SELECT doris.resume_sync('main')")
        cluster.query("SELECT doris.wait_for_sync('main', timeout => '900 s')")
    seconds = time.monotonic() - start
    print(f"catching up with {o.rows} changed rows: {seconds:.1f} s, {o.rows / seconds:,.0f} rows/s", flush=True)


if __name__ == "__main__":
    main()
