# SPDX-License-Identifier: Apache-2.0
"""Mirrors under faults, as scenarios of the recovery suite: short forms of cdc.py, and what a source on another server
adds: its restart, its loss of a slot, its silence, native subscriptions beside it.
"""
import random
import time
import types

import cdc
from harness import Cluster, Refused, Writer, check, scenario, until


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
