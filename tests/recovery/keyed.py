# SPDX-License-Identifier: Apache-2.0
"""Tables with key models under faults and in copies: what they hold, and what they know beyond that (deleted keys that
keep their sequence, rows marked in bulk, where updated rows went), which later loads show.
"""
import os
from pathlib import Path

import harness
from compaction import Background, blocked, start
from harness import Cluster, Skipped, check, run, scenario, until

TABLES = ("u", "a", "p")


def make(prefix=""):
    return (f"CREATE TABLE {prefix}u (k int, v text, seq int, gone bool DEFAULT false) USING doris"
            " WITH (unique_key = 'k', sequence = 'seq', delete_sign = 'gone');"
            f"CREATE TABLE {prefix}a (k int, s bigint, top int, last text) USING doris"
            " WITH (aggregate_key = 'k', sum = 's', max = 'top', replace = 'last');"
            f"CREATE TABLE {prefix}p (k int PRIMARY KEY, v text, n int) USING doris WITH (unique_key = 'k', bloom_filter = 'v');"
            f"CREATE INDEX {prefix}p_n ON {prefix}p (n)")


def fill(prefix=""):
    """Statements that leave rows in the row store and in segments, deleted keys, bulk deletes and bulk updates."""
    u, a, p = (prefix + table for table in TABLES)
    return [
        "SET doris.rows_to_heap = 0; SET doris.bulk_delete_rows = 10",
        f"INSERT INTO {u} SELECT g, 'first', 5 FROM generate_series(1, 6000) g",
        f"INSERT INTO {a} SELECT g, 1, g % 10, 'first' FROM generate_series(1, 6000) g",
        f"INSERT INTO {p} SELECT g, 'first', g % 100 FROM generate_series(1, 6000) g",
        f"INSERT INTO {u} SELECT g, 'second', 3 + g % 2 * 4 FROM generate_series(3000, 9000) g",
        f"INSERT INTO {a} SELECT g, 10, g % 7, 'second' FROM generate_series(3000, 9000) g",
        f"INSERT INTO {p} SELECT g, 'second', g % 50 FROM generate_series(3000, 9000) g",
        f"CALL doris.compact('{p}', 'base')",
        f"INSERT INTO {u} SELECT g, '', 9, true FROM generate_series(100, 700) g",
        f"DELETE FROM {u} WHERE k BETWEEN 1000 AND 1500",
        f"DELETE FROM {a} WHERE k BETWEEN 1000 AND 1500",
        f"UPDATE {p} SET n = n + 1000 WHERE k % 2 = 0",
        f"DELETE FROM {p} WHERE k BETWEEN 4000 AND 5000",
        "SET doris.rows_to_heap = 100000",
        f"INSERT INTO {u} VALUES (1, 'single', 6, false), (2, '', 6, true), (8999, 'single', 8, false), (10001, 'new', 1, false)",
        f"INSERT INTO {a} VALUES (1, 100, 100, 'single'), (8999, 100, 1, 'single'), (10001, 1, 1, 'new')",
        f"INSERT INTO {p} VALUES (1, 'single', 1), (4500, 'back', 2), (10001, 'new', 3)",
    ]


def later(prefix=""):
    """Loads that show what is known of keys: older rows of deleted keys stay away, others replace or fold."""
    u, a, p = (prefix + table for table in TABLES)
    return [
        "SET doris.rows_to_heap = 100000",
        f"INSERT INTO {u} VALUES (2, 'late', 5), (150, 'late', 8), (151, 'late', 10), (1200, 'late', 4), (1201, 'late', 5)",
        f"INSERT INTO {a} VALUES (1, 1000, 0, 'late'), (1200, 7, 7, 'late')",
        f"INSERT INTO {p} VALUES (2, 'late', -1), (4501, 'late', -1)",
        "SET doris.rows_to_heap = 0",
        f"INSERT INTO {u} SELECT g, 'later', 6 + g % 4 FROM generate_series(1, 9500, 3) g",
        f"INSERT INTO {a} SELECT g, 3, 50, 'later' FROM generate_series(1, 9500, 3) g",
        f"INSERT INTO {p} SELECT g, 'later', g FROM generate_series(1, 9500, 3) g",
        f"UPDATE {p} SET n = -n WHERE k % 5 = 0",
        f"DELETE FROM {p} WHERE k % 11 = 0",
    ]


def execute(cluster, statements, database="postgres"):
    with cluster.session(database) as session:
        for statement in statements:
            session.query(statement)


def state(cluster, database="postgres", prefix=""):
    return [cluster.query(f"SELECT count(*), count(DISTINCT k), sum(hashtextextended(t::text, 0)::numeric) FROM {prefix}{table} t", database)
            for table in TABLES]


def sound(cluster, database="postgres", prefix=""):
    for table in TABLES:
        name = prefix + table
        problems = cluster.query(f"SELECT * FROM doris.verify('{name}')", database)
        check(not problems, f"doris.verify finds in {name}: {problems}")
        with cluster.session(database) as session:
            scanned = session.query(f"SELECT count(*), sum(k) FROM {name}")
            session.query("SET enable_seqscan = off; SET doris.enable_vectorization = off")
            keys = "ARRAY(SELECT generate_series(1, 11000))"
            looked_up = session.query(f"SELECT count(*), sum(k) FROM {name} WHERE k = ANY ({keys})")
            check(scanned == looked_up, f"keys of {name} disagree with its rows: {looked_up} {scanned}")


def expected_later(cluster):
    """What the loads of `later` come to, from a copy of the database as it is."""
    cluster.query("CREATE DATABASE expected TEMPLATE postgres", "template1")
    execute(cluster, later(), "expected")
    result = state(cluster, "expected")
    sound(cluster, "expected")
    cluster.query("DROP DATABASE expected", "template1")
    return result


def filled(directory, options, settings=""):
    cluster = start(directory, options, "doris.compaction = off\nautovacuum = off\n" + settings)
    cluster.query(make())
    execute(cluster, fill())
    return cluster


# Pause points, and a statement that comes by each.
POINTS = [
    ("searched", "SET doris.rows_to_heap = 0", "INSERT INTO {0}u SELECT g, 'load', 8 FROM generate_series(50, 7000) g"),
    ("searched", "SET doris.rows_to_heap = 0", "INSERT INTO {0}p SELECT g, 'load', 8 FROM generate_series(50, 7000) g"),
    ("prepared", "SET doris.rows_to_heap = 0", "INSERT INTO {0}a SELECT g, 5, 5, 'load' FROM generate_series(50, 7000) g"),
    ("prepared", "SET doris.rows_to_heap = 0", "INSERT INTO {0}u SELECT g, 'load', 8, g % 3 = 0 FROM generate_series(50, 7000) g"),
    ("entry", "SET doris.rows_to_heap = 100000", "INSERT INTO {0}u VALUES (1, '', 10, true)"),
    ("entry", "SET doris.rows_to_heap = 100000", "INSERT INTO {0}p VALUES (1, 'again', 10)"),
    ("deleted_ahead", "SET doris.bulk_delete_rows = 10", "DELETE FROM {0}u WHERE k BETWEEN 2000 AND 2900"),
    ("deleted_ahead", "SET doris.bulk_delete_rows = 10", "UPDATE {0}p SET n = n + 1 WHERE k BETWEEN 2000 AND 2900"),
]


@scenario
def keyed_loads_killed_at_any_point_leave_nothing_and_can_be_repeated(options, directory):
    cluster = filled(directory, options)
    cluster.query(make("twin_"))
    execute(cluster, fill("twin_"))
    check(state(cluster) == state(cluster, prefix="twin_"), "equal loads gave different tables")
    for point, setting, statement in POINTS:
        before = state(cluster)
        with cluster.session() as holder:
            holder.query("SELECT pg_advisory_lock(4711)")
            writer = Background(cluster, setting, f"SET doris.debug_pause = '{point}'", statement.format(""))
            until(lambda: blocked(cluster), f"a statement that waits at {point}: {statement}")
            check(state(cluster) == before, f"a statement at {point} changes what is read")
            cluster.query("CHECKPOINT")
            cluster.kill()
        writer.join()
        cluster.start()
        check(state(cluster) == before, f"a kill at {point} changed a table")
        sound(cluster)
        # All is written, but not committed.
        with cluster.session() as open_one:
            open_one.query("BEGIN")
            open_one.query(setting)
            open_one.query(statement.format(""))
            cluster.query("CHECKPOINT")
            cluster.kill()
        cluster.start()
        check(state(cluster) == before, f"a kill before the commit changed a table: {statement}")
        for prefix in ("", "twin_"):
            execute(cluster, [setting, statement.format(prefix)])
        check(state(cluster) == state(cluster, prefix="twin_"), f"a statement after a kill at {point} comes to something else")
        check(state(cluster) != before, f"a statement did nothing: {statement}")
    after = state(cluster)
    cluster.kill()
    cluster.start()
    check(state(cluster) == after, "what was committed is lost")
    for prefix in ("", "twin_"):
        execute(cluster, later(prefix))
    check(state(cluster) == state(cluster, prefix="twin_"), "later loads come to something else")
    sound(cluster)


# What prepared transactions have done, each to keys of its own: those with `k % 20` equal to its place, and 10 more, which
# are those of one that is rolled back.
PREPARED = [
    ["SET LOCAL doris.rows_to_heap = 0", "INSERT INTO {0}u SELECT g, 'prepared', 20 FROM generate_series({1} + 20, 9400, 20) g",
     "INSERT INTO {0}a SELECT g, 5, 50, 'prepared' FROM generate_series({1} + 20, 9400, 20) g", "INSERT INTO {0}p SELECT g, 'prepared', 7 FROM generate_series({1} + 20, 9400, 20) g"],
    ["SET LOCAL doris.rows_to_heap = 100000", "INSERT INTO {0}u SELECT g, 'prepared', 20 FROM generate_series({1} + 500, 9400, 500) g",
     "INSERT INTO {0}a SELECT g, 5, 50, 'prepared' FROM generate_series({1} + 500, 9400, 500) g", "INSERT INTO {0}p SELECT g, 'prepared', 7 FROM generate_series({1} + 500, 9400, 500) g"],
    ["DELETE FROM {0}u WHERE k % 20 = {1}", "DELETE FROM {0}a WHERE k IN ({1} + 20, {1} + 4000)", "DELETE FROM {0}p WHERE k % 20 = {1}"],
    ["UPDATE {0}u SET v = 'updated' WHERE k % 20 = {1}", "UPDATE {0}p SET n = -5 WHERE k % 20 = {1}"],
    ["SELECT count(*) FROM (SELECT 1 FROM {0}p WHERE k % 20 = {1} FOR UPDATE) x", "SELECT count(*) FROM (SELECT 1 FROM {0}u WHERE k % 20 = {1} FOR SHARE) x"],
]
OTHERS = [
    "SET doris.rows_to_heap = 0", "INSERT INTO {0}u SELECT g, 'other', 30 FROM generate_series(9, 9400, 10) g",
    "INSERT INTO {0}a SELECT g, 3, 60, 'other' FROM generate_series(9, 9400, 10) g", "INSERT INTO {0}p SELECT g, 'other', 8 FROM generate_series(9, 9400, 10) g",
    "SET doris.rows_to_heap = 100000", "INSERT INTO {0}u SELECT g, 'other', 30 FROM generate_series(8, 9400, 490) g",
    "INSERT INTO {0}a SELECT g, 3, 60, 'other' FROM generate_series(8, 9400, 490) g", "UPDATE {0}p SET n = n + 1 WHERE k % 10 = 7", "DELETE FROM {0}p WHERE k % 10 = 6",
]


def prepare(cluster, place, end, prefix=""):
    """Does what a place of PREPARED says, and prepares it, or ends it at once for the twins."""
    with cluster.session() as session:
        session.query("BEGIN")
        for statement in PREPARED[place % 10]:
            session.query(statement.format(prefix, place))
        session.query(end)


@scenario
def prepared_transactions_of_keyed_tables_hold_up_nobody_and_outlive_compactions_and_kills(options, directory):
    cluster = filled(directory, options)
    cluster.query(make("twin_"))
    execute(cluster, fill("twin_"))
    others = [statement.format("twin_") for statement in OTHERS]
    places = [place + more for place in range(len(PREPARED)) for more in (0, 10)]
    before = state(cluster)
    for place in places:
        prepare(cluster, place, f"PREPARE TRANSACTION 'place {place}'")

    def work():
        """Others write, compactions publish, VACUUM frees: none of them waits for what is prepared."""
        with cluster.session() as session:
            session.query("SET lock_timeout = '20s'")
            for statement in [*(text.format("") for text in OTHERS), *(f"CALL doris.compact('{table}')" for table in TABLES), "VACUUM"]:
                session.query(statement)

    check(state(cluster) == before, "what is prepared is seen")
    work()
    execute(cluster, others)
    check(state(cluster) == state(cluster, prefix="twin_"), "what is prepared is seen after a compaction")
    cluster.query("CHECKPOINT")
    for _ in range(2):
        cluster.kill()
        cluster.start()
        check(cluster.value("SELECT count(*) FROM pg_prepared_xacts") == str(len(places)), "a prepared transaction is lost")
        check(state(cluster) == state(cluster, prefix="twin_"), "what is prepared is seen after a kill")
        work()
        execute(cluster, others)
    # Rows that a prepared transaction has changed, deleted or locked are held after the restart, wherever they are by now.
    with cluster.session() as session:
        session.query("SET lock_timeout = '300ms'")
        for statement in ("UPDATE p SET v = v WHERE k = 20", "UPDATE p SET v = v WHERE k = 2002", "UPDATE p SET v = v WHERE k = 2004", "UPDATE u SET v = v WHERE k = 2024",
                          "INSERT INTO u VALUES (40, 'x', 90)", "INSERT INTO a VALUES (40, 1, 1, 'x')", "INSERT INTO p VALUES (1001, 'x', 1)"):
            try:
                session.query(statement)
                raise AssertionError(f"did not wait for a prepared transaction: {statement}")
            except harness.Refused as refused:
                check(refused.state == "55P03", f"{statement}: {refused}")
    for place in places:
        cluster.query(f"{'COMMIT' if place < 10 else 'ROLLBACK'} PREPARED 'place {place}'")
        prepare(cluster, place, "COMMIT" if place < 10 else "ROLLBACK", "twin_")
        if place == 10:
            work()
            execute(cluster, others)
    check(state(cluster) == state(cluster, prefix="twin_"), "what was prepared came to something else")
    cluster.kill()
    cluster.start()
    check(state(cluster) == state(cluster, prefix="twin_"), "the end of a prepared transaction is lost")
    # A full compaction forgets deleted keys.
    work()
    execute(cluster, others + [f"CALL doris.compact('twin_{table}')" for table in TABLES])
    for prefix in ("", "twin_"):
        execute(cluster, later(prefix))
    check(state(cluster) == state(cluster, prefix="twin_"), "later loads come to something else")
    sound(cluster)


@scenario
def a_promoted_standby_knows_what_its_primary_knew_of_keys(options, directory):
    primary = start(directory, options, "doris.compaction = off\nautovacuum = off")
    standby = primary.backup(directory / "standby", options.port + 1, "-R", "-X", "stream")
    options.clusters.append(standby)
    standby.start()
    primary.query(make())
    execute(primary, fill())
    # What an open transaction has marked when the primary dies is nothing.
    with primary.session() as session:
        session.query("BEGIN; SET LOCAL doris.bulk_delete_rows = 10; DELETE FROM p WHERE k > 7000; UPDATE p SET n = 0 WHERE k < 3000;"
                      "DELETE FROM u WHERE k > 7000")
        before = state(primary)
        target = primary.value("SELECT pg_current_wal_insert_lsn()")
        until(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") == "t", "the standby catches up")
        check(state(standby) == before, "the standby differs")
        sound(standby)
        primary.kill()
    run(standby.bin / "pg_ctl", "-D", standby.data, "-t", harness.WAIT_SECONDS, "-w", "promote")
    check(state(standby) == before, "promotion changed a table")
    execute(standby, later())
    sound(standby)
    primary.start()
    execute(primary, later())
    check(state(standby) == state(primary), "loads come to something else on the promoted standby")
    execute(standby, [f"CALL doris.compact('{table}')" for table in TABLES] + ["VACUUM"])
    check(state(standby) == state(primary), "compaction after promotion changed a table")
    sound(standby)


@scenario
def copies_of_keyed_tables_know_what_the_tables_knew(options, directory):
    """A base backup, recovery to a point in time, and CREATE DATABASE ... TEMPLATE."""
    archive = harness.server_owned(directory / "archive")
    cluster = filled(directory, options, f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
    before = state(cluster)
    for strategy in ("wal_log", "file_copy"):
        cluster.query(f"CREATE DATABASE copy_{strategy} TEMPLATE postgres STRATEGY {strategy}", "template1")
    cluster.kill()
    cluster.start()
    wanted = expected_later(cluster)
    for strategy in ("wal_log", "file_copy"):
        name = f"copy_{strategy}"
        check(state(cluster, name) == before, f"{name} differs")
        execute(cluster, later(), name)
        check(state(cluster, name) == wanted, f"loads come to something else in {name}")
        sound(cluster, name)
    backup = cluster.backup(directory / "backup", options.port + 1, "-X", "stream")
    to_point = cluster.backup(directory / "point", options.port + 2, "-X", "none")
    execute(cluster, ["BEGIN", "UPDATE p SET n = 7 WHERE k < 100", "COMMIT"])
    at_point = state(cluster)
    cluster.query("SELECT pg_create_restore_point('wanted')")
    execute(cluster, later())
    check(state(cluster) != at_point, "loads did nothing")
    cluster.query("TRUNCATE u")
    cluster.query("SELECT pg_switch_wal()")
    cluster.stop()
    options.clusters += [backup, to_point]
    backup.configure("archive_mode = off")
    backup.start()
    check(state(backup) == before, "the backup differs")
    execute(backup, later())
    check(state(backup) == wanted, "loads come to something else in the backup")
    sound(backup)
    backup.stop()
    to_point.configure(f"archive_mode = off\nrestore_command = 'cp {archive}/%f %p'\nrecovery_target_name = 'wanted'\n"
                       "recovery_target_action = 'promote'")
    signal = to_point.data / "recovery.signal"
    signal.touch()
    if harness.AS_SERVER:
        harness.shutil.chown(signal, "postgres", "postgres")
    to_point.start()
    until(lambda: to_point.value("SELECT pg_is_in_recovery()") == "f", "the end of recovery", harness.WAIT_SECONDS)
    check(state(to_point) == at_point, "recovery stopped at another point")
    wanted = expected_later(to_point)
    execute(to_point, later())
    check(state(to_point) == wanted, "loads come to something else after recovery")
    sound(to_point)


SHAPE = ("SELECT relname, relpersistence, amname, (SELECT array_agg(o ORDER BY o) FROM unnest(reloptions) o) FROM pg_class c "
         "JOIN pg_am a ON a.oid = relam WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")


@scenario
def dump_restores_options_key_models_and_their_rows(options, directory):
    cluster = filled(directory, options)
    cluster.query("CREATE TABLE log (at timestamptz, line text) USING doris WITH (compaction_policy = 'time_series', "
                  "time_series_compaction_file_count_threshold = 10, disable_auto_compaction = true, autovacuum_enabled = false);"
                  "CREATE TABLE sorted (a int, b text, c numeric) USING doris WITH (duplicate_key = 'a, b', bloom_filter = 'b');"
                  "CREATE TABLE parts (d int, k int, v text) PARTITION BY RANGE (d);"
                  "CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10) USING doris WITH (unique_key = 'd, k');"
                  "CREATE TABLE counts (day date, hits bigint, users doris.bitmap, ms doris.agg_state('stddev(double precision)')) USING doris "
                  "WITH (aggregate_key = 'day', sum = 'hits', bitmap_union = 'users', agg_state = 'ms');"
                  "CREATE TABLE codes (k char(8), v int) USING doris WITH (unique_key = 'k');"
                  "CREATE UNLOGGED TABLE passing (k int, v text) USING doris WITH (unique_key = 'k')")
    execute(cluster, [
        "INSERT INTO codes SELECT 'k' || g % 1000, g FROM generate_series(1, 5000) g",
        "INSERT INTO log SELECT '2024-01-01'::timestamptz + g * interval '1 s', 'line ' || g FROM generate_series(1, 5000) g",
        "INSERT INTO sorted SELECT g % 10, g::text, g / 7.0 FROM generate_series(1, 5000) g",
        "INSERT INTO parts SELECT g % 10, g % 500, g::text FROM generate_series(1, 5000) g",
        "INSERT INTO counts SELECT '2024-01-01'::date + g % 10, 1, doris.to_bitmap(g), doris.agg_state('stddev(double precision)', g::float8) "
        "FROM generate_series(1, 5000) g",
        "INSERT INTO passing SELECT g % 100, g::text FROM generate_series(1, 500) g",
    ])
    tables = ("log", "sorted", "parts", "counts", "passing", "codes")

    def rows(database):
        return [cluster.query(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t", database) for table in tables]
    connection = ["-h", cluster.socket, "-p", cluster.port, "-U", "postgres"]
    shape, before, others = cluster.query(SHAPE), state(cluster), rows("postgres")
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    for kind, restore in (("custom", "pg_restore"), ("plain", "psql")):
        file = directory / f"dump.{kind}"
        run(cluster.bin / "pg_dump", *connection, "-F", kind[0], "-f", file, "postgres")
        cluster.query(f"CREATE DATABASE {kind} TEMPLATE template0")
        if restore == "psql":
            run(cluster.bin / "psql", *connection, "-Xq", "-v", "ON_ERROR_STOP=1", "-d", kind, "-f", file)
        else:
            run(cluster.bin / "pg_restore", *connection, "--exit-on-error", "-j", "2", "-d", kind, file)
        check(cluster.query(SHAPE, kind) == shape, f"options differ in {kind}: {cluster.query(SHAPE, kind)} {shape}")
        check(cluster.query(indexes, kind) == cluster.query(indexes), f"indexes differ in {kind}")
        check(state(cluster, kind) == before, f"keyed tables differ in {kind}")
        check(rows(kind) == others, f"other tables differ in {kind}")
        sound(cluster, kind)
        # The models hold: an upsert replaces and folds. (What is remembered of deleted keys is no part of a dump.)
        execute(cluster, ["INSERT INTO a VALUES (1, 5, 5, 'more')", "INSERT INTO p VALUES (1, 'more', 5)", "INSERT INTO u VALUES (1, 'older', 2)",
                          "INSERT INTO parts VALUES (1, 1, 'more')", "INSERT INTO counts VALUES ('2024-01-01', 1, NULL, NULL)",
                          "INSERT INTO codes VALUES ('k1    ', 0)"], kind)
        check(state(cluster, kind)[1] != before[1] and [row[0][:2] for row in state(cluster, kind)] == [row[0][:2] for row in before],
              f"a key has two rows in {kind}")
        check(state(cluster, kind)[0] == before[0], f"an older row replaced a newer one in {kind}")
        check(cluster.value("SELECT count(*) FROM parts", kind) == others[2][0][0], f"a key of a partition has two rows in {kind}")
        check(cluster.value("SELECT count(*) FROM codes", kind) == others[5][0][0], f"a key of blank-padded text has two rows in {kind}")


@scenario
def upgraded_server_knows_what_the_old_one_knew_of_keys(options, directory):
    newer = os.environ.get("PG_DORIS_NEWER_BIN")
    if not newer:
        raise Skipped("no PostgreSQL 18 under target/ (PG=18 scripts/server.sh install makes it)")
    newer = Path(newer)
    if not (Path(run(newer / "pg_config", "--pkglibdir").strip()) / "pg_doris.so").exists():
        raise Skipped("PostgreSQL 18 is there without the extension")
    old = Cluster(directory / "primary", options.port)
    old.init("doris.compaction = off\nautovacuum = off", checksums=False).start()
    options.clusters.append(old)
    old.query("CREATE EXTENSION pg_doris")
    old.query(make())
    execute(old, fill())
    before = state(old)
    wanted = expected_later(old)
    # Late minors of 15 mark columns with an option of their own, which an earlier minor of 18 refuses to restore.
    old.query("SET allow_system_table_mods = on; UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '%pg_attver%'")
    shape = old.query(SHAPE)
    old.stop()
    new = Cluster(directory / "new", options.port + 1, newer)
    harness.server_owned(new.home)
    # 18 turns checksums on by default, the old cluster has none.
    run(newer / "initdb", "-D", new.data, "-U", "postgres", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-data-checksums")
    new.configure(harness.SETTINGS + "shared_preload_libraries = 'pg_doris'\ndoris.compaction = off\nautovacuum = off\n")
    run(*harness.AS_SERVER, "sh", "-c", 'cd "$0" && exec "$@"', new.home, newer / "pg_upgrade", "-b", old.bin, "-B", newer,
        "-d", old.data, "-D", new.data, "-U", "postgres", "-s", new.home, as_server=False)
    options.clusters.append(new)
    new.start()
    check(new.query(SHAPE) == shape, "options differ after the upgrade")
    check(state(new) == before, "rows differ after the upgrade")
    sound(new)
    execute(new, later())
    check(state(new) == wanted, "loads come to something else after the upgrade")
    execute(new, [f"CALL doris.compact('{table}')" for table in TABLES] + ["VACUUM"])
    check(state(new) == wanted, "compaction after the upgrade changed a table")
    sound(new)
