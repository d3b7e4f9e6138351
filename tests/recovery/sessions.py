# SPDX-License-Identifier: Apache-2.0
"""Many sessions at once, as scenarios of the recovery suite: what they share, what an ended one gives back, and that
answers stay right.
"""
import re
import threading
import time
from pathlib import Path

from harness import Cluster, Refused, ServerLost, check, scenario, until

ROWS = 200_000
QUERIES = [
    "SELECT count(*), sum(v), min(s), max(id) FROM t",
    "SELECT k, count(*), sum(v), count(DISTINCT s) FROM t GROUP BY k ORDER BY k LIMIT 20",
    "SELECT count(*), sum(a.v - b.v) FROM t a JOIN t b ON a.id = b.other WHERE b.k < 300",
    "SELECT md5(string_agg(id::text, ',')) FROM (SELECT id FROM t ORDER BY s, v DESC, id LIMIT 3000 OFFSET 100000) x",
    "SELECT max(r), sum(r) FROM (SELECT rank() OVER (PARTITION BY k ORDER BY v, id) AS r FROM t) x",
    "SELECT count(*) FROM (SELECT id, s FROM t EXCEPT SELECT other, s FROM t) x",
]
CURSOR = "DECLARE c CURSOR FOR SELECT s, v, id FROM t ORDER BY s, v, id"


def start(directory, options, settings):
    cluster = Cluster(directory / "primary", options.port)
    cluster.init("\n".join(["max_connections = 260", settings, *options.set])).start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    cluster.query(f"CREATE TABLE t USING {options.am} AS SELECT g AS id, g % 1000 AS k, (g * 7919::bigint) % 100003 AS v, "
                  f"(g * 31) % {ROWS} AS other, 's' || g % 50021 AS s FROM generate_series(1, {ROWS}) g")
    cluster.query("ANALYZE t")
    return cluster


def in_threads(work, count):
    """Runs `work(number)` in as many threads; raises the first error."""
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def private_kb(pid):
    """Memory of a process that it shares with nobody; 0 when it is gone."""
    try:
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    except (FileNotFoundError, TypeError):
        return 0


def threads_used(cluster, options):
    """Threads that a query gets now."""
    with cluster.session() as session:
        session.query("SET doris.threads = 2")
        plan = "\n".join(row[0] for row in session.query(f"EXPLAIN (ANALYZE) {QUERIES[1]}"))
    found = re.search(r"Engine used: (\d+) threads", plan)
    check(found or options.am != "doris", f"no threads in the plan:\n{plan}")
    return int(found[1]) if found else 2


@scenario
def many_sessions_share_threads_and_memory_and_answer_right(options, directory):
    """32 work, 50 are idle in the middle of a cursor, 118 do nothing."""
    limit_mb = 128
    cluster = start(directory, options, f"doris.max_threads = 3\ndoris.max_memory = '{limit_mb}MB'\ndoris.work_mem = '32MB'")
    with cluster.session() as session:
        session.query("SET doris.enable_vectorization = off")
        expected = [session.query(query) for query in QUERIES]
        first_rows = session.query(f"BEGIN; {CURSOR}; FETCH 5 FROM c")
        next_rows = session.query("FETCH 5 FROM c")
        session.query("ROLLBACK")
    idle = [cluster.session() for _ in range(118)]
    holders = [cluster.session() for _ in range(50)]
    workers = [cluster.session() for _ in range(32)]
    everyone = idle + holders + workers
    try:
        pids = [int(session.value("SELECT pg_backend_pid()")) for session in everyone]
        before = sum(map(private_kb, pids))
        for session in holders:
            session.query("SET doris.work_mem = '1MB'; SET doris.threads = 2")
            check(session.query(f"BEGIN; {CURSOR}; FETCH 5 FROM c") == first_rows, "a cursor's first rows differ")
        most = [0]
        over = threading.Event()

        def watch():
            while not over.is_set():
                most[0] = max(most[0], sum(map(private_kb, pids)) - before)
                time.sleep(0.1)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()

        def work(number):
            session = workers[number]
            session.query("SET doris.threads = 2")
            for turn in range(len(QUERIES)):
                at = (number + turn) % len(QUERIES)
                found = session.query(QUERIES[at])
                check(found == expected[at], f"{QUERIES[at]}: {found} instead of {expected[at]}")

        in_threads(work, len(workers))
        over.set()
        watcher.join()
        # What is not counted: code, catalogue caches, footers of segments, what the allocator keeps.
        allowed = limit_mb + 10 * (len(workers) + len(holders))
        print(f"# {len(everyone)} sessions had {most[0] // 1024} MB of their own at most; {allowed} MB are allowed")
        check(most[0] // 1024 <= allowed, f"{most[0] // 1024} MB, where {allowed} MB are allowed")
        for session in holders:
            check(session.query("FETCH 5 FROM c") == next_rows, "a cursor's next rows differ")
        check(threads_used(cluster, options) == 2, "threads are held by idle cursors or ended queries")
    finally:
        for session in everyone:
            session.process.kill()


@scenario
def equal_sessions_end_within_twice_of_each_other(options, directory):
    cluster = start(directory, options, "doris.max_threads = 4")
    sessions = [cluster.session() for _ in range(8)]
    took = [0.0] * len(sessions)

    def work(number):
        begun = time.monotonic()
        for _ in range(12):
            sessions[number].query(QUERIES[1])
        took[number] = time.monotonic() - begun

    for session in sessions:
        session.query(f"SET doris.threads = 2; {QUERIES[1]}")
    in_threads(work, len(sessions))
    print("# seconds: " + ", ".join(f"{seconds:.1f}" for seconds in took))
    check(max(took) <= 2 * min(took), f"from {min(took):.1f} to {max(took):.1f} seconds")


@scenario
def sessions_that_end_in_any_way_give_back_what_they_hold(options, directory):
    """Cancelled, timed out, terminated, left in the middle of a cursor, rolled back by an error: with one worker thread
    and little memory for all, a query afterwards finds both."""
    cluster = start(directory, options, "doris.max_threads = 1\ndoris.max_memory = '24MB'")
    # Eight billion rows to look at: it ends when it is told to.
    query = "SELECT count(*) FROM t a JOIN t b ON a.k = b.k JOIN t c ON b.k = c.k WHERE a.v < b.v AND b.v < c.v"

    def ended(session):
        try:
            session.query(f"SET doris.threads = 2; {query}")
        except (Refused, ServerLost):
            return
        raise AssertionError("the query was over too soon")

    for way in ("pg_cancel_backend", "pg_terminate_backend", "timeout"):
        session = cluster.session()
        pid = session.value("SELECT pg_backend_pid()")
        if way == "timeout":
            session.query("SET statement_timeout = '300ms'")
            ended(session)
        else:
            thread = threading.Thread(target=ended, args=(session,), daemon=True)
            thread.start()
            until(lambda pid=pid: cluster.value(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'") == "1", "the query's start")
            time.sleep(0.2)
            cluster.query(f"SELECT {way}({pid})")
            thread.join(30)
            check(not thread.is_alive(), f"the query survived {way}")
        check(threads_used(cluster, options) == 2, f"after {way}, a thread is held")
        session.process.kill()
    with cluster.session() as session:
        session.query(f"SET doris.threads = 2; BEGIN; {CURSOR}; FETCH 5 FROM c")
        session.process.kill()
    until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == "0", "the session's end")
    with cluster.session() as session:
        session.query(f"SET doris.threads = 2; BEGIN; {CURSOR}; FETCH 5 FROM c")
        try:
            session.query("SELECT 1 / (k - k) FROM t")
            raise AssertionError("a division by zero has an answer")
        except Refused as error:
            check(error.state == "22012", f"another error: {error}")
        session.query("ROLLBACK")
        check(threads_used(cluster, options) == 2, "after an error, a thread is held")
        # Had any of them kept memory, this would spill.
        plan = "\n".join(row[0] for row in session.query("EXPLAIN (ANALYZE) SELECT id, count(*) FROM t WHERE id < 50000 GROUP BY id"))
        check("Spilled" not in plan, f"memory is held:\n{plan}")
