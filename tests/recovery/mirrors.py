# SPDX-License-Identifier: Apache-2.0
"""Mirrors under faults, as scenarios of the recovery suite: short forms of cdc.py, and what a source on another server
adds: its restart, its loss of a slot, its silence, native subscriptions beside it.
"""
import random
import time
import types

import cdc
from harness import Cluster, Refused, Skipped, Writer, check, scenario, until


def start(directory, options, name, port, settings=""):
    cluster = Cluster(directory / name, port)
    cluster.init("\n".join(["max_worker_processes = 16", settings, *options.set])).start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    return cluster


def conninfo(cluster, database="postgres"):
    return f"host={cluster.socket} port={cluster.port} user=postgres dbname={database}"


def wait_for(cluster, sync, seconds=60):
    try:
        cluster.query(f"SELECT doris.wait_for_sync('{sync}', timeout => '{seconds} s')")
    except Refused as error:
        state = cluster.query("SELECT state, last_error FROM doris.syncs UNION ALL "
                              "SELECT source || ' ' || state, last_error FROM doris.sync_tables")
        raise AssertionError(f"{error}\n{state}") from None


def wait_for_others(cluster, sync, paused):
    """Waits for a sync of which these mirrors are paused: that is an error, once the others are in step."""
    try:
        cluster.query(f"SELECT doris.wait_for_sync('{sync}', timeout => '60 s')")
    except Refused as error:
        told = "paused" in str(error) and all(f'"{name}"' in str(error) for name in paused)
        check(told, f"another error: {error}")
        return
    raise AssertionError(f"mirrors of {paused} are paused, and the sync was waited for")


def same(source, mirror, pairs):
    """Each pair of tables, of two servers, holds the same rows."""
    for here, there in pairs:
        columns = source.value("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
                               f"WHERE attrelid = '{here}'::regclass AND attnum > 0 AND NOT attisdropped")
        ask = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')), count(*) FROM (SELECT {} FROM {}) t"
        left, right = source.query(ask.format(columns, here)), mirror.query(ask.format(columns, there))
        check(left == right, f"{here} and {there} differ: {left} {right}")


@scenario
def mirrors_equal_their_sources_after_workers_and_servers_are_killed(options, directory):
    settings = types.SimpleNamespace(am=options.am, writers=3, seconds=options.seconds * 4, clusters=options.clusters)
    cdc.round_of_faults(directory / "primary", options.port, settings, options.random.randrange(10**6))


@scenario
def mirrors_equal_their_sources_where_transactions_are_streamed(options, directory):
    settings = types.SimpleNamespace(am=options.am, writers=3, seconds=options.seconds * 4, clusters=options.clusters,
                                     settings="logical_decoding_work_mem = 64kB\n")
    cdc.round_of_faults(directory / "primary", options.port, settings, options.random.randrange(10**6))


@scenario
def open_transactions_larger_than_memory_arrive_once(options, directory):
    """Streamed while they are open: with subtransactions that are rolled back, sessions that die, and workers that do."""
    cluster = start(directory, options, "primary", options.port, "logical_decoding_work_mem = 64kB")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, v text, n int); CREATE TABLE u (id int PRIMARY KEY, v text)")
    for table in ("t", "u"):
        cluster.query(f"SELECT doris.sync_table('{table}', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(cluster, "main")
    sessions = [cluster.session() for _ in range(4)]
    for n, session in enumerate(sessions):
        session.query("BEGIN")
        for part in range(4):
            first = n * 100000 + part * 5000
            session.query(f"INSERT INTO t SELECT {first} + i, repeat('x', 50), 0 FROM generate_series(1, 3000) i")
            session.query("SAVEPOINT a")
            session.query(f"UPDATE t SET v = 'rolled back', n = -1 WHERE id BETWEEN {first} AND {first + 1500}")
            session.query(f"INSERT INTO u SELECT {first} + i, 'lost' FROM generate_series(1, 2000) i")
            session.query("SAVEPOINT b; DELETE FROM t WHERE n = -1; RELEASE b; ROLLBACK TO a")
            session.query(f"UPDATE t SET n = n + {part} WHERE id BETWEEN {first} AND {first + 700}; RELEASE a")
    until(lambda: cluster.value("SELECT stream_count > 0 FROM pg_stat_replication_slots") == "t", "streaming")
    check(cluster.value("SELECT count(*) FROM t_mirror") == "0", "something is visible before its commit")
    cluster.query("INSERT INTO u VALUES (1, 'beside them')")
    wait_for(cluster, "main")
    check(cluster.value("SELECT count(*) FROM u_mirror") == "1", "small transactions wait for large ones")
    sessions[0].query("COMMIT")
    wait_for(cluster, "main")
    same(cluster, cluster, [("t", "t_mirror"), ("u", "u_mirror")])
    cdc.stop_worker(cluster, options.random)
    sessions[1].query("ROLLBACK")
    pid = sessions[2].value("SELECT pg_backend_pid()")
    cluster.query(f"SELECT pg_terminate_backend({pid})")
    sessions[3].query("ALTER TABLE t ADD COLUMN late int DEFAULT 3; UPDATE t SET late = 4 WHERE id % 2 = 0; COMMIT")
    wait_for(cluster, "main")
    same(cluster, cluster, [("t", "t_mirror"), ("u", "u_mirror")])
    for session in sessions:
        session.close()


@scenario
def mirrors_are_filled_beside_the_stream(options, directory):
    """An open transaction holds the copies up: what is live goes on, what is being copied misses nothing."""
    cluster = start(directory, options, "primary", options.port)
    cluster.query("CREATE TABLE live (id int PRIMARY KEY); CREATE TABLE other (id int)")
    cluster.query(f"SELECT doris.sync_table('live', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(cluster, "main")
    # A transaction of another database holds nothing up.
    cluster.query("CREATE DATABASE elsewhere")
    elsewhere = cluster.session("elsewhere")
    elsewhere.query("BEGIN; SELECT pg_current_xact_id()")
    cluster.query(f"CREATE TABLE quick (id int PRIMARY KEY); SELECT doris.sync_table('quick', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(cluster, "main")
    elsewhere.close()
    tables = ["big", "wide", "third"]
    for table in tables:
        cluster.query(f"CREATE TABLE {table} (id int PRIMARY KEY, v text, n int);"
                      f" INSERT INTO {table} SELECT i, 'first', 0 FROM generate_series(1, 20000) i")
    holder = cluster.session()
    holder.query("BEGIN; INSERT INTO other VALUES (1); INSERT INTO big VALUES (-1, 'open', 0)")
    for table in tables:
        cluster.query(f"SELECT doris.sync_table('{table}', options => '{{\"access_method\": \"{options.am}\"}}')")
    until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'doris copy'") == "2", "two copies at once")
    for n in range(1, 6):
        cluster.query(f"INSERT INTO live VALUES ({n})")
        for table in tables:
            cluster.query(f"UPDATE {table} SET n = {n}, v = 'changed' WHERE id % 10 = {n}; DELETE FROM {table} WHERE id BETWEEN {n * 100} AND {n * 100 + 9};"
                          f" INSERT INTO {table} VALUES ({n} + 100000, 'new', {n})")
    until(lambda: cluster.value("SELECT count(*) FROM live_mirror") == "5", "changes of a live table beside copies")
    cluster.query("TRUNCATE third; INSERT INTO third VALUES (7, 'after', 7)")
    cluster.query("ALTER TABLE wide ADD COLUMN added int DEFAULT 5; UPDATE wide SET added = 6 WHERE id < 50")
    cdc.stop_worker(cluster, options.random)
    until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'doris copy'") == "2", "new copies")
    cluster.query("UPDATE big SET v = 'put aside' WHERE id % 3 = 0; UPDATE big SET id = id + 500000 WHERE id % 5 = 0")
    holder.query("COMMIT")
    wait_for(cluster, "main")
    same(cluster, cluster, [(t, f"{t}_mirror") for t in tables + ["live"]])
    check(cluster.query("SELECT DISTINCT state FROM doris.sync_tables") == [["streaming"]], "a table does not stream")
    check(cluster.value("SELECT state FROM doris.syncs") == "streaming", "the sync does not stream")
    holder.close()


@scenario
def mirrors_of_another_server_survive_its_restarts_and_their_own(options, directory):
    rng = options.random
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1, "wal_receiver_timeout = 5s")
    source.query(cdc.TABLES)
    source.query("INSERT INTO items SELECT i, i, 'first', repeat('x', 5000) FROM generate_series(0, 200) i")
    writers = [Writer(source, cdc.write(rng.randrange(10**6))) for _ in range(2)]
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{{\"access_method\": \"{options.am}\"}}')")
    until_seconds = time.monotonic() + options.seconds * 4
    while time.monotonic() < until_seconds:
        time.sleep(rng.uniform(0.3, 1.0))
        fault = rng.choice(["worker", "receiver", "cut", "mirror", "source"])
        if fault in ("worker", "receiver"):
            kind = "doris sync" if fault == "worker" else "doris receiver"
            mirror.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '{kind}'")
        elif fault == "cut":
            source.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'")
        elif fault == "mirror":
            mirror.kill()
            mirror.start()
        else:
            source.kill()
            cdc.finish(writers)
            source.start()
            writers = [Writer(source, cdc.write(rng.randrange(10**6))) for _ in range(2)]
    cdc.finish(writers)
    wait_for(mirror, "far")
    same(source, mirror, [(f"public.{t}", f"public.{t}") for t in cdc.SOURCES])
    paused = mirror.query("SELECT source, state, last_error FROM doris.sync_tables WHERE state NOT IN ('streaming', 'gone')")
    check(not paused, f"mirrors do not stream: {paused}")


@scenario
def a_lost_slot_is_told_and_a_resync_recovers(options, directory):
    source = start(directory, options, "source", options.port, "max_slot_wal_keep_size = 1MB\nmin_wal_size = 32MB")
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i")
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(mirror, "far")
    mirror.query("SELECT doris.pause_sync('far')")
    until(lambda: source.value("SELECT count(*) FROM pg_replication_slots WHERE active") == "0", "the slot's release")
    for n in range(5):
        source.query(f"INSERT INTO t SELECT {n + 1} * 1000 + i, repeat('x', 1000) FROM generate_series(1, 100) i; SELECT pg_switch_wal()")
    source.query("CHECKPOINT")
    until(lambda: source.value("SELECT wal_status FROM pg_replication_slots") == "lost", "the loss of the slot")
    mirror.query("SELECT doris.resume_sync('far')")
    until(lambda: mirror.value("SELECT state FROM doris.syncs") == "lost", "the state lost")
    check("has lost WAL" in mirror.value("SELECT last_error FROM doris.syncs"), "the reason is not told")
    mirror.query("SELECT doris.resync('far')")
    wait_for(mirror, "far")
    same(source, mirror, [("t", "t")])


@scenario
def a_sync_that_holds_back_too_much_wal_gives_up_its_slot(options, directory):
    cluster = start(directory, options, "primary", options.port, "doris.sync_retained_wal = 16MB")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
    cluster.query(f"SELECT doris.sync_table('t', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(cluster, "main")
    cluster.query("SELECT doris.pause_sync('main')")
    until(lambda: cluster.value("SELECT count(*) FROM pg_replication_slots WHERE active") == "0", "the slot's release")
    cluster.query("INSERT INTO t SELECT i, repeat('x', 1500) FROM generate_series(1, 15000) i")
    until(lambda: cluster.value("SELECT count(*) FROM pg_replication_slots") == "0", "the end of the slot")
    cluster.query("SELECT doris.resume_sync('main')")
    until(lambda: cluster.value("SELECT state FROM doris.syncs") == "lost", "the state lost")
    reason = cluster.value("SELECT last_error FROM doris.syncs")
    check("doris.sync_retained_wal" in reason, f"the reason is not told: {reason}")
    cluster.query("SELECT doris.resync('main')")
    wait_for(cluster, "main")
    same(cluster, cluster, [("t", "t_mirror")])


@scenario
def native_subscriptions_fill_and_follow_tables(options, directory):
    source = start(directory, options, "source", options.port)
    target = start(directory, options, "target", options.port + 1)
    plain = "(id int PRIMARY KEY, small int, txt text, big text)"
    source.query(f"CREATE TABLE keyed {plain}; CREATE TABLE logged (id int, v text); ALTER TABLE logged REPLICA IDENTITY FULL")
    source.query("INSERT INTO keyed SELECT i, i, 'first', repeat('x', 5000) FROM generate_series(1, 2000) i;"
                 " INSERT INTO logged SELECT i % 50, 'v' || i FROM generate_series(1, 2000) i")
    target.query(f"CREATE TABLE keyed {plain} USING {options.am}; CREATE TABLE logged (id int, v text) USING {options.am}")
    source.query("CREATE PUBLICATION p FOR TABLE keyed, logged")
    target.query(f"CREATE SUBSCRIPTION s CONNECTION '{conninfo(source)}' PUBLICATION p")
    rng = random.Random(options.random.random())
    for _ in range(60):
        key = rng.randrange(2200)
        source.query(rng.choice([
            f"UPDATE keyed SET small = small + 1 WHERE id BETWEEN {key} AND {key + 20}",
            f"UPDATE keyed SET id = id + 10000 WHERE id = {key}",
            f"DELETE FROM keyed WHERE id BETWEEN {key} AND {key + 5}",
            f"INSERT INTO keyed VALUES ({key}, 1, 'new', 'new') ON CONFLICT DO NOTHING",
            f"UPDATE logged SET v = 'changed' WHERE id = {key % 50}",
            f"DELETE FROM logged WHERE id = {key % 50} AND v = 'changed'",
            f"INSERT INTO logged VALUES ({key % 50}, 'new')",
        ]))
    lsn = source.value("SELECT pg_current_wal_lsn()")
    until(lambda: target.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == "0", "the copy")
    until(lambda: source.value(f"SELECT bool_and(confirmed_flush_lsn >= '{lsn}') FROM pg_replication_slots") == "t", "catching up")
    same(source, target, [("keyed", "keyed"), ("logged", "logged")])
    target.query("DROP SUBSCRIPTION s")


@scenario
def native_subscriptions_write_by_the_rules_of_key_models(options, directory):
    if options.am != "doris":
        raise Skipped("only doris tables have models")
    source = start(directory, options, "source", options.port)
    target = start(directory, options, "target", options.port + 1)
    source.query("CREATE TABLE latest (id int PRIMARY KEY, v text, n int); CREATE TABLE totals (k int, n bigint, seq serial PRIMARY KEY)")
    source.query("INSERT INTO latest SELECT i, repeat('x', 3000), i FROM generate_series(1, 3000) i;"
                 " INSERT INTO totals (k, n) SELECT i % 10, i FROM generate_series(1, 3000) i")
    target.query("CREATE TABLE latest (id int PRIMARY KEY, v text, n int) USING doris WITH (unique_key = 'id')")
    target.query("CREATE TABLE totals (k int, n bigint) USING doris WITH (aggregate_key = 'k', sum = 'n')")
    events = "CREATE TABLE events (at int, v text); ALTER TABLE events REPLICA IDENTITY FULL"
    source.query(f"{events}; INSERT INTO events SELECT i % 100, 'v' || i % 300 FROM generate_series(1, 3000) i")
    target.query(events.replace("text)", "text) USING doris WITH (duplicate_key = 'at')"))
    source.query("CREATE PUBLICATION events FOR TABLE events")
    source.query("CREATE PUBLICATION latest FOR TABLE latest; CREATE PUBLICATION totals FOR TABLE totals (k, n) WITH (publish = 'insert')")
    for name in ("latest", "totals", "events"):
        target.query(f"CREATE SUBSCRIPTION {name} CONNECTION '{conninfo(source)}' PUBLICATION {name}")
    source.query("UPDATE latest SET n = -n WHERE id % 3 = 0; DELETE FROM latest WHERE id % 7 = 0;"
                 " UPDATE latest SET id = id + 100000 WHERE id % 11 = 0; INSERT INTO latest SELECT i, 'new', 0 FROM generate_series(200000, 203000) i;"
                 " INSERT INTO totals (k, n) SELECT i % 20, i FROM generate_series(1, 3000) i;"
                 " UPDATE events SET v = 'changed' WHERE at < 3; DELETE FROM events WHERE v = 'v7'; INSERT INTO events VALUES (5, 'new'), (5, 'new')")
    lsn = source.value("SELECT pg_current_wal_lsn()")
    until(lambda: target.value("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == "0", "the copy")
    until(lambda: source.value(f"SELECT bool_and(confirmed_flush_lsn >= '{lsn}') FROM pg_replication_slots") == "t", "catching up")
    same(source, target, [("latest", "latest"), ("events", "events")])
    sums = "SELECT k, sum(n) FROM totals GROUP BY k ORDER BY k"
    check(source.query(sums) == target.query(sums), "the totals differ")
    for name in ("latest", "totals", "events"):
        target.query(f"DROP SUBSCRIPTION {name}")


@scenario
def a_transaction_larger_than_all_queues_arrives_from_another_server(options, directory):
    """While it is applied, for longer than the source waits for a sign of life, the stream is not given up."""
    source = start(directory, options, "source", options.port, "wal_sender_timeout = 2s")
    mirror = start(directory, options, "mirror", options.port + 1, "wal_receiver_timeout = 2s")
    source.query("CREATE TABLE t (id int PRIMARY KEY, v text, n int)")
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{{\"access_method\": \"{options.am}\"}}')")
    wait_for(mirror, "far")
    source.query("BEGIN; INSERT INTO t SELECT i, 'row ' || i, 0 FROM generate_series(1, 150000) i; SAVEPOINT s; DELETE FROM t;"
                 " ROLLBACK TO s; UPDATE t SET n = id WHERE id % 2 = 0; DELETE FROM t WHERE id % 10 = 1; COMMIT")
    # A reader's lock on the mirror's definition holds the worker up for longer than both patiences.
    with mirror.session() as session:
        session.query("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        source.query("UPDATE t SET n = n + 1")
        time.sleep(5)
        session.query("COMMIT")
    wait_for(mirror, "far")
    same(source, mirror, [("t", "t")])
    check(mirror.query("SELECT last_error FROM doris.syncs") == [[""]], "the stream was given up")


@scenario
def sources_written_anew_on_another_server_fill_their_mirrors_again(options, directory):
    """Seen by a role that owns the tables and nothing else, whether or not a change follows."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE ROLE shop LOGIN REPLICATION; GRANT CREATE ON DATABASE postgres TO shop; GRANT CREATE ON SCHEMA public TO shop")
    source.query("SET ROLE shop; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i;"
                 " CREATE TABLE p (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);"
                 " CREATE TABLE p_0 PARTITION OF p FOR VALUES IN (0); INSERT INTO p SELECT i, 0 FROM generate_series(1, 100) i")
    there = conninfo(source).replace("user=postgres", "user=shop")
    mirror.query(f"SELECT doris.create_sync('far', '{there}', options => '{{\"access_method\": \"{options.am}\"}}')")
    pairs = [("public.t", "public.t"), ("public.p", "public.p")]

    def filled(sql, table):
        copies = "SELECT copies FROM doris.sync_tables WHERE source LIKE '%{}\"'".format(table)
        before = int(mirror.value(copies))
        source.query(sql)
        wait_for(mirror, "far")
        same(source, mirror, pairs)
        return int(mirror.value(copies)) - before

    wait_for(mirror, "far")
    def caught_late(sql):
        """The same as when the mirror is up to date, or filled again: never other values."""
        mirror.query("SELECT doris.pause_sync('far')")
        source.query(sql + "; UPDATE t SET v = 11 WHERE id = 11")
        mirror.query("SELECT doris.resume_sync('far')")
        wait_for(mirror, "far")
        same(source, mirror, pairs)

    for sql in [
        "UPDATE t SET v = 1 WHERE id = 1; ALTER TABLE t RENAME v TO w; UPDATE t SET w = 2 WHERE id = 2; ALTER TABLE t RENAME w TO x;"
        " ALTER TABLE t ADD v int DEFAULT 3; UPDATE t SET x = 4 WHERE id = 4; ALTER TABLE t DROP v; ALTER TABLE t RENAME x TO v",
        "UPDATE t SET v = 5 WHERE id = 5; ALTER TABLE t DROP v; ALTER TABLE t ADD v int DEFAULT 6; UPDATE t SET v = 7 WHERE id = 7",
        "ALTER TABLE t ADD n int DEFAULT 8; UPDATE t SET n = 9 WHERE id = 9; ALTER TABLE t DROP n; UPDATE t SET v = 10 WHERE id = 10",
    ]:
        caught_late(sql)
    for sql, table, times in [
        ("ALTER TABLE t ALTER v TYPE int USING v + 1", "t", 1),
        ("ALTER TABLE t ALTER v TYPE int USING v + 1; UPDATE t SET v = 0 WHERE id < 10", "t", 1),
        ("ALTER TABLE t ADD COLUMN r float8 DEFAULT random()", "t", 1),
        ("VACUUM FULL t", "t", 0),
        ("TRUNCATE t; INSERT INTO t SELECT i, i, i FROM generate_series(1, 50) i", "t", 0),
        ("CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1, 1)", "p", 0),
        ("TRUNCATE p_0", "p", 1),
        ("SET ROLE shop; CREATE TABLE p_2 AS SELECT 1 AS id, 2 AS day; ALTER TABLE p_2 ALTER id SET NOT NULL, ALTER day SET NOT NULL;"
         " ALTER TABLE p ATTACH PARTITION p_2 FOR VALUES IN (2)", "p", 0),
        # What goes is deleted; what was empty when it came, as the sync's role on the source may see, brings nothing.
        ("DROP TABLE p_1", "p", 0),
        ("SET ROLE shop; CREATE TABLE p_3 (id int NOT NULL, day int NOT NULL); ALTER TABLE p ATTACH PARTITION p_3 FOR VALUES IN (3)", "p", 0),
        ("INSERT INTO p VALUES (1, 3)", "p", 0),
        ("BEGIN; CREATE TABLE p_4 PARTITION OF p FOR VALUES IN (4); INSERT INTO p SELECT i, 4 FROM generate_series(1, 50) i; DROP TABLE p_4; COMMIT", "p", 1),
        ("DROP TABLE p_3; DROP TABLE p_2", "p", 0),
    ]:
        found = filled(sql, table)
        check(found == times, f"filled {found} times, not {times}: {sql}")
    # Without anyone who waits for it.
    source.query("ALTER TABLE t ALTER v TYPE int USING v + 7")
    until(lambda: mirror.value("SELECT min(v) FROM t") == source.value("SELECT min(v) FROM t"), "the look of its own accord")


@scenario
def text_of_another_server_is_not_run_here(options, directory):
    """What its catalogue calls types, defaults and generated columns is data, whatever its superuser makes of it."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE TABLE types (id int PRIMARY KEY, v int); CREATE TABLE computed (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED);"
                 "CREATE TABLE plain (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO plain VALUES (1)")
    source.query("ALTER TABLE plain ADD COLUMN d text DEFAULT E'it''s \\\\ ; DROP TABLE plain; --'")
    run = "CREATE TABLE public.injected AS SELECT 1"
    source.query("CREATE FUNCTION public.real_type(oid, int) RETURNS text LANGUAGE internal STABLE AS 'format_type';"
                 "CREATE FUNCTION public.real_expr(pg_node_tree, oid) RETURNS text LANGUAGE internal STABLE STRICT AS 'pg_get_expr';"
                 "CREATE OR REPLACE FUNCTION pg_catalog.format_type(type_oid oid, typemod int) RETURNS text LANGUAGE sql STABLE AS "
                 f"$$ SELECT CASE WHEN pg_catalog.current_setting('evil.types', true) = 'on' THEN 'int4); {run}; --' ELSE public.real_type($1, $2) END $$;"
                 "CREATE OR REPLACE FUNCTION pg_catalog.pg_get_expr(pg_node_tree, oid) RETURNS text LANGUAGE sql STABLE AS "
                 f"$$ SELECT CASE WHEN $2::regclass::text ~ 'computed' THEN 'id) STORED); {run}; --' ELSE public.real_expr($1, $2) END $$")
    source.query("ALTER DATABASE postgres SET evil.types = 'on'")
    mirror.query(f"SELECT doris.create_sync('types', '{conninfo(source)}', tables => '{{types}}')")
    told = "SELECT state, last_error FROM doris.sync_tables WHERE sync = '{}'"
    until(lambda: mirror.query(told.format("types")), "the table")
    (state, why), = mirror.query(told.format("types"))
    check(state == "refused", f"types: {state} {why}")
    source.query("ALTER DATABASE postgres RESET evil.types")
    mirror.query("SELECT doris.drop_sync('types')")
    mirror.query(f"SELECT doris.create_sync('others', '{conninfo(source)}', tables => '{{computed, plain}}')")
    wait_for(mirror, "others")
    states = dict(row[:2] for row in mirror.query("SELECT source, state FROM doris.sync_tables WHERE sync = 'others'"))
    check(states == {'"public"."computed"': "refused", '"public"."plain"': "streaming"}, f"states {states}")
    source.query("ALTER TABLE plain ADD COLUMN e text DEFAULT E'it''s \\\\ ; DROP TABLE plain; --'; INSERT INTO plain VALUES (2)")
    wait_for(mirror, "others")
    same(source, mirror, [("public.plain", "public.plain")])
    check(mirror.value("SELECT to_regclass('public.injected') IS NULL") == "t", "a statement of the source's was run")
