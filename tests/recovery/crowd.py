# SPDX-License-Identifier: Apache-2.0
"""TPC-H's queries in many sessions at once, in little memory, beside sessions that sit idle in the middle of a cursor.

    tests/recovery/run.sh [--lines N] crowds_of_sessions_answer_tpch_right_in_bounded_memory

`--lines` is the number of rows of lineitem, 300,000 by default, as at scale factor 0.05; 6,000,000 are scale factor 1.
"""
import os
import re
import sys
import threading
import time
from pathlib import Path

import harness
from harness import Cluster, check, scenario, until
from sessions import in_threads, private_kb

sys.path.insert(0, str(Path(__file__).parents[1] / "queries"))
import native  # noqa: E402

WORKERS, HOLDERS, IDLE, EQUALS = 32, 50, 118, 8
LIMIT_MB = 192
SOME = "l_orderkey % 4 = 0"
# Cursors over what spills, and whether their order is total.
CURSORS = {
    "join": (False, f"SELECT l_orderkey, l_linenumber, o_custkey, o_totalprice, o_comment FROM lineitem JOIN orders ON o_orderkey = l_orderkey WHERE {SOME}"),
    "outer join": (False, f"SELECT o_orderkey, l_linenumber, o_totalprice FROM orders LEFT JOIN lineitem ON l_orderkey = o_orderkey AND {SOME} WHERE o_orderkey % 3 < 2"),
    "aggregation": (False, "SELECT l_orderkey, count(*), sum(l_quantity), count(DISTINCT l_suppkey), max(l_shipinstruct) FROM lineitem GROUP BY l_orderkey"),
    "window": (False, f"SELECT l_orderkey, l_linenumber, sum(l_quantity) OVER (PARTITION BY l_suppkey ORDER BY l_orderkey, l_linenumber) FROM lineitem WHERE {SOME}"),
    "sort": (True, f"SELECT l_shipinstruct, l_extendedprice, l_orderkey, l_linenumber FROM lineitem WHERE {SOME} ORDER BY l_shipinstruct, l_extendedprice, l_orderkey, l_linenumber"),
}


def start(directory, options):
    settings = [f"doris.max_memory = '{LIMIT_MB}MB'", "doris.max_threads = 4", "doris.work_mem = '4MB'", "shared_buffers = 128MB",
                "doris.compaction = off", "max_connections = 260"]
    cluster = Cluster(directory / "primary", options.port)
    cluster.init("\n".join([*settings, *options.set])).start()
    options.clusters.append(cluster)
    schema = (native.BENCH / "tpch/schema.sql").read_text().replace("USING :am", f"USING {options.am}")
    with cluster.session() as session:
        session.query("CREATE EXTENSION pg_doris")
        for statement in native.statements(native.MACROS.format(s="public") + schema + native.tpch(max(options.lines // 24_000, 1))):
            session.query(statement)
        session.query("ANALYZE")
    return cluster


def answer(session, query):
    return sorted(map(tuple, session.query(query)))


def threads(pid):
    """Processor ticks of each thread of a session but its own."""
    ticks = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        if task != str(pid):
            fields = Path(f"/proc/{pid}/task/{task}/stat").read_text().rpartition(")")[2].split()
            ticks[task] = int(fields[11]) + int(fields[12])
    return ticks


def temporary_files(cluster):
    return [path for path in (cluster.data / "base/pgsql_tmp").rglob("*") if path.is_file()]


class Holder:
    """A session that reads a cursor in pieces, and checks each row."""

    def __init__(self, session, name, expected):
        self.session, self.name, self.expected = session, name, expected
        self.seen = []
        session.query(f"SET doris.work_mem = '1MB'; SET doris.threads = 2; BEGIN; DECLARE c CURSOR FOR {CURSORS[name][1]}")

    def fetch(self, rows):
        found = list(map(tuple, self.session.query(f"FETCH {rows} FROM c")))
        if CURSORS[self.name][0]:
            at = len(self.seen)
            check(found == self.expected[at:at + len(found)], f"{self.name}: rows {at} and following differ")
        self.seen += found
        return len(found)

    def judge(self, whole):
        """Whether all rows so far are among the expected, none of them twice; `whole`: they are all there are."""
        rows = set(self.seen)
        check(len(rows) == len(self.seen), f"{self.name}: a row came twice")
        strange = rows - set(self.expected)
        check(not strange, f"{self.name}: {len(strange)} rows that are none, such as {next(iter(strange), None)}")
        check(not whole or len(rows) == len(self.expected), f"{self.name}: {len(rows)} rows, not {len(self.expected)}")


def spills(session, name):
    plan = "\n".join(row[0] for row in session.query(f"EXPLAIN (ANALYZE) {CURSORS[name][1]}"))
    return re.search(r"spilled=", plan) is not None


@scenario
def crowds_of_sessions_answer_tpch_right_in_bounded_memory(options, directory):
    """32 sessions run the 22 queries in orders of their own, 50 are idle in the middle of a cursor, 118 do nothing; before
    that, eight sessions that do the same end within twice of each other."""
    begun = time.monotonic()
    cluster = start(directory, options)
    queries = native.benchmark("tpch")[1]
    with cluster.session() as session:
        # Alone, on one thread and with plenty of memory.
        session.query("SET doris.threads = 1; SET doris.work_mem = '128MB'")
        expected = [answer(session, query) for query in queries]
        rows = {name: list(map(tuple, session.query(query))) for name, (_, query) in CURSORS.items()}
        session.query("SET doris.threads = 2; SET doris.work_mem = '1MB'")
        unspilled = [name for name in CURSORS if not spills(session, name)]
        check(options.am != "doris" or not unspilled, f"do not spill: {unspilled}")
    print(f"# {time.monotonic() - begun:.0f} s to prepare; {sum(map(bool, expected))} queries have rows", flush=True)
    everyone = [cluster.session() for _ in range(IDLE + HOLDERS + WORKERS)]
    idle, crowd, workers = everyone[:IDLE], everyone[IDLE:IDLE + HOLDERS], everyone[IDLE + HOLDERS:]
    pids = [int(session.value("SELECT pg_backend_pid()")) for session in everyone]
    over = threading.Event()
    try:
        equal_turns(workers[:EQUALS], queries, expected)
        # What a session keeps that has run all queries (code, catalogue, footers of segments, the allocator's) is not counted.
        keeps_kb = max(private_kb(pid) for pid in pids[-WORKERS:][:EQUALS])
        fresh_kb = private_kb(pids[0])
        holders = [Holder(session, list(CURSORS)[number % len(CURSORS)], rows[list(CURSORS)[number % len(CURSORS)]])
                   for number, session in enumerate(crowd)]
        in_threads(lambda number: holders[number].fetch(20), len(holders))
        most_kb = watch(pids, over)
        turns = time.monotonic()
        in_threads(lambda number: all_queries(workers[number], queries, expected, number), len(workers))
        turns = time.monotonic() - turns
        over.set()
        allowed_mb = LIMIT_MB + (fresh_kb * IDLE + keeps_kb * (WORKERS + HOLDERS)) // 1024
        print(f"# {len(workers) * len(queries)} queries in {turns:.0f} s; {most_kb[0] // 1024} MB at most, {allowed_mb} MB are allowed: "
              f"{keeps_kb // 1024} MB stay with a session that has worked, {fresh_kb // 1024} MB with another", flush=True)
        check(options.am != "doris" or most_kb[0] // 1024 <= allowed_mb, f"{most_kb[0] // 1024} MB, where {allowed_mb} MB are allowed")
        for number, holder in enumerate(holders):
            holder.fetch(500)
            whole = number < len(CURSORS)
            while whole and holder.fetch(20_000):
                pass
            holder.judge(whole)
        leave(cluster, everyone, holders, pids)
    finally:
        over.set()
        for session in everyone:
            session.process.kill()
    until(lambda: not temporary_files(cluster), "the end of temporary files of ended sessions")


def all_queries(session, queries, expected, number):
    session.query("SET doris.threads = 2")
    for turn in range(len(queries)):
        at = (number * 5 + turn) % len(queries)
        found = answer(session, queries[at])
        check(found == expected[at], f"query {at + 1}: {found[:3]} of {len(found)} instead of {expected[at][:3]} of {len(expected[at])}")


def equal_turns(sessions, queries, expected):
    """Sessions that do the same at the same time end within twice of each other."""
    took = [0.0] * len(sessions)

    def work(number):
        begun = time.monotonic()
        all_queries(sessions[number], queries, expected, 0)
        took[number] = time.monotonic() - begun

    in_threads(work, len(sessions))
    print("# seconds of equal sessions: " + ", ".join(f"{seconds:.1f}" for seconds in took), flush=True)
    check(max(took) <= 2 * min(took), f"equal sessions took from {min(took):.1f} to {max(took):.1f} seconds")


def watch(pids, over):
    """The largest sum of the sessions' own memory until `over`, in kB, in a list of one."""
    most_kb = [0]

    def look():
        while not over.is_set():
            most_kb[0] = max(most_kb[0], sum(map(private_kb, pids)))
            time.sleep(0.1)

    threading.Thread(target=look, daemon=True).start()
    return most_kb


def leave(cluster, everyone, holders, pids):
    """Cursors end in every way; nobody has a working thread, a temporary file or a pin afterwards."""
    check(temporary_files(cluster), "cursors over what was spilled have no temporary files")
    ways = ("CLOSE c", "COMMIT", "ROLLBACK", "SELECT 1 / 0")
    for number, holder in enumerate(holders):
        try:
            holder.session.query(ways[number % len(ways)])
        except harness.Refused as refused:
            check(refused.state == "22012", f"another error: {refused}")
    until(lambda: not temporary_files(cluster), "the end of temporary files of closed cursors")
    for holder in holders:
        # Outside of a transaction this is a warning.
        holder.session.query("ROLLBACK")
    # A session keeps the one worker that it has made, which sleeps and counts for nobody.
    before = {pid: threads(pid) for pid in pids}
    time.sleep(1)
    check(all(len(found) <= 1 for found in before.values()), "a session has more threads than it asked for")
    check({pid: threads(pid) for pid in pids} == before, "threads of idle sessions work")
    with cluster.session() as session:
        plan = session.query("SET doris.threads = 2; EXPLAIN (ANALYZE) SELECT l_orderkey, count(*) FROM lineitem GROUP BY l_orderkey")
        check("Engine used: 2 threads" in str(plan), f"threads are held: {plan}")
    pinned = "SELECT count(*) FROM pg_buffercache WHERE pinning_backends > 0"
    cluster.query("CREATE EXTENSION pg_buffercache")
    until(lambda: cluster.value(pinned) == "0", "the end of pins")
    check(all(session.value("SELECT count(*) FROM region") == "5" for session in everyone), "a session is of no more use")

