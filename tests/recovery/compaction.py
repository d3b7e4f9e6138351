# SPDX-License-Identifier: Apache-2.0
"""Compaction under faults, as scenarios of the recovery suite: kills at every point of it, a standby that reads
meanwhile, the workers of the background, loads that are too many.
"""
import os
import threading
import time

from harness import Cluster, Refused, ServerLost, check, scenario, until

ROWS = 30_000


def start(directory, options, settings=""):
    cluster = Cluster(directory / "primary", options.port)
    cluster.init("\n".join([settings, *options.set])).start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    return cluster


def fill(cluster):
    """Rows in the heap, segments, deletes and updates in both."""
    with cluster.session() as session:
        session.query("CREATE TABLE t (id int PRIMARY KEY, v int, note text) USING doris WITH (duplicate_key = 'id');"
                      "CREATE INDEX ON t (v)")
        session.query("SET doris.rows_to_heap = 0")
        for part in range(3):
            session.query(f"INSERT INTO t SELECT g, g % 97, 'segment {part}' FROM generate_series({part * ROWS + 1}, {part * ROWS + ROWS}) g")
        session.query("SET doris.rows_to_heap = 100000")
        session.query(f"INSERT INTO t SELECT g, g % 97, 'heap' FROM generate_series({3 * ROWS + 1}, {4 * ROWS}) g")
        session.query("UPDATE t SET note = 'changed' WHERE id % 50 = 0; DELETE FROM t WHERE id % 31 = 0")


def digest(cluster):
    return cluster.query("SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM t")


def sound(cluster):
    problems = cluster.query("SELECT * FROM doris.verify('t')")
    check(not problems, f"doris.verify finds {problems}")
    with cluster.session() as session:
        by_index = session.query("SET enable_seqscan = off; SET doris.enable_vectorization = off; SELECT count(*), sum(id) FROM t WHERE id > 0")
    by_scan = cluster.query("SELECT count(*), sum(id) FROM t")
    check(by_index == by_scan, f"the index disagrees with the table: {by_index} {by_scan}")


class Background:
    """A statement on a connection of its own, which may not be answered."""

    def __init__(self, cluster, *statements):
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(cluster, statements), daemon=True)
        self.thread.start()

    def _run(self, cluster, statements):
        try:
            with cluster.session() as session:
                for statement in statements:
                    session.query(statement)
        except (Refused, ServerLost) as error:
            self.error = error

    def join(self):
        self.thread.join(60)
        check(not self.thread.is_alive(), "a statement does not end")
        return self.error


def blocked(cluster):
    return cluster.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != "0"


@scenario
def compaction_killed_at_any_point_loses_and_doubles_nothing(options, directory):
    cluster = start(directory, options)
    fill(cluster)
    before = digest(cluster)
    for point in ("written", "indexed", "retired", "published"):
        with cluster.session() as holder:
            holder.query("SELECT pg_advisory_lock(4711)")
            compaction = Background(cluster, f"SET doris.debug_pause = '{point}'", "CALL doris.compact('t')")
            until(lambda: blocked(cluster), f"a compaction that waits at {point}")
            check(digest(cluster) == before, f"a compaction at {point} changes what is read")
            cluster.query("CHECKPOINT")
            cluster.kill()
        compaction.join()
        cluster.start()
        check(digest(cluster) == before, f"a kill at {point} changed the table")
        sound(cluster)
        cluster.query("UPDATE t SET v = v WHERE id < 100; VACUUM t")
    cluster.query("CALL doris.compact('t')")
    check(digest(cluster) == before, "the compaction after the kills changed the table")
    check(cluster.value("SELECT count(*) FROM doris.segments_of('t')") == "1", "more than one segment is left")
    cluster.kill()
    cluster.start()
    check(digest(cluster) == before, "a finished compaction is lost")
    sound(cluster)


@scenario
def standby_reads_the_same_while_the_primary_compacts(options, directory):
    primary = start(directory, options)
    fill(primary)
    standby = primary.backup(directory / "standby", options.port + 1, "-R", "-X", "stream")
    standby.configure("hot_standby_feedback = on\nmax_standby_streaming_delay = -1")
    options.clusters.append(standby)
    standby.start()
    before = digest(primary)
    question = "SELECT count(*), sum(id), sum(hashtextextended(t::text, 0)::numeric) FROM t"
    with standby.session() as reader, standby.session() as by_index:
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        first = reader.query(question)
        by_index.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_seqscan = off; SET LOCAL doris.enable_vectorization = off")
        rows = by_index.query("SELECT count(*), sum(id) FROM t WHERE v = 7")
        for _ in range(3):
            primary.query("CALL doris.compact('t')")
            primary.query("VACUUM t")
            check(reader.query(question) == first, "a snapshot on the standby changed")
            check(by_index.query("SELECT count(*), sum(id) FROM t WHERE v = 7") == rows, "an index scan on the standby changed")
            primary.query("UPDATE t SET v = v WHERE id % 100 = 1")
        reader.query("COMMIT")
        by_index.query("COMMIT")
    target = primary.value("SELECT pg_current_wal_flush_lsn()")
    until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") == "t", "the standby catches up")
    check(digest(standby) == digest(primary) == before, "the standby differs")
    sound(standby)


def standby_misses_index_entries(options, directory, remove, left):
    """A query of a standby that needs index entries which the primary removes is ended. `left` rows stay in its range."""
    primary = start(directory, options, "doris.compaction = off\nautovacuum = off")
    with primary.session() as session:
        session.query("CREATE TABLE d (id int, v int) USING doris; CREATE INDEX ON d (v); SET doris.rows_to_heap = 0")
        session.query("INSERT INTO d SELECT g, g FROM generate_series(1, 10000) g")
    standby = primary.backup(directory / "standby", options.port + 1, "-R", "-X", "stream")
    standby.configure("hot_standby_feedback = off\nmax_standby_streaming_delay = 100ms")
    options.clusters.append(standby)
    standby.start()
    question = "SELECT count(*) FROM d WHERE v BETWEEN 1 AND 100"
    by_index = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET doris.enable_vectorization = off"
    with standby.session() as reader:
        reader.query(f"{by_index}; BEGIN ISOLATION LEVEL REPEATABLE READ")
        check(reader.query(question) == [["100"]], "the standby does not have the rows")
        with primary.session() as session:
            session.query(by_index)
            remove(session)
        target = primary.value("SELECT pg_current_wal_flush_lsn()")
        until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") == "t", "the standby catches up")
        try:
            rows = reader.query(question)
        except (Refused, ServerLost):
            rows = None
        check(rows is None, f"a query whose index entries are gone found {rows}")
    check(standby.value("SELECT confl_snapshot FROM pg_stat_database_conflicts WHERE datname = 'postgres'") != "0", "no conflict was counted")
    check(standby.value(question) == left, "the standby has other rows")
    check(not standby.query("SELECT * FROM doris.verify('d')"), "the standby is not sound")


@scenario
def a_standby_ends_queries_that_need_index_entries_which_vacuum_removes(options, directory):
    def remove(session):
        session.query("DELETE FROM d WHERE id <= 5000")
        session.query("VACUUM d")
    standby_misses_index_entries(options, directory, remove, "0")


@scenario
def a_standby_ends_queries_that_need_index_entries_which_others_take_the_place_of(options, directory):
    def remove(session):
        session.query("DELETE FROM d WHERE id <= 5000")
        # Who finds the rows dead marks their entries; who needs room in their pages removes them.
        session.query("SELECT count(*) FROM d WHERE v BETWEEN 1 AND 5000")
        session.query("SET doris.rows_to_heap = 100000; INSERT INTO d SELECT g, 1 + g % 100 FROM generate_series(20001, 20500) g")
    standby_misses_index_entries(options, directory, remove, "500")


@scenario
def workers_compact_what_was_written_and_make_room(options, directory):
    cluster = start(directory, options, "doris.compaction_naptime = 1\ndoris.compaction_heap_rows = 20000\nmax_worker_processes = 12")
    cluster.query("CREATE DATABASE other")
    cluster.query("CREATE EXTENSION pg_doris", "other")
    fill(cluster)
    before = digest(cluster)
    with cluster.session() as session:
        session.query("SET doris.rows_to_heap = 0")
        for part in range(6):
            session.query(f"INSERT INTO t SELECT g, 1, 'more' FROM generate_series({10**6 + part * 1000}, {10**6 + part * 1000 + 99}) g")
        session.query("DELETE FROM t WHERE note = 'more'")
    until(lambda: int(cluster.value("SELECT count(*) FROM doris.segments_of('t')")) < 5, "the compaction of segments")
    until(lambda: "flush" in {kind for kind, in cluster.query("SELECT kind FROM doris.compactions WHERE state = 'done'")}, "the move of heap rows")
    check(digest(cluster) == before, "background compaction changed the table")
    sound(cluster)
    # Databases can be copied and dropped under it.
    with cluster.session("other") as session:
        session.query("CREATE TABLE t (id int, v int) USING doris; SET doris.rows_to_heap = 0")
        for part in range(8):
            session.query(f"INSERT INTO t SELECT g, 1 FROM generate_series(1, 20000) g")
    cluster.query("CREATE DATABASE copy TEMPLATE other")
    check(cluster.value("SELECT count(*) FROM t", "copy") == "160000", "the copied database lacks rows")
    cluster.query("DROP DATABASE other")
    cluster.query("DROP DATABASE copy")
    # What notices are lost by a restart is found by a look at all tables.
    cluster.query("ALTER SYSTEM SET doris.compaction = off")
    cluster.query("SELECT pg_reload_conf()")
    with cluster.session() as session:
        session.query("SET doris.rows_to_heap = 0")
        for part in range(6):
            session.query(f"INSERT INTO t SELECT g, 1, 'late' FROM generate_series({2 * 10**6 + part * 10**4}, {2 * 10**6 + part * 10**4 + 9999}) g")
    cluster.stop()
    cluster.start()
    check(int(cluster.value("SELECT count(*) FROM doris.segments_of('t')")) > 6, "compaction ran though it was off")
    cluster.query("ALTER SYSTEM RESET doris.compaction")
    cluster.query("SELECT pg_reload_conf()")
    until(lambda: int(cluster.value("SELECT count(*) FROM doris.segments_of('t')")) < 6, "compaction after a restart")
    sound(cluster)


@scenario
def loads_of_a_table_with_too_many_segments_wait_and_then_fail(options, directory):
    cluster = start(directory, options, "doris.max_versions = 4\ndoris.compaction = off\ndoris.compaction_naptime = 1\n"
                    "doris.compaction_min_segments = 3")
    with cluster.session() as session:
        session.query("CREATE TABLE t (id int, v int) USING doris; SET doris.rows_to_heap = 0")
        load = "INSERT INTO t SELECT g, 1 FROM generate_series(1, 1000) g"
        for _ in range(4):
            session.query(load)
        try:
            session.query(load)
            raise AssertionError("a fifth segment was loaded")
        except Refused as error:
            check(error.state == "53400" and "[E-235]" in str(error), f"another error: {error}")
        session.query("CALL doris.compact('t')")
        session.query(load)
        # Segments that nothing is merged with do not count.
        session.query("CREATE TABLE large (id int, v int) USING doris")
        for _ in range(6):
            session.query("INSERT INTO large SELECT g, 1 FROM generate_series(1, 600000) g")
        check(session.value("SELECT count(*) FROM doris.segments_of('large')") == "6", "large segments were merged")
        cluster.query("ALTER SYSTEM SET doris.compaction = on")
        cluster.query("SELECT pg_reload_conf()")
        until(lambda: session.value("SHOW doris.compaction") == "on", "the session's new settings")
        for _ in range(12):
            session.query(load)
        check(session.value("SELECT count(*) FROM t") == "17000", "rows are missing")
        # A load under a rule waits without keeping compaction out.
        session.query("CREATE TABLE sums (id int, v bigint) USING doris WITH (aggregate_key = 'id', sum = 'v')")
        for part in range(12):
            session.query(f"INSERT INTO sums SELECT g, 1 FROM generate_series({part} * 500, {part} * 500 + 999) g")
        check(session.value("SELECT sum(v) FROM sums") == "12000", "sums are wrong")


@scenario
def a_worker_keeps_to_its_rate(options, directory):
    cluster = start(directory, options, "doris.compaction_rate = 1\ndoris.compaction = off\ndoris.compaction_workers = 1\n"
                    "doris.compaction_naptime = 1\ndoris.compaction_min_segments = 3\nmax_worker_processes = 12")
    with cluster.session() as session:
        session.query("SET doris.rows_to_heap = 0")
        for table in ("a", "b"):
            session.query(f"CREATE TABLE {table} (id uuid) USING doris")
            for _ in range(6):
                session.query(f"INSERT INTO {table} SELECT gen_random_uuid() FROM generate_series(1, 60000)")

        def left():
            return [table for table in ("a", "b")
                    if session.value(f"SELECT count(*) FROM doris.segments_of('{table}')") != "1"]
        cluster.query("ALTER SYSTEM SET doris.compaction = on")
        cluster.query("SELECT pg_reload_conf()")
        until(lambda: len(left()) < 2, "the compaction of one table")
        first, rest = time.monotonic(), left()
        check(len(rest) == 1, "two tables were compacted at once")
        # It has written more than 5 MB.
        until(lambda: not left(), "the compaction of the other table")
        waited = time.monotonic() - first
        # Without the rate both take a second. When the first was done was seen late, maybe.
        check(waited > 2, f"the worker went on after {waited:.1f} s")
        check(session.value("SELECT count(*) FROM (SELECT * FROM a UNION SELECT * FROM b) u") == "720000", "rows are missing")


@scenario
def a_time_series_is_merged_once_by_number(options, directory):
    cluster = start(directory, options, "doris.compaction_naptime = 1\nmax_worker_processes = 12")
    with cluster.session() as session:
        session.query("CREATE TABLE log (id int, v int) USING doris WITH (compaction_policy = 'time_series', "
                      "time_series_compaction_file_count_threshold = 10); SET doris.rows_to_heap = 0")
        session.query("CREATE TABLE other (id int, v int) USING doris")
        session.query("CREATE TABLE still (id int, v int) USING doris WITH (disable_auto_compaction = true)")

        def load(table, count):
            for part in range(count):
                session.query(f"INSERT INTO {table} SELECT g, {part} FROM generate_series(1, 3000) g")

        def segments(table):
            return int(session.value(f"SELECT count(*) FROM doris.segments_of('{table}')"))
        load("still", 9)
        load("log", 9)
        load("other", 9)
        until(lambda: segments("other") == 1, "the compaction of a table by size")
        check(segments("log") == 9, "a time series was merged before its time")
        load("log", 6)
        until(lambda: segments("log") <= 6, "the compaction of a time series")
        load("other", 5)
        until(lambda: segments("other") <= 2, "another compaction of a table by size")
        rows = session.query("SELECT level, max(rows) FROM doris.segments_of('log') GROUP BY level ORDER BY level")
        check(rows and rows[-1] == ["2", "30000"], f"a time series was not merged once: {rows}")
        check(segments("still") == 9, "a table that is not to be compacted in the background was")
        session.query("ALTER TABLE still SET (disable_auto_compaction = false)")
        load("still", 5)
        until(lambda: segments("still") <= 5, "the compaction of a table that is compacted again")
        check(session.value("SELECT count(*) FROM log") == "45000", "rows are missing")


@scenario
def a_database_is_dropped_while_compaction_runs_in_it(options, directory):
    cluster = start(directory, options, "doris.compaction_naptime = 1\nmax_worker_processes = 12")

    def worker(database):
        return cluster.value("SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                             f"WHERE d.datname = '{database}' AND l.locktype = 'advisory' AND NOT l.granted") != "0"
    for force in (True, False):
        cluster.query("CREATE DATABASE doomed")
        cluster.query("CREATE EXTENSION pg_doris", "doomed")
        cluster.query("ALTER DATABASE doomed SET doris.debug_pause = 'written'")
        with cluster.session("doomed") as session:
            session.query("SET doris.debug_pause = ''; SELECT pg_advisory_lock(4711)")
            session.query("CREATE TABLE t (id int, v int) USING doris; SET doris.rows_to_heap = 0")
            for part in range(8):
                session.query("INSERT INTO t SELECT g, 1 FROM generate_series(1, 5000) g")
            until(lambda: worker("doomed"), "a worker's compaction")
            if force:
                cluster.query("DROP DATABASE doomed WITH (FORCE)")
        if not force:
            cluster.query("DROP DATABASE doomed")
    check(cluster.value("SELECT count(*) FROM pg_database WHERE datname = 'doomed'") == "0", "the database is still there")
    # Others are compacted as before.
    with cluster.session() as session:
        session.query("CREATE TABLE t (id int, v int) USING doris; SET doris.rows_to_heap = 0")
        for part in range(8):
            session.query("INSERT INTO t SELECT g, 1 FROM generate_series(1, 5000) g")
    until(lambda: int(cluster.value("SELECT count(*) FROM doris.segments_of('t')")) < 8, "the compaction of another database")
    check(not cluster.crash_messages(), f"a process died: {cluster.crash_messages()}")


@scenario
def empty_tables_cost_nothing(options, directory):
    tables = 1000
    cluster = start(directory, options, "doris.compaction_naptime = 1\nmax_locks_per_transaction = 1000\nautovacuum = off")

    def cost():
        found = cluster.query("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%doris%' OR backend_type LIKE '%pg_doris%'")
        ticks, pages = 0, 0
        for (pid,) in found:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
            with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
                resident, shared = statm.read().split()[1:3]
            pages += int(resident) - int(shared)
        return len(found), ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGESIZE") // 1024

    def over(seconds):
        before = cost()
        time.sleep(seconds)
        after = cost()
        check(before[0] >= 1 and after[0] == before[0], f"background processes came or went: {before}, {after}")
        return after[1] - before[1], after[2]
    until(lambda: cost()[0] >= 1, "the launcher")
    time.sleep(3)
    empty = over(6)
    cluster.query(f"DO $$ BEGIN FOR i IN 1..{tables} LOOP EXECUTE format('CREATE TABLE e%s (id int PRIMARY KEY, note text) "
                  "USING doris WITH (unique_key = ''id'')', i); END LOOP; END $$")
    full = over(6)
    check(full[0] <= empty[0] + 0.1, f"{tables} empty tables cost {full[0]:.2f} s of 6, none {empty[0]:.2f} s")
    check(full[1] <= empty[1] + 1024, f"{tables} empty tables take {full[1]} kB of the background, none {empty[1]} kB")
    check(cluster.value("SELECT sum(pg_relation_size(oid) + pg_relation_size(reltoastrelid)) FROM pg_class WHERE relname ~ '^e[0-9]+$'") == "0",
          "empty tables have files that are not empty")
    check(cluster.query("SELECT * FROM doris.compactions") == [], "empty tables were compacted")
