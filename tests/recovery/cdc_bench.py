# SPDX-License-Identifier: Apache-2.0
"""What mirrors cost and how fast they are, beside a native subscription into a heap with a primary key.

  PG_DORIS_BIN=... PG_DORIS_RECOVERY=... python3 cdc_bench.py [lag] [backlog] [large] [copy] [overhead] [--native] ...

lag       from the answer to a COMMIT to the first SELECT that sees it, while four clients change `rate` rows a second
backlog   the time a paused mirror needs for `rows` changed rows
large     memory of the apply worker with one transaction of `large` changes
copy      the initial copy of lineitem from `csv`, against COPY out piped into COPY in
overhead  what the clients' transactions cost without a slot, with a slot that something reads, a native subscription and a
          mirror: transactions a second, processor time by kind of process, and latency at a rate below saturation
Each measurement is printed as a line `what|value`.
"""
import argparse
import os
import subprocess
import sys
import threading
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
# Rows that a transaction of SCRIPT changes, about.
ROWS_CHANGED = 5
KINDS = ("backends", "pgbench", "decoding", "applying", "compacting", "others")
FOLLOWERS = {"none": "no slot", "slot": "a slot that is read", "native": "a native subscription", "mirror": "a mirror"}
TABLE = "CREATE TABLE bench (id int PRIMARY KEY, v int, txt text, price numeric(12,2))"


def changes(rows):
    """As many changed rows: a half inserted, a third updated, the rest deleted, in transactions of 50,000."""
    done = 0
    while done < rows:
        yield (f"INSERT INTO bench SELECT nextval('ids'), i, 'row ' || i, i / 100.0 FROM generate_series(1, 25000) i;"
               f" UPDATE bench SET v = v + 1, txt = 'upd' WHERE id IN (SELECT 1 + (i * 7 + {done}) % 1000000 FROM generate_series(1, 17000) i);"
               f" DELETE FROM bench WHERE id IN (SELECT id FROM bench WHERE id > 1000000 ORDER BY id LIMIT 8000)")
        done += 50_000


def memory(pid):
    """Private and whole memory of a process in MB: the whole holds the pages of shared buffers it has touched."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0, 0
    of = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return of.get("RssAnon", 0), of.get("VmRSS", 0)


def processor_seconds(pid):
    """Processor time that a process has taken, all its threads, in user and system mode."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kind_of(backend_type, application):
    """What a process of the server does for the transactions of pgbench's clients."""
    if application == "pgbench":
        return "backends"
    if backend_type in ("walsender", "doris decoder"):
        return "decoding"
    if backend_type in ("logical replication worker", "doris sync"):
        return "applying"
    if backend_type == "doris compaction":
        return "compacting"
    return "others"


def client_load(cluster, rate, seconds, *options):
    script = cluster.home / "load.sql"
    script.touch()
    script.chmod(0o644)
    # So that a slow disk does not keep the clients from reaching the rate.
    script.write_text("SET synchronous_commit = off;\n" + SCRIPT)
    limit = ["-R", str(rate // ROWS_CHANGED)] if rate else []
    return subprocess.Popen(AS_SERVER + [str(cluster.bin / "pgbench"), "-n", "-h", str(cluster.socket), "-p", str(cluster.port),
                                         "-U", "postgres", "-c", "4", "-T", str(seconds), *limit, *options, "-f", str(script),
                                         "postgres"], cwd=str(cluster.home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def transactions(load):
    lines = [line for line in load.communicate()[0].splitlines() if line.startswith("tps")]
    return float(lines[0].split()[2])


def note(what, value):
    print(f"{what}|{value}", flush=True)


class Bench:
    """A server with a table to change and the mirrors, or the subscription, that follow it."""

    def __init__(self, o):
        self.o = o
        self.cluster = Cluster(fresh("cdc-bench"), o.port)
        self.cluster.init("max_worker_processes = 16\nshared_buffers = 1GB\nmax_wal_size = 16GB\nautovacuum = off\nfsync = on\n").start()
        self.who = "subscription" if o.native else "mirror" if o.model == "unique_key" else "mirror without a unique key"
        self.target, self.database = ("beat", "copy") if o.native else ("beat_mirror", "postgres")

    def fill(self):
        self.cluster.query("CREATE EXTENSION pg_doris; CREATE SEQUENCE ids START 1000001;" + TABLE +
                           "; CREATE TABLE beat (id int PRIMARY KEY, n int); INSERT INTO beat VALUES (1, 0)")
        self.cluster.query("INSERT INTO bench SELECT i, i, 'row ' || i, i / 100.0 FROM generate_series(1, 1000000) i")

    def follow(self):
        o, cluster = self.o, self.cluster
        if o.native:
            cluster.query("CREATE DATABASE copy")
            cluster.query(TABLE + "; CREATE TABLE beat (id int PRIMARY KEY, n int)", "copy")
            cluster.query("CREATE PUBLICATION p FOR TABLE bench, beat")
            cluster.query("SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
            cluster.query(f"CREATE SUBSCRIPTION s CONNECTION 'host={cluster.socket} port={o.port} dbname=postgres user=postgres' "
                          "PUBLICATION p WITH (create_slot = false, slot_name = native)", "copy")
            while cluster.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'", "copy") != "0":
                time.sleep(0.2)
            return
        model = ', "model": "none"' if o.model == "none" else ""
        for table in ("bench", "beat"):
            cluster.query(f"SELECT doris.sync_table('{table}', options => '{{\"access_method\": \"{o.am}\"{model}}}')")
        self.wait(120)

    def wait(self, seconds):
        self.cluster.query(f"SELECT doris.wait_for_sync('main', timeout => '{seconds} s')")

    def caught_up(self):
        if not self.o.native:
            return self.wait(900)
        lsn = self.cluster.value("SELECT pg_current_wal_flush_lsn()")
        while self.cluster.value(f"SELECT coalesce(confirmed_flush_lsn < '{lsn}', true) FROM pg_replication_slots") == "t":
            time.sleep(0.05)

    def lag(self):
        load = client_load(self.cluster, self.o.rate, self.o.seconds)
        time.sleep(2)
        values = self.lags(self.o.seconds - 3)
        at = lambda q: values[min(len(values) - 1, int(len(values) * q))]
        note(f"lag at {self.o.rate * transactions(load) / (self.o.rate / ROWS_CHANGED):,.0f} rows/s, {self.who}, p50", f"{at(0.5):.0f} ms")
        note(f"lag, {self.who}, p99 of {len(values)}", f"{at(0.99):.0f} ms")

    def lags(self, seconds):
        out = []
        until = time.monotonic() + seconds
        with self.cluster.session() as writer, self.cluster.session(self.database) as reader:
            n = 0
            while time.monotonic() < until:
                n += 1
                writer.query(f"UPDATE beat SET n = {n}")
                start = time.monotonic()
                while int(reader.value(f"SELECT n FROM {self.target}")) < n:
                    pass
                out.append((time.monotonic() - start) * 1000)
                time.sleep(0.02)
        return sorted(out)

    def backlog(self):
        if self.o.native:
            self.caught_up()
            self.cluster.query("ALTER SUBSCRIPTION s DISABLE", "copy")
        else:
            self.wait(120)
            self.cluster.query("SELECT doris.pause_sync('main')")
        time.sleep(1)
        with self.cluster.session() as session:
            for sql in changes(self.o.rows):
                session.query(f"BEGIN; {sql}; COMMIT")
        start = time.monotonic()
        if self.o.native:
            self.cluster.query("ALTER SUBSCRIPTION s ENABLE", "copy")
        else:
            self.cluster.query("SELECT doris.resume_sync('main')")
        self.caught_up()
        seconds = time.monotonic() - start
        note(f"backlog of {self.o.rows:,} changed rows, {self.who}", f"{self.o.rows / seconds:,.0f} rows/s")

    def large(self):
        """Half of the changes are inserts, a third updates, the rest deletes."""
        pid = self.cluster.value("SELECT worker_pid FROM doris.syncs")
        writer = threading.Thread(target=self.change)
        writer.start()
        most, start = (0, 0), None
        while start is None or self.behind() != 0:
            most = max(most, memory(pid))
            if start is None and not writer.is_alive():
                start = time.monotonic()
            time.sleep(0.05)
        note(f"one transaction of {self.o.large:,} changes, {self.who}, after its commit", f"{time.monotonic() - start:.1f} s")
        note(f"memory of its apply worker, {self.who}", f"{most[0]} MB ({most[1]} MB with shared buffers)")

    def behind(self):
        return int(self.cluster.value("SELECT coalesce(lag_bytes, -1)::bigint FROM doris.syncs"))

    def change(self):
        with self.cluster.session() as session:
            session.query("BEGIN; " + "; ".join(changes(self.o.large)) + "; COMMIT", timeout=900)

    def overhead(self):
        """What follows the table's changes is `o.follower`: nothing, a reader of a slot, a native subscription or a mirror."""
        reader = None
        if self.o.follower == "slot":
            reader = self.read_slot()
        elif self.o.follower != "none":
            self.follow()
        what = FOLLOWERS[self.o.follower]
        rate, taken, _ = self.measured_load(0)
        total = sum(taken.values())
        note(f"transactions of 4 clients, {what}", f"{rate:,.0f}/s")
        parts = ", ".join(f"{kind} {taken[kind]:.0f}" for kind in KINDS if taken[kind] >= 1)
        note(f"processor time a transaction, {what}", f"{total:.0f} µs ({parts})")
        _, taken, latencies = self.measured_load(self.o.transactions)
        at = lambda q: latencies[min(len(latencies) - 1, int(len(latencies) * q))] / 1000
        note(f"latency of a transaction at {self.o.transactions:,}/s, {what}, p50, p99",
             f"{at(0.5):.2f} ms, {at(0.99):.2f} ms (backends {taken['backends']:.0f} µs, all {sum(taken.values()):.0f} µs)")
        if reader:
            reader.terminate()
            reader.wait()

    def read_slot(self):
        self.cluster.query("SELECT pg_create_logical_replication_slot('plain', 'pgoutput'); CREATE PUBLICATION plain FOR TABLE bench")
        return subprocess.Popen(AS_SERVER + [str(self.cluster.bin / "pg_recvlogical"), "-h", str(self.cluster.socket), "-p", str(self.o.port),
                                             "-U", "postgres", "-d", "postgres", "-S", "plain", "--start", "-f", "/dev/null",
                                             "-o", "proto_version=1", "-o", "publication_names=plain"], cwd="/")

    def measured_load(self, transactions_per_second):
        """Transactions a second, microseconds of processor time that each took by kind of process, and sorted latencies
        in microseconds. The first and the last second do not count."""
        for old in self.cluster.home.glob("load-log.*"):
            old.unlink()
        rate = transactions_per_second * ROWS_CHANGED
        load = client_load(self.cluster, rate, self.o.seconds, "-l", "--log-prefix=load-log")
        time.sleep(1)
        begin, before = time.time(), self.processor_times(load)
        time.sleep(self.o.seconds - 2)
        end, after = time.time(), self.processor_times(load)
        load.communicate()
        latencies = []
        for log in self.cluster.home.glob("load-log.*"):
            for line in log.read_text().splitlines():
                fields = line.split()
                if begin <= int(fields[4]) + int(fields[5]) / 1e6 < end:
                    latencies.append(int(fields[2]))
        taken = {kind: (after[kind] - before[kind]) * 1e6 / max(len(latencies), 1) for kind in KINDS}
        return len(latencies) / (end - begin), taken, sorted(latencies)

    def processor_times(self, load):
        """Processor seconds by kind of process. A process that ends in between would be missing: none of these does."""
        sums = dict.fromkeys(KINDS, 0.0)
        for line in self.cluster.query("SELECT pid, backend_type, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()"):
            pid, backend_type, application = line
            sums[kind_of(backend_type, application)] += processor_seconds(pid)
        # pgbench runs below runuser.
        children = Path(f"/proc/{load.pid}/task/{load.pid}/children").read_text().split()
        sums["pgbench"] = sum(processor_seconds(pid) for pid in [load.pid, *children])
        return sums

    def copy(self):
        columns = """l_orderkey bigint NOT NULL, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer NOT NULL,
            l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1),
            l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10),
            l_comment varchar(44)"""
        key = "PRIMARY KEY (l_orderkey, l_linenumber)"
        psql = f"{self.cluster.bin}/psql -XAtq -h {self.cluster.socket} -p {self.o.port} -U postgres"
        self.cluster.query(f"CREATE EXTENSION pg_doris; CREATE TABLE lineitem ({columns}, {key}); "
                           f"CREATE TABLE piped ({columns}) USING doris; CREATE TABLE piped_key ({columns}, {key}) USING doris")
        subprocess.run(f"{psql} -c '\\copy lineitem FROM STDIN (FORMAT csv, HEADER)' < {self.o.csv}", shell=True, check=True)
        self.cluster.query("VACUUM ANALYZE lineitem; CHECKPOINT")
        rows = int(self.cluster.value("SELECT count(*) FROM lineitem"))
        for table, what in (("piped", "without a key"), ("piped_key", "with its primary key")):
            start = time.monotonic()
            subprocess.run(f"{psql} -c 'COPY lineitem TO STDOUT (FORMAT binary)' | {psql} -c '\\copy {table} FROM STDIN (FORMAT binary)'",
                           shell=True, check=True)
            note(f"lineitem, COPY out piped into COPY in, doris table {what}", f"{rows / (time.monotonic() - start):,.0f} rows/s")
        for model, what in (("none", "without a model, with its primary key"), ("unique_key", "with the unique key model")):
            start = time.monotonic()
            columns_first = ', "model": "none"' if model == "none" else ""
            target = f"lineitem_{model}"
            if model == "unique_key":
                self.cluster.query(f"CREATE TABLE {target} (l_orderkey bigint NOT NULL, l_linenumber integer NOT NULL, l_partkey integer, l_suppkey integer, "
                                   f"{columns.split('l_linenumber integer NOT NULL,')[1]}, {key}) USING doris WITH (unique_key = 'l_orderkey, l_linenumber')")
            self.cluster.query(f"SELECT doris.sync_table('lineitem', '{target}', options => '{{\"sync\": \"{model}\"{columns_first}}}')")
            self.cluster.query(f"SELECT doris.wait_for_sync('{model}', timeout => '600 s')")
            note(f"lineitem, initial copy into a mirror {what}", f"{rows / (time.monotonic() - start):,.0f} rows/s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["lag", "backlog"])
    parser.add_argument("--am", default="doris")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--follower", choices=[*FOLLOWERS, "all"], default="all")
    parser.add_argument("--transactions", type=int, default=1500)
    parser.add_argument("--large", type=int, default=3_000_000)
    parser.add_argument("--model", default="unique_key")
    parser.add_argument("--csv", default="")
    parser.add_argument("--port", type=int, default=5466)
    o = parser.parse_args()
    for what in o.what:
        all_of_them = what == "overhead" and o.follower == "all"
        for follower in FOLLOWERS if all_of_them else [o.follower]:
            measure(what, argparse.Namespace(**{**vars(o), "follower": follower, "native": o.native or follower == "native"}))


def measure(what, o):
    """One measurement on a cluster of its own."""
    bench = Bench(o)
    try:
        if what != "copy":
            bench.fill()
        if what not in ("copy", "overhead"):
            bench.follow()
        getattr(bench, what)()
    finally:
        bench.cluster.stop("immediate")


if __name__ == "__main__":
    main()
