# SPDX-License-Identifier: Apache-2.0
"""What must hold when servers die, are copied, upgraded or damaged.

Each scenario is a function whose name is the sentence it proves. It gets a directory of its own and the
options; it raises if the sentence is false. Tables are made with the access method under test, so that a run
with heap tells whether a failure is ours or the harness's.

The shared workload writes two tables: `points`, small transactions by primary key, and `bulk`, one statement of
many rows at a time. For both, a transaction that was answered must be there afterwards, whole; one that was not
answered must be there whole or not at all, and nothing else may be there.
"""
import argparse
import os
import random
import shutil
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness  # noqa: E402
from harness import (SCENARIOS, Cluster, Refused, ServerLost, Skipped, Writer, check, fresh, run,  # noqa: E402
                     scenario)

BATCH_ROWS = 20_000


# --- the workload -----------------------------------------------------------------------------------------

def create_tables(cluster, am):
    if library_is_loaded(cluster):
        cluster.query("CREATE EXTENSION IF NOT EXISTS pg_doris")
    cluster.query(f"""
        CREATE TABLE points (id bigint PRIMARY KEY, writer int, n int, val text, changed int DEFAULT 0) USING {am};
        CREATE TABLE bulk (batch int, n int, val text, price numeric(12,2), at timestamptz) USING {am}""")


def library_is_loaded(cluster):
    return cluster.value("SHOW shared_preload_libraries") == "pg_doris"


def write_point(writer):
    """Transaction n of a writer: a row, and every third time a change of the row before, every fifth a delete."""
    def step(session, n):
        row = n * 10 + writer
        statements = [f"INSERT INTO points VALUES ({row}, {writer}, {n}, repeat('v{n} ', 10))"]
        if n % 3 == 2:
            statements.append(f"UPDATE points SET changed = {n} WHERE id = {row - 10}")
        if n % 5 == 4:
            statements.append(f"DELETE FROM points WHERE id = {row - 20}")
        session.query("; ".join(["BEGIN"] + statements + ["COMMIT"]))
    return step


def points_after(writer, transactions):
    """The rows of a writer that did exactly this many transactions: id -> changed."""
    rows = {}
    for n in range(transactions):
        row = n * 10 + writer
        rows[row] = 0
        if n % 3 == 2 and row - 10 in rows:
            rows[row - 10] = n
        if n % 5 == 4:
            rows.pop(row - 20, None)
    return rows


def write_batch(rows=BATCH_ROWS):
    def step(session, n):
        session.query(f"""INSERT INTO bulk
            SELECT {n}, i, md5(({n} * 7919 + i)::text), (i % 10000) / 100.0, '2024-01-01'::timestamptz + i * interval '1 s'
            FROM generate_series(1, {rows}) i""")
    return step


class Workload:
    def __init__(self, cluster, writers=2, rows=BATCH_ROWS):
        self.rows = rows
        self.points = [Writer(cluster, write_point(writer)) for writer in range(writers)]
        self.bulk = Writer(cluster, write_batch(rows))

    def finish(self):
        for writer in [*self.points, self.bulk]:
            writer.finish()

    def verify(self, cluster, up_to_date=True):
        """up_to_date: the cluster must have everything acknowledged (a backup may be from an earlier moment)."""
        for number, writer in enumerate(self.points):
            found = {int(row): int(changed) for row, changed in
                     cluster.query(f"SELECT id, changed FROM points WHERE writer = {number}")}
            done = len(writer.acknowledged)
            if up_to_date:
                possible = [done, writer.tried + 1]
            else:
                possible = range(writer.tried + 2)
            check(any(found == points_after(number, count) for count in possible),
                  f"writer {number}: {len(found)} rows are not those of {list(possible)[:1]}..{writer.tried + 1} transactions")
        batches = {int(batch): (int(count), int(total)) for batch, count, total in
                   cluster.query("SELECT batch, count(*), sum(n) FROM bulk GROUP BY batch")}
        whole = (self.rows, self.rows * (self.rows + 1) // 2)
        for batch, counted in batches.items():
            check(counted == whole, f"batch {batch} is not whole: {counted}")
        if up_to_date:
            missing = set(self.bulk.acknowledged) - set(batches)
            check(not missing, f"acknowledged batches are missing: {sorted(missing)}")
        check(set(batches) <= set(range(self.bulk.tried + 1)), "batches that nobody wrote")
        check(sorted(batches) == list(range(len(batches))), f"a gap in the batches: {sorted(batches)}")
        verify_tables(cluster)


def verify_tables(cluster, tables=("points", "bulk"), database="postgres"):
    """Index and table agree; the extension's own check finds nothing."""
    with cluster.session(database) as session:
        if "points" in tables:
            by_scan = session.query("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;"
                                    "SELECT count(*), sum(id) FROM points WHERE id >= 0")
            by_index = session.query("RESET ALL; SET enable_seqscan = off; SELECT count(*), sum(id) FROM points WHERE id >= 0")
            check(by_scan == by_index, f"the index of points disagrees with the table: {by_index} {by_scan}")
        if session.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'") == "1" and "points" in tables:
            in_recovery = session.value("SELECT pg_is_in_recovery()") == "t"
            if not in_recovery:
                session.query("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS amcheck")
                session.query("SELECT bt_index_check('points_pkey', true)")
        if session.value("SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
                         " WHERE nspname = 'doris' AND proname = 'verify'") != "0":
            for table in tables:
                if session.value(f"SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = '{table}'::regclass") == "doris":
                    problems = session.query(f"SELECT * FROM doris.verify('{table}')")
                    check(not problems, f"doris.verify finds in {table}: {problems}")


def digest(cluster, table, database="postgres"):
    return cluster.query(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t", database)


def make_cluster(directory, options, settings="", **arguments):
    cluster = Cluster(directory / "primary", options.port).init("\n".join([settings, *options.set]), **arguments).start()
    options.clusters.append(cluster)
    create_tables(cluster, options.am)
    return cluster


def load_some(cluster, batches=3):
    with cluster.session() as session:
        for n in range(batches):
            write_batch()(session, n)
        for n in range(300):
            write_point(0)(session, n)


def let_it_run(options):
    time.sleep(options.seconds * (0.5 + options.random.random()))


# --- crashes ----------------------------------------------------------------------------------------------

def crash_rounds(options, directory, crash, settings=""):
    cluster = make_cluster(directory, options, settings)
    for _ in range(options.rounds):
        cluster.query("TRUNCATE points, bulk")
        load = Workload(cluster)
        let_it_run(options)
        crash(cluster)
        load.finish()
        cluster.start()
        load.verify(cluster)
        check(sum(len(writer.acknowledged) for writer in load.points) > 0, "the workload did nothing")


@scenario
def killed_server_has_what_it_acknowledged(options, directory):
    crash_rounds(options, directory, lambda cluster: cluster.kill())


@scenario
def killed_server_that_compacts_all_the_time_has_what_it_acknowledged(options, directory):
    if options.am != "doris":
        raise Skipped("a heap is not compacted")
    crash_rounds(options, directory, lambda cluster: cluster.kill(),
                 "doris.compaction_naptime = 1\ndoris.compaction_heap_rows = 200\ndoris.compaction_min_segments = 2")


@scenario
def immediate_shutdown_loses_nothing(options, directory):
    crash_rounds(options, directory, lambda cluster: cluster.stop("immediate"))


@scenario
def kill_during_recovery_is_harmless(options, directory):
    cluster = make_cluster(directory, options)
    load = Workload(cluster)
    let_it_run(options)
    cluster.kill()
    load.finish()
    # Replay is left half done: the server is killed as soon as it says that it has begun.
    for _ in range(2):
        run(cluster.bin / "pg_ctl", "-D", cluster.data, "-l", cluster.log, "-W",
            "-o", f"-k {cluster.socket} -p {cluster.port}", "start")
        time.sleep(0.2 * options.random.random() + 0.1)
        if cluster.pid():
            cluster.kill()
    cluster.start()
    load.verify(cluster)


@scenario
def open_transactions_leave_nothing_after_a_kill(options, directory):
    cluster = make_cluster(directory, options)
    load_some(cluster)
    before = digest(cluster, "points"), digest(cluster, "bulk")
    with cluster.session() as one, cluster.session() as two, cluster.session() as three:
        one.query("BEGIN; TRUNCATE points")
        two.query("BEGIN; DELETE FROM bulk WHERE n % 2 = 0; UPDATE bulk SET val = 'x' WHERE n % 2 = 1; SAVEPOINT s")
        write_batch()(two, 1000)
        three.query("CREATE TABLE kept (a int)")
        cluster.query("CHECKPOINT")
        cluster.kill()
    cluster.start()
    check((digest(cluster, "points"), digest(cluster, "bulk")) == before, "uncommitted changes are seen")
    verify_tables(cluster)


@scenario
def prepared_transaction_outlives_a_kill(options, directory):
    cluster = make_cluster(directory, options)
    with cluster.session() as session:
        session.query("BEGIN")
        write_batch()(session, 0)
        session.query("INSERT INTO points VALUES (1, 9, 1, 'prepared'); PREPARE TRANSACTION 'both'")
        session.query("BEGIN")
        write_batch()(session, 1)
        session.query("PREPARE TRANSACTION 'none'")
    cluster.kill()
    cluster.start()
    check(cluster.value("SELECT count(*) FROM bulk") == "0", "a prepared transaction is seen before it commits")
    cluster.query("COMMIT PREPARED 'both'; ROLLBACK PREPARED 'none'")
    cluster.kill()
    cluster.start()
    check(cluster.query("SELECT count(*), max(batch) FROM bulk") == [[str(BATCH_ROWS), "0"]], "bulk is wrong")
    check(cluster.value("SELECT val FROM points WHERE id = 1") == "prepared", "points is wrong")
    verify_tables(cluster)


@scenario
def unlogged_table_is_empty_after_a_kill(options, directory):
    cluster = make_cluster(directory, options)
    cluster.query(f"CREATE UNLOGGED TABLE passing (id int PRIMARY KEY, val text) USING {options.am};"
                  "INSERT INTO passing SELECT i, md5(i::text) FROM generate_series(1, 50000) i")
    cluster.query("CHECKPOINT")
    cluster.kill()
    cluster.start()
    check(cluster.value("SELECT count(*) FROM passing") == "0", "an unlogged table has rows after a crash")
    cluster.query("INSERT INTO passing SELECT i, md5(i::text) FROM generate_series(1, 50000) i")
    check(cluster.value("SELECT count(*) FROM passing WHERE id BETWEEN 1 AND 10") == "10", "an unlogged table is not usable")
    # After a clean stop it keeps its rows; after SET LOGGED a crash does not empty it.
    cluster.stop()
    cluster.start()
    check(cluster.value("SELECT count(*) FROM passing") == "50000", "an unlogged table lost rows at a clean stop")
    cluster.query("ALTER TABLE passing SET LOGGED")
    cluster.kill()
    cluster.start()
    check(cluster.value("SELECT count(*) FROM passing") == "50000", "SET LOGGED was not durable")


@scenario
def changes_of_storage_outlive_a_kill(options, directory):
    cluster = make_cluster(directory, options)
    load_some(cluster)
    server = harness.server_owned(directory / "space")
    cluster.query(f"CREATE TABLESPACE elsewhere LOCATION '{server}'")
    before = digest(cluster, "bulk"), digest(cluster, "points")
    for change in ("ALTER TABLE bulk SET TABLESPACE elsewhere", "VACUUM FULL points", "CLUSTER points USING points_pkey",
                   "REINDEX TABLE points", "VACUUM (FREEZE) bulk", "ALTER TABLE points SET TABLESPACE elsewhere",
                   "ALTER TABLE bulk SET TABLESPACE pg_default"):
        cluster.query(change)
        cluster.kill()
        cluster.start()
        check((digest(cluster, "bulk"), digest(cluster, "points")) == before, f"rows differ after {change}")
        verify_tables(cluster)


@scenario
def database_copy_has_the_rows(options, directory):
    cluster = make_cluster(directory, options)
    load_some(cluster)
    for strategy in ("wal_log", "file_copy"):
        cluster.query(f"CREATE DATABASE copy_{strategy} TEMPLATE postgres STRATEGY {strategy}", "template1")
    cluster.kill()
    cluster.start()
    for strategy in ("wal_log", "file_copy"):
        name = f"copy_{strategy}"
        check(digest(cluster, "bulk", name) == digest(cluster, "bulk"), f"{name} differs")
        cluster.query("INSERT INTO bulk (batch, n) VALUES (-1, -1)", name)
        verify_tables(cluster, database=name)


# --- copies of a server -----------------------------------------------------------------------------------

def make_standby(primary, directory, options, *arguments):
    standby = primary.backup(directory / "standby", options.port + 1, "-R", "-X", "stream", *arguments)
    standby.configure("hot_standby_feedback = on\nmax_standby_streaming_delay = -1")
    options.clusters.append(standby)
    return standby.start()


def catch_up(primary, standby):
    target = primary.value("SELECT pg_current_wal_flush_lsn()")
    deadline = time.monotonic() + harness.WAIT_SECONDS
    while standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") != "t":
        check(time.monotonic() < deadline, "the standby does not catch up")
        time.sleep(0.05)


@scenario
def standby_shows_what_the_primary_committed(options, directory):
    primary = make_cluster(directory, options)
    standby = make_standby(primary, directory, options)
    load = Workload(primary)
    maintain = Writer(primary, lambda session, n: (session.query("VACUUM points; VACUUM bulk"), time.sleep(0.2)))
    with standby.session() as reader:
        # One snapshot answers alike as long as it lives, whatever is written, vacuumed and reused meanwhile.
        # It is taken once the first rows have come over.
        while reader.value("SELECT count(*) FROM points") == "0":
            time.sleep(0.05)
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        question = "SELECT (SELECT count(*) FROM points), (SELECT sum(changed) FROM points), (SELECT count(*) FROM bulk)"
        first = reader.query(question)
        until = time.monotonic() + options.seconds * 2
        while time.monotonic() < until:
            check(reader.query(question) == first, "a snapshot on the standby changed")
            batches = standby.query("SELECT batch, count(*) FROM bulk GROUP BY batch")
            check(all(int(count) == BATCH_ROWS for _, count in batches), f"a torn batch on the standby: {batches}")
        reader.query("COMMIT")
    load.finish()
    maintain.finish()
    catch_up(primary, standby)
    for table in ("points", "bulk"):
        check(digest(primary, table) == digest(standby, table), f"{table} differs on the standby")
    verify_tables(standby)


@scenario
def promoted_standby_has_what_was_acknowledged(options, directory):
    primary = make_cluster(directory, options)
    standby = make_standby(primary, directory, options)
    primary.configure("synchronous_standby_names = '*'\nsynchronous_commit = remote_apply")
    primary.query("SELECT pg_reload_conf()")
    deadline = time.monotonic() + harness.WAIT_SECONDS
    while primary.value("SELECT coalesce(max(sync_state), '') FROM pg_stat_replication") != "sync":
        check(time.monotonic() < deadline, "the standby does not become synchronous")
        time.sleep(0.05)
    load = Workload(primary)
    let_it_run(options)
    primary.kill()
    load.finish()
    run(standby.bin / "pg_ctl", "-D", standby.data, "-t", harness.WAIT_SECONDS, "-w", "promote")
    load.verify(standby)
    # It goes on as a primary.
    standby.query("TRUNCATE points, bulk")
    load = Workload(standby)
    let_it_run(options)
    load.finish()
    load.verify(standby)


@scenario
def base_backup_under_load_is_whole(options, directory):
    primary = make_cluster(directory, options)
    load = Workload(primary)
    let_it_run(options)
    copy = primary.backup(directory / "copy", options.port + 1, "-X", "stream")
    let_it_run(options)
    load.finish()
    options.clusters.append(copy)
    copy.start()
    load.verify(copy, up_to_date=False)
    check(int(copy.value("SELECT count(*) FROM points")) > 0, "the backup is empty")


@scenario
def recovery_to_a_point_in_time_stops_there(options, directory):
    archive = harness.server_owned(directory / "archive")
    primary = make_cluster(directory, options, f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
    load_some(primary)
    copy = primary.backup(directory / "copy", options.port + 1, "-X", "none")
    with primary.session() as session:
        write_batch()(session, 3)
    wanted = digest(primary, "points"), digest(primary, "bulk")
    primary.query("SELECT pg_create_restore_point('wanted')")
    primary.query("DELETE FROM points; UPDATE bulk SET n = 0; TRUNCATE bulk")
    primary.query("SELECT pg_switch_wal()")
    primary.stop()
    copy.configure(f"archive_mode = off\nrestore_command = 'cp {archive}/%f %p'\nrecovery_target_name = 'wanted'\n"
                   "recovery_target_action = 'promote'")
    server_file(copy.data / "recovery.signal")
    options.clusters.append(copy)
    copy.start()
    deadline = time.monotonic() + harness.WAIT_SECONDS
    while copy.value("SELECT pg_is_in_recovery()") == "t":
        check(time.monotonic() < deadline, "recovery does not end")
        time.sleep(0.05)
    check((digest(copy, "points"), digest(copy, "bulk")) == wanted, "recovery stopped at another point")
    verify_tables(copy)


def server_file(path):
    path.touch()
    if harness.AS_SERVER:
        shutil.chown(path, "postgres", "postgres")


# --- dumps and upgrades -----------------------------------------------------------------------------------

@scenario
def dump_restores_to_equal_tables(options, directory):
    cluster = make_cluster(directory, options)
    load_some(cluster)
    cluster.query("CREATE INDEX bulk_price ON bulk (price); CREATE VIEW totals AS SELECT batch, sum(price) FROM bulk GROUP BY 1")
    connection = ["-h", cluster.socket, "-p", cluster.port, "-U", "postgres"]
    for kind, restore in (("custom", "pg_restore"), ("plain", "psql")):
        file = directory / f"dump.{kind}"
        run(cluster.bin / "pg_dump", *connection, "-F", kind[0], "-f", file, "postgres")
        cluster.query(f"CREATE DATABASE {kind} TEMPLATE template0")
        if restore == "psql":
            run(cluster.bin / "psql", *connection, "-Xq", "-v", "ON_ERROR_STOP=1", "-d", kind, "-f", file)
        else:
            run(cluster.bin / "pg_restore", *connection, "--exit-on-error", "-j", "2", "-d", kind, file)
        for table in ("points", "bulk", "totals"):
            check(digest(cluster, table, kind) == digest(cluster, table), f"{table} differs in {kind}")
        shape = "SELECT relname, amname, reloptions FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname IN ('points', 'bulk')" \
                " ORDER BY 1"
        check(cluster.query(shape, kind) == cluster.query(shape), f"access method or options differ in {kind}")
        verify_tables(cluster, database=kind)


@scenario
def upgraded_server_has_the_rows(options, directory):
    newer = os.environ.get("PG_DORIS_NEWER_BIN")
    if not newer:
        raise Skipped("no PostgreSQL 18 under target/ (PG=18 scripts/server.sh install makes it)")
    newer = Path(newer)
    library = Path(run(newer / "pg_config", "--pkglibdir").strip()) / "pg_doris.so"
    if options.am != "heap" and not library.exists():
        raise Skipped("PostgreSQL 18 is there without the extension")
    old = Cluster(directory / "primary", options.port).init(checksums=False, preload=library.exists()).start()
    options.clusters.append(old)
    create_tables(old, options.am)
    load_some(old)
    old.query("DELETE FROM bulk WHERE n % 10 = 0; UPDATE points SET val = 'changed' WHERE id % 7 = 0")
    old.query("CREATE INDEX bulk_n ON bulk (n)")
    before = digest(old, "points"), digest(old, "bulk")
    # Late minors of 15 mark columns with an option of their own, which an earlier minor of 18 refuses to restore.
    old.query("SET allow_system_table_mods = on; UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '%pg_attver%'")
    old.stop()
    new = Cluster(directory / "new", options.port + 1, newer)
    harness.server_owned(new.home)
    # 18 turns checksums on by default, the old cluster has none.
    run(newer / "initdb", "-D", new.data, "-U", "postgres", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-data-checksums")
    new.configure(harness.SETTINGS + ("shared_preload_libraries = 'pg_doris'\n" if library.exists() else ""))
    run(*harness.AS_SERVER, "sh", "-c", 'cd "$0" && exec "$@"', new.home, newer / "pg_upgrade", "-b", old.bin, "-B", newer,
        "-d", old.data, "-D", new.data, "-U", "postgres", "-s", new.home, as_server=False)
    options.clusters.append(new)
    new.start()
    check((digest(new, "points"), digest(new, "bulk")) == before, "rows differ after the upgrade")
    verify_tables(new)
    new.query("INSERT INTO bulk (batch, n) VALUES (-1, -1); UPDATE points SET val = 'again'; VACUUM points")
    verify_tables(new)


# --- damage -----------------------------------------------------------------------------------------------

def damage(cluster, relation, page=0):
    """Overwrites the middle of a page of a relation (stopped cluster), and returns the file."""
    path = cluster.data / relation
    with open(path, "r+b") as file:
        file.seek(page * 8192 + 4000)
        file.write(bytes([0xA5]) * 64)
    return path


@scenario
def damaged_page_is_an_error_and_no_crash(options, directory):
    cluster = make_cluster(directory, options)
    load_some(cluster)
    # Both places where rows may be: the relation's own file, and that of its TOAST relation.
    files = [row[0] for row in cluster.query(
        "SELECT pg_relation_filepath(r) FROM pg_class c, unnest(ARRAY[c.oid, c.reltoastrelid]) r"
        " WHERE c.relname = 'bulk' AND r <> 0 AND pg_relation_size(r) > 0")]
    check(files, "bulk has no file")
    cluster.stop()
    for file in files:
        pages = (cluster.data / file).stat().st_size // 8192
        damage(cluster, file, pages // 2)
    cluster.start()
    try:
        cluster.query("SELECT count(val), sum(n), sum(price) FROM bulk")
        raise AssertionError("a damaged table was read without an error")
    except Refused as refused:
        check(refused.state == "XX001", f"wrong error: {refused}")
    check(int(cluster.value("SELECT count(*) FROM points")) > 0, "another table cannot be read")
    check(not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")


# These register theirs after the ones above.
import compaction  # noqa: E402, F401
import crowd  # noqa: E402, F401
import damaged  # noqa: E402, F401
import empty  # noqa: E402, F401
import keyed  # noqa: E402, F401
import large  # noqa: E402, F401
import mirrors  # noqa: E402, F401
import mirror_faults  # noqa: E402, F401
import observers  # noqa: E402, F401
import sessions  # noqa: E402, F401
import short_memory  # noqa: E402, F401
import space  # noqa: E402, F401

# --- the runner -------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--am", default="doris")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long a load runs before something happens")
    parser.add_argument("--rounds", type=int, default=2, help="crashes per scenario")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--lines", type=int, default=300_000, help="rows of lineitem in crowd.py")
    parser.add_argument("--megabytes", type=int, default=10, help="size of the values in large.py")
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a server setting")
    parser.add_argument("--keep", action="store_true", help="keep the clusters of scenarios that pass")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    unknown = set(options.names) - {function.__name__ for function in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    if options.list:
        print("\n".join(function.__name__ for function in SCENARIOS))
        return 0
    options.random = random.Random(options.seed)
    print(f"# access method {options.am}, seed {options.seed}", flush=True)
    failed = 0
    for function in SCENARIOS:
        if options.names and function.__name__ not in options.names:
            continue
        failed += not run_one(function, options)
    return 1 if failed else 0


def run_one(function, options):
    name, start = function.__name__, time.monotonic()
    options.clusters = []
    directory = fresh(name)
    passed = True
    try:
        function(options, directory)
        for cluster in options.clusters:
            check(not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")
        print(f"ok - {name} ({time.monotonic() - start:.1f} s)", flush=True)
    except Skipped as reason:
        print(f"skip - {name}: {reason}", flush=True)
    except Exception:
        passed = False
        print(f"not ok - {name} ({time.monotonic() - start:.1f} s), see {directory}")
        print("    " + traceback.format_exc().replace("\n", "\n    "), flush=True)
    for cluster in options.clusters:
        cluster.stop("immediate")
    if passed and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
