# SPDX-License-Identifier: Apache-2.0
"""Space that compaction has left: given back by VACUUM and by the background, once no snapshot needs it, and used again.
"""
import time

from compaction import blocked, start
from harness import Refused, check, scenario, until

QUIET = "autovacuum = off\n"
RETIRED, CHUNKS = "chunk_id = 3", "chunk_id BETWEEN 1024 AND 4095"


class Looked:
    """What a table's files hold."""

    def __init__(self, cluster, table="t"):
        self.cluster, self.table = cluster, table
        self.toast = cluster.value(f"SELECT reltoastrelid::regclass FROM pg_class WHERE oid = '{table}'::regclass")

    def tuples(self, what):
        return int(self.cluster.value(f"SELECT count(*) FROM {self.toast} WHERE {what}"))

    def toast_bytes(self):
        return int(self.cluster.value(f"SELECT pg_relation_size('{self.toast}')"))

    def heap_bytes(self):
        return int(self.cluster.value(f"SELECT pg_relation_size('{self.table}')"))

    def digest(self, cluster=None):
        return (cluster or self.cluster).query(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {self.table} t")

    def sound(self, cluster=None):
        problems = (cluster or self.cluster).query(f"SELECT * FROM doris.verify('{self.table}')")
        check(not problems, f"doris.verify finds {problems}")


def load(session, parts, rows=20_000, table="t"):
    session.query("SET doris.rows_to_heap = 0")
    for part in range(parts):
        session.query(f"INSERT INTO {table} SELECT {part * rows} + g, md5(({part * rows} + g)::text) FROM generate_series(1, {rows}) g")


def catch_up(primary, standby):
    target = primary.value("SELECT pg_current_wal_flush_lsn()")
    until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") == "t", "the standby catches up")


@scenario
def vacuum_frees_what_a_snapshot_kept_from_a_compaction(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction = off")
    standby = cluster.backup(directory / "standby", options.port + 1, "-R", "-X", "stream")
    options.clusters.append(standby)
    standby.start()
    cluster.query("CREATE TABLE t (id int, note text) USING doris; CREATE INDEX ON t (id)")
    looked = Looked(cluster)
    with cluster.session() as session, cluster.session() as reader:
        load(session, 4)
        once = looked.tuples(CHUNKS)
        size = looked.toast_bytes()
        before = looked.digest()
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        first = reader.query("SELECT count(*), sum(id) FROM t")
        session.query("CALL doris.compact('t')")
        session.query("VACUUM t")
        check(looked.tuples(RETIRED) == 4 and looked.tuples(CHUNKS) > once * 1.5, "segments that a snapshot needs are not there")
        check(reader.query("SELECT count(*), sum(id) FROM t") == first, "a snapshot reads something else")
        reader.query("COMMIT")
        # One VACUUM deletes them and frees their space.
        session.query("VACUUM t")
        check(looked.tuples(RETIRED) == 0, "a retired segment is left after VACUUM")
        left = looked.tuples(CHUNKS)
        check(left < once * 1.3, f"VACUUM left {left} chunks of {once}")
        check(looked.digest() == before, "VACUUM changed the table")
        looked.sound()
        # Vacuumed pages are used again: the same over and over takes no more room.
        for _ in range(5):
            session.query("UPDATE t SET note = note WHERE id % 100 = 0")
            session.query("CALL doris.compact('t')")
            session.query("VACUUM t")
            check(looked.tuples(RETIRED) == 0, "a retired segment is left after a round")
        check(looked.toast_bytes() < size * 3, f"{size} bytes have become {looked.toast_bytes()}")
        check(looked.digest() == before, "rounds of compaction changed the table")
        looked.sound()
        # It is the same after a crash, and on a standby.
        catch_up(cluster, standby)
        check(looked.digest(standby) == before, "the standby differs")
        looked.sound(standby)
    cluster.kill()
    cluster.start()
    check(looked.digest() == before, "a crash changed the table")
    looked.sound()


@scenario
def vacuum_that_writes_is_seen_by_snapshots_as_a_whole(options, directory):
    """It gets a transaction id in its midst, and is rolled back with all it did when it is cancelled."""
    cluster = start(directory, options, QUIET + "doris.compaction = off")
    cluster.query("CREATE TABLE t (id int, note text) USING doris; CREATE INDEX ON t (id)")
    looked = Looked(cluster)
    with cluster.session() as session, cluster.session() as holder:
        load(session, 3)
        before = looked.digest()
        holder.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t")
        session.query("CALL doris.compact('t')")
        holder.query("COMMIT")
        holder.query("SELECT pg_advisory_lock(4711)")
        session.query("SET doris.debug_pause = 'vacuum_deleted'")
        session.process.stdin.write("VACUUM t\n;\n\\echo --vacuumed\n")
        session.process.stdin.flush()
        until(lambda: blocked(cluster), "a VACUUM that has deleted a retired segment")
        check(cluster.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND backend_xid IS NOT NULL") == "1",
              "VACUUM has no transaction id")
        with cluster.session() as reader:
            reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
            seen = reader.query(f"SELECT count(*), min(xmin::text) FROM {looked.toast} WHERE {RETIRED}")
            check(seen[0][0] == "3", "what an open VACUUM has deleted is gone")
            holder.query("SELECT pg_advisory_unlock(4711)")
            until(lambda: looked.tuples(RETIRED) == 0, "the end of VACUUM")
            again = reader.query(f"SELECT count(*), min(xmin::text) FROM {looked.toast} WHERE {RETIRED}")
            check(again == seen, f"a snapshot from before VACUUM ended sees its work: {seen} {again}")
        check(looked.digest() == before, "VACUUM changed the table")
        looked.sound()
    # A server that dies in between has lost nothing.
    with cluster.session() as session, cluster.session() as holder:
        load(session, 2)
        before = looked.digest()
        holder.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t")
        session.query("CALL doris.compact('t')")
        holder.query("COMMIT")
        retired = looked.tuples(RETIRED)
        check(retired > 0, "nothing is left to be freed")
        holder.query("SELECT pg_advisory_lock(4711)")
        session.query("SET doris.debug_pause = 'vacuum_deleted'")
        session.process.stdin.write("VACUUM t\n;\n")
        session.process.stdin.flush()
        until(lambda: blocked(cluster), "a second VACUUM that has deleted a retired segment")
        cluster.query("CHECKPOINT")
        cluster.kill()
    cluster.start()
    check(looked.digest() == before, "a kill changed the table")
    check(looked.tuples(RETIRED) == retired, "what a lost VACUUM has deleted is gone")
    cluster.query("VACUUM t")
    check(looked.tuples(RETIRED) == 0, "a retired segment is left after VACUUM")
    check(looked.digest() == before, "VACUUM after a kill changed the table")
    looked.sound()


@scenario
def the_background_comes_back_for_space_that_a_snapshot_needed(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction_naptime = 1\nmax_worker_processes = 12")
    cluster.query("CREATE TABLE t (id int, note text) USING doris")
    looked = Looked(cluster)
    with cluster.session() as session, cluster.session() as reader:
        session.query("CREATE TABLE held (a int)")
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM held")
        load(session, 6, 5000)
        until(lambda: int(session.value("SELECT count(*) FROM doris.segments_of('t')")) < 6, "the compaction")
        check(looked.tuples(RETIRED) > 0, "a segment that a snapshot needs was freed")
        many = looked.tuples(CHUNKS)
        before = looked.digest()
        reader.query("COMMIT")
        until(lambda: looked.tuples(RETIRED) == 0, "the space of merged segments is freed", 120)
        check(looked.tuples(CHUNKS) < many, "chunks of merged segments are left")
        # The column store was vacuumed, too: dead tuples no longer fill it.
        until(lambda: int(cluster.value("SELECT coalesce(max(vacuum_count), 0) FROM pg_stat_all_tables "
                                        f"WHERE relid = '{looked.toast}'::regclass")) > 0, "the VACUUM of the column store", 120)
        # It does so for a compaction by hand.
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM held")
        session.query("CALL doris.compact('t')")
        session.query("DELETE FROM t WHERE id % 3 = 0")
        before = looked.digest()
        session.query("CALL doris.compact('t')")
        check(looked.tuples(RETIRED) > 0, "a segment that a snapshot needs was freed")
        reader.query("COMMIT")
        until(lambda: looked.tuples(RETIRED) == 0, "the space of segments merged by hand is freed", 120)
        check(looked.digest() == before, "the background changed the table")
        looked.sound()


@scenario
def an_emptied_row_store_is_cut_off(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction = off")
    standby = cluster.backup(directory / "standby", options.port + 1, "-R", "-X", "stream")
    options.clusters.append(standby)
    standby.start()
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, note text) USING doris")
    looked = Looked(cluster)
    with cluster.session() as session:
        session.query("SET doris.enable_bulk_load = off")
        session.query("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 300000) g")
        before = looked.digest()
        full = looked.heap_bytes()
        check(full > 20_000_000, "the row store is small")
        touched = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_all_tables WHERE relid = 't'::regclass"
        session.query("SELECT pg_stat_force_next_flush()")
        at_first = int(session.value(touched))
        session.query("CALL doris.compact('t')")
        session.query("SELECT pg_stat_force_next_flush()")
        # A page for each row that is deleted; and each page once, though rows are moved in several steps.
        read = int(session.value(touched)) - at_first - 300_000
        check(0 < read < 1.5 * full / 8192, f"{read} pages were read to move the rows of {full // 8192}")
        session.query("VACUUM t")
        check(looked.heap_bytes() <= 8192, f"{looked.heap_bytes()} bytes of an emptied row store are left")
        check(looked.digest() == before, "VACUUM changed the table")
        rows, pages = session.query("SELECT reltuples::bigint, relpages FROM pg_class WHERE oid = 't'::regclass")[0]
        check((rows, pages) == ("300000", "1"), f"statistics are {rows} rows, {pages} pages")
        session.query("ANALYZE t")
        check(session.value("SELECT reltuples::bigint FROM pg_class WHERE oid = 't'::regclass") == "300000", "ANALYZE counts wrong")
        check(session.value("SELECT n_distinct FROM pg_stats WHERE tablename = 't' AND attname = 'id'") == "-1", "ANALYZE saw no rows")
        # The next VACUUM has nothing to do, and the page that is left stays.
        session.query("VACUUM t")
        check(looked.heap_bytes() == 8192, "the last page is gone")
        # The row store is used as before; a row at its end keeps what is before it from being cut off, not from being used.
        session.query("INSERT INTO t SELECT g, 'again' FROM generate_series(300001, 400000) g")
        with cluster.session() as holder:
            holder.query("BEGIN; SELECT * FROM t WHERE id = 400000 FOR UPDATE")
            session.query("CALL doris.compact('t')")
            holder.query("COMMIT")
        session.query("VACUUM t")
        half = looked.heap_bytes()
        check(half > 1_000_000, "a page with a row was cut off")
        session.query("INSERT INTO t SELECT g, 'again' FROM generate_series(400001, 450000) g")
        check(looked.heap_bytes() == half, "vacuumed pages are not used")
        session.query("CALL doris.compact('t')")
        session.query("VACUUM t")
        check(looked.heap_bytes() <= 8192, "the row store was not cut off again")
        check(session.query("SET enable_seqscan = off; SELECT note FROM t WHERE id IN (7, 400000) ORDER BY id DESC LIMIT 1") == [["again"]],
              "an index look-up is wrong")
        before = looked.digest()
        catch_up(cluster, standby)
        check(looked.digest(standby) == before, "the standby differs")
        looked.sound(standby)
    cluster.kill()
    cluster.start()
    check(looked.digest() == before, "a crash changed the table")
    looked.sound()


@scenario
def an_old_snapshot_reads_rows_that_moved_while_vacuum_cuts_off_the_row_store(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction = off")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, note text) USING doris")
    looked = Looked(cluster)
    with cluster.session() as session, cluster.session() as reader, cluster.session() as writer:
        session.query("SET doris.enable_bulk_load = off")
        session.query("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 50000) g")
        full = looked.heap_bytes()
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id")
        check(reader.query("FETCH 1 FROM c") == [["1"]], "the first row is missing")
        writer.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        writer.query("SELECT count(*) FROM t")
        session.query("CALL doris.compact('t')")
        session.query("VACUUM t")
        check(looked.heap_bytes() == full, "pages that a snapshot reads are gone")
        check(len(reader.query("FETCH ALL FROM c")) == 49999, "a snapshot lost rows")
        # A row that the old snapshot sees in the row store is changed where it is now.
        check(writer.query("UPDATE t SET note = 'new' WHERE id = 17 RETURNING id") == [["17"]], "an old snapshot does not find a row")
        writer.query("COMMIT")
        reader.query("COMMIT")
        session.query("CALL doris.compact('t')")
        session.query("VACUUM t")
        check(looked.heap_bytes() <= 8192, "the row store was not cut off")
        check(session.value("SELECT note FROM t WHERE id = 17") == "new", "an update is lost")
        # A place that is no more: the row is nowhere, which is no error.
        check(session.query("SELECT id FROM t WHERE ctid = '(300,1)'") == [], "there is a row where no page is")
        looked.sound()


@scenario
def the_background_vacuums_a_row_store_that_it_has_emptied(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction_naptime = 1\nmax_worker_processes = 12\ndoris.compaction_heap_rows = 100000")
    cluster.query("CREATE TABLE t (id int, note text) USING doris")
    looked = Looked(cluster)
    with cluster.session() as session, cluster.session() as reader:
        # A large table, of which autovacuum would need many dead rows.
        load(session, 1, 1_000_000)
        session.query("SET doris.enable_bulk_load = off")
        session.query("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 150000) g")
        before = looked.digest()
        until(lambda: looked.heap_bytes() <= 8192, "the emptied row store is cut off", 120)
        check(looked.digest() == before, "the background changed the table")
        # With a snapshot in the way it comes back later.
        session.query("CREATE TABLE held (a int)")
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM held")
        moved = "SELECT count(*) FROM doris.compactions WHERE kind = 'flush' AND state = 'done'"
        moves = int(session.value(moved))
        session.query("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 150000) g")
        before = looked.digest()
        until(lambda: int(session.value(moved)) > moves, "the move of rows", 120)
        check(looked.heap_bytes() > 8192, "rows that a snapshot needs are gone")
        reader.query("COMMIT")
        until(lambda: looked.heap_bytes() <= 8192, "the row store is cut off later", 120)
        check(looked.digest() == before, "the background changed the table")
        looked.sound()


@scenario
def the_background_removes_anchors_that_foreign_keys_have_left(options, directory):
    cluster = start(directory, options, QUIET + "doris.compaction_naptime = 1\nmax_worker_processes = 12")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, note text) USING doris; CREATE TABLE child (id int REFERENCES t)")
    looked = Looked(cluster)
    anchors = "chunk_id BETWEEN 4096 AND 8191"
    with cluster.session() as session, cluster.session() as holder:
        load(session, 1, 40_000)
        holder.query("BEGIN; SELECT * FROM t WHERE id <= 5 FOR KEY SHARE")
        session.query("INSERT INTO child SELECT generate_series(1, 20000)")
        until(lambda: looked.tuples(anchors) == 5, "the removal of anchors that nobody holds", 120)
        session.query("UPDATE t SET note = '' WHERE id = 7")
        try:
            session.query("DELETE FROM t WHERE id = 8")
            raise AssertionError("a row that is referred to was deleted")
        except Refused as refused:
            check(refused.state == "23503", f"another error: {refused}")
        holder.query("COMMIT")
        session.query("VACUUM t")
        check(looked.tuples(anchors) == 1, "anchors are left that nobody holds")
        looked.sound()


@scenario
def a_snapshot_that_has_lost_its_rows_is_told(options, directory):
    # Up to 16 VACUUM may remove what an old snapshot sees. 0: after five seconds.
    cluster = start(directory, options, QUIET + "doris.compaction = off")
    if int(cluster.value("SHOW server_version_num")) >= 170000:
        cluster.stop()
        return
    cluster.configure("old_snapshot_threshold = 0")
    cluster.stop()
    cluster.start()
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, note text) USING doris")
    looks = {"scan": "SELECT count(*) FROM t", "row": "SELECT count(note) FROM t WHERE id = 17", "heap": "SET doris.enable_vectorization = off; SELECT count(*) FROM t"}
    with cluster.session() as session:
        load(session, 3)
        readers = {name: cluster.session() for name in looks}
        before = {}
        for name, reader in readers.items():
            reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
            before[name] = reader.query(looks[name])
        time.sleep(6)
        session.query("DELETE FROM t WHERE id % 2 = 0; CALL doris.compact('t', 'full')")
        time.sleep(1)
        session.query("VACUUM t")
        session.query("VACUUM t")
        for name, reader in readers.items():
            try:
                check(reader.query(looks[name]) == before[name], f"{name}: an old snapshot sees other rows")
            except Refused as refused:
                check(refused.state == "72000", f"{name}: {refused}")
            reader.close()
        check(session.value("SELECT count(*) FROM t") == "30000", "new snapshots are refused, or rows are lost")
