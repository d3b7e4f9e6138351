# SPDX-License-Identifier: Apache-2.0
"""What can go wrong around a mirror, one scenario each: a full disk, a promoted standby, a cut network, a bad row, a
dropped target, nothing left to run with. No change is lost or comes twice, the view tells why, and it goes on when it can.
"""
import os
import socket
import subprocess
import threading
import time

import cdc
from harness import Refused, Skipped, check, run, scenario, server_owned, until
from mirrors import conninfo, same, start, wait_for, wait_for_others


def options_of(options):
    return f'{{"access_method": "{options.am}"}}'


def state(cluster):
    # psql says the same of its own connection when that is lost.
    return cluster.query("SELECT state, replace(regexp_replace(last_error, '\\s+', ' ', 'g'), 'server closed', 'source closed'),"
                         " retries FROM doris.syncs")[0]


def shows_no_error(cluster):
    """What stopped a sync is not shown any more when it goes on."""
    until(lambda: state(cluster) == ["streaming", "", "0"], "the end of the error", 30)


class Proxy:
    """A server's socket in another place, which can be cut, or stay connected and silent."""

    def __init__(self, cluster, directory):
        self.target = str(cluster.socket / f".s.PGSQL.{cluster.port}")
        self.directory, self.port = server_owned(directory), cluster.port
        self.silent = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        path = directory / f".s.PGSQL.{cluster.port}"
        self.listener.bind(str(path))
        os.chmod(path, 0o777)
        self.listener.listen()
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            self.pairs.append((client, server))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one, other):
        try:
            while data := one.recv(1 << 16):
                while self.silent.is_set():
                    time.sleep(0.05)
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for end in sum(pairs, ()):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def conninfo(self):
        return f"host={self.directory} port={self.port} user=postgres dbname=postgres"


@scenario
def a_network_that_is_cut_or_silent_loses_nothing(options, directory):
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1, "wal_receiver_timeout = 3s")
    source.query("CREATE TABLE t (id int PRIMARY KEY, v int)")
    proxy = Proxy(source, directory / "wire")
    mirror.query(f"SELECT doris.create_sync('far', '{proxy.conninfo()}', options => '{options_of(options)}')")
    wait_for(mirror, "far")
    for n in range(30):
        source.query(f"INSERT INTO t SELECT {n} * 100 + i, i FROM generate_series(1, 100) i; UPDATE t SET v = v + 1 WHERE id % 7 = {n % 7}")
        if n % 6 == 2:
            proxy.cut()
    proxy.silent.set()
    source.query("UPDATE t SET v = v + 1; DELETE FROM t WHERE id % 5 = 0")
    until(lambda: state(mirror)[0] == "failing" and any(why in state(mirror)[1] for why in ("nothing heard", "timeout")), "giving up a silent source")
    proxy.silent.clear()
    proxy.cut()
    wait_for(mirror, "far", 90)
    same(source, mirror, [("t", "t")])
    shows_no_error(mirror)


@scenario
def a_full_disk_is_waited_for(options, directory):
    room = server_owned(directory / "room")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=777", "tmpfs", str(room)], check=False).returncode:
        raise Skipped("a small file system cannot be mounted")
    try:
        cluster = start(directory, options, "primary", options.port)
        space = server_owned(room / "space")
        ballast = room / "ballast"
        ballast.write_bytes(b"x" * (26 << 20))
        cluster.query(f"CREATE TABLESPACE small LOCATION '{space}'")
        cluster.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
        cluster.query(f"CREATE TABLE t_mirror (id int PRIMARY KEY, v text) USING {options.am} TABLESPACE small")
        cluster.query("CREATE TABLE other (id int PRIMARY KEY)")
        cluster.query(f"SELECT doris.sync_table('t', options => '{options_of(options)}');"
                      f" SELECT doris.sync_table('other', options => '{options_of(options)}')")
        wait_for(cluster, "main")
        cluster.query("INSERT INTO t SELECT i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 10 + i % 2))"
                      " FROM generate_series(1, 60000) i; INSERT INTO other VALUES (1)")
        until(lambda: "No space left" in state(cluster)[1], "the full disk", 60)
        time.sleep(3)
        # Between two failures it tries.
        until(lambda: state(cluster)[0] == "failing", "the state that tells of a failure")
        shown = state(cluster)
        check(int(shown[2]) < 8, f"no back-off: {shown}")
        check(cluster.value("SELECT state FROM doris.sync_tables WHERE target = 't_mirror'::regclass") == "streaming", "the table was given up")
        ballast.unlink()
        wait_for(cluster, "main", 90)
        same(cluster, cluster, [("t", "t_mirror"), ("other", "other_mirror")])
        shows_no_error(cluster)
        cluster.stop("immediate")
    finally:
        subprocess.run(["umount", "-l", str(room)], check=False)


@scenario
def a_promoted_standby_is_told_from_its_primary(options, directory):
    """The standby misses what the mirror has seen: what it commits instead, at positions already passed, must arrive."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i")
    standby = source.backup(directory / "standby", options.port, "-R", "-X", "stream")
    options.clusters.append(standby)
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{options_of(options)}')")
    wait_for(mirror, "far")
    # Megabytes that the standby never sees.
    source.query("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1000, 6000) i")
    wait_for(mirror, "far")
    source.stop("immediate")
    standby.socket = source.socket
    standby.configure("primary_conninfo = ''")
    standby.start()
    run(standby.bin / "pg_ctl", "-D", standby.data, "-w", "promote")
    standby.query("INSERT INTO t SELECT i, 'other history' FROM generate_series(200, 300) i")
    until(lambda: state(mirror)[0] == "lost", "the state lost")
    check("is gone" in state(mirror)[1], f"the reason is not told: {state(mirror)}")
    mirror.query("SELECT doris.resync('far')")
    wait_for(mirror, "far")
    same(standby, mirror, [("t", "t")])
    standby.query("UPDATE t SET v = 'later' WHERE id < 50; DELETE FROM t WHERE id = 250")
    wait_for(mirror, "far")
    same(standby, mirror, [("t", "t")])


@scenario
def bad_rows_and_dropped_targets_stop_their_table_only(options, directory):
    cluster = start(directory, options, "primary", options.port)
    cluster.query("CREATE TABLE bad (id int PRIMARY KEY, v int); CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE good (id int PRIMARY KEY)")
    cluster.query(f"CREATE TABLE bad_mirror (id int PRIMARY KEY, v int CHECK (v < 100)) USING {options.am}")
    for table in ("bad", "gone", "good"):
        cluster.query(f"SELECT doris.sync_table('{table}', options => '{options_of(options)}')")
    wait_for(cluster, "main")
    # Of many transactions in a batch, the one that is to blame is told.
    cluster.query("SELECT doris.pause_sync('main')")
    cluster.query("INSERT INTO bad VALUES (3, 3)")
    with cluster.session() as session:
        session.query("BEGIN; INSERT INTO good VALUES (1); INSERT INTO bad VALUES (1, 1), (2, 1000)")
        wrong = session.value("SELECT txid_current()")
        session.query("COMMIT")
    cluster.query("INSERT INTO bad VALUES (4, 4); SELECT doris.resume_sync('main')")
    wait_for_others(cluster, "main", ["bad"])
    cluster.query("DROP TABLE gone_mirror")
    cluster.query("BEGIN; INSERT INTO good VALUES (2); INSERT INTO gone VALUES (1); COMMIT")
    wait_for_others(cluster, "main", ["bad", "gone"])
    tables = dict((row[0], row[1:]) for row in cluster.query("SELECT replace(source, '\"', ''), state, last_error FROM doris.sync_tables"))
    check(tables["public.bad"][0] == "paused" and "check constraint" in tables["public.bad"][1], f"not told: {tables}")
    check("contains (2, 1000)" in tables["public.bad"][1] and f"; in transaction {wrong} " in tables["public.bad"][1], f"the change is not told: {tables}")
    check(tables["public.gone"][0] == "paused" and "dropped" in tables["public.gone"][1], f"not told: {tables}")
    check(tables["public.good"][0] == "streaming", f"the good one stopped: {tables}")
    same(cluster, cluster, [("good", "good_mirror")])
    cluster.query("ALTER TABLE bad_mirror DROP CONSTRAINT bad_mirror_v_check; SELECT doris.resync('main', 'bad')")
    wait_for_others(cluster, "main", ["gone"])
    same(cluster, cluster, [("bad", "bad_mirror")])


@scenario
def a_commit_that_waits_for_a_standby_holds_no_mirror_up(options, directory):
    """It is decoded before others see it: what describes a table as it is known is not looked up in the catalogue."""
    cluster = start(directory, options, "primary", options.port)
    cluster.query("CREATE TABLE t (id int PRIMARY KEY)")
    cluster.query(f"SELECT doris.sync_table('t', options => '{options_of(options)}')")
    wait_for(cluster, "main")
    # The next worker has no description of the table yet.
    cluster.query("SELECT doris.pause_sync('main')")
    until(lambda: state(cluster)[0] == "paused", "the state paused")
    cluster.query("SELECT doris.resume_sync('main')")
    wait_for(cluster, "main")
    cluster.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    cluster.query("SELECT pg_reload_conf()")
    with cluster.session() as session:
        try:
            until(lambda: cluster.value("SHOW synchronous_standby_names") == "nobody", "the setting")
            session.process.stdin.write("INSERT INTO t VALUES (1);\n")
            session.process.stdin.flush()
            until(lambda: cluster.value("SELECT count(*) FROM t_mirror") == "1", "the change in the mirror", 30)
            check(cluster.value("SELECT count(*) FROM t") == "0", "the commit waited for nobody")
        finally:
            cluster.query("ALTER SYSTEM RESET synchronous_standby_names")
            cluster.query("SELECT pg_reload_conf()")
    wait_for(cluster, "main")
    same(cluster, cluster, [("t", "t_mirror")])


@scenario
def what_is_missing_to_run_is_told_and_waited_for(options, directory):
    cluster = start(directory, options, "primary", options.port, "max_replication_slots = 1")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    cluster.query("SELECT pg_create_physical_replication_slot('taken')")
    cluster.query(f"SELECT doris.sync_table('t', options => '{options_of(options)}')")
    until(lambda: "replication slots are in use" in state(cluster)[1], "the reason")
    time.sleep(3)
    check(int(state(cluster)[2]) < 6, f"no back-off: {state(cluster)}")
    cluster.query("SELECT pg_drop_replication_slot('taken')")
    wait_for(cluster, "main", 60)
    same(cluster, cluster, [("t", "t_mirror")])
    shows_no_error(cluster)
    # One for the logical replication launcher, one for ours, and one, for a sync that needs two.
    cluster.configure("max_worker_processes = 3")
    cluster.stop()
    cluster.start()
    cluster.query("INSERT INTO t VALUES (2)")
    until(lambda: "no background worker is free" in state(cluster)[1], "the reason")
    cluster.configure("max_worker_processes = 16")
    cluster.stop()
    cluster.start()
    wait_for(cluster, "main", 60)
    same(cluster, cluster, [("t", "t_mirror")])
    # More syncs than a server runs, whether or not the others can.
    more = "SELECT count(doris.create_sync('s' || i, 'host=/nowhere', options => '{\"connect\": false}')) FROM generate_series(%d, %d) i"
    # Those that another session has registered and not committed count, until it gives them up.
    with cluster.session() as session:
        session.query("BEGIN; " + more % (101, 140))
        try:
            cluster.query(more % (1, 62))
            check(False, "more syncs than can be run")
        except Refused as error:
            check("no more than 64 syncs" in str(error), f"another reason: {error}")
        session.query("ROLLBACK")
    cluster.query(more % (1, 62))
    for first, last in ((63, 64), (63, 63), (64, 64)):
        try:
            cluster.query(more % (first, last))
            check((first, last) == (63, 63), "a sync that cannot be run")
        except Refused as error:
            check("no more than 64 syncs" in str(error), f"another reason: {error}")
    cluster.query("INSERT INTO t VALUES (3)")
    wait_for(cluster, "main", 60)
    same(cluster, cluster, [("t", "t_mirror")])


@scenario
def a_source_without_logical_wal_is_told(options, directory):
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{options_of(options)}')")
    wait_for(mirror, "far")
    mirror.query("SELECT doris.pause_sync('far')")
    until(lambda: source.value("SELECT count(*) FROM pg_replication_slots WHERE active") == "0", "the slot's release")
    source.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    source.configure("wal_level = replica")
    source.stop()
    source.start()
    source.query("INSERT INTO t VALUES (2)")
    mirror.query("SELECT doris.resume_sync('far')")
    until(lambda: "wal_level = replica" in state(mirror)[1], "the reason")
    source.configure("wal_level = logical")
    source.stop()
    source.start()
    mirror.query("SELECT doris.pause_sync('far'); SELECT doris.resync('far'); SELECT doris.resume_sync('far')")
    wait_for(mirror, "far", 60)
    same(source, mirror, [("t", "t")])


@scenario
def prepared_transactions_arrive_when_they_are_committed(options, directory):
    cluster = start(directory, options, "primary", options.port)
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
    cluster.query(f"SELECT doris.sync_table('t', options => '{options_of(options)}')")
    wait_for(cluster, "main")
    cluster.query("BEGIN; INSERT INTO t SELECT i, 'kept' FROM generate_series(1, 5000) i; PREPARE TRANSACTION 'kept'")
    cluster.query("BEGIN; INSERT INTO t SELECT i, 'lost' FROM generate_series(6000, 6100) i; PREPARE TRANSACTION 'lost'")
    cluster.query("INSERT INTO t VALUES (5500, 'beside')")
    wait_for(cluster, "main")
    check(cluster.value("SELECT count(*) FROM t_mirror") == "1", "what is prepared is visible")
    cluster.kill()
    cluster.start()
    cluster.query("COMMIT PREPARED 'kept'")
    cluster.query("ROLLBACK PREPARED 'lost'")
    wait_for(cluster, "main")
    check(cluster.value("SELECT count(*) FROM t_mirror") == "5001", "what was committed is not there")
    same(cluster, cluster, [("t", "t_mirror")])


# A library that moves the time of day by the seconds that a file holds. The monotonic clock stays as it is.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static long moved(void) {
    static volatile long *offset;
    if (!offset) {
        int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
        void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (page == MAP_FAILED) abort();
        offset = page;
    }
    return *offset;
}
int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += moved();
    return result;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += moved();
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """The time of day of the clusters that are started while it lives."""

    def __init__(self, directory):
        server_owned(directory)
        (directory / "clock.c").write_text(CLOCK)
        self.library, self.offset = directory / "clock.so", directory / "offset"
        made = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(directory / "clock.c"), "-ldl"], check=False)
        if made.returncode:
            raise Skipped("there is no C compiler")
        self.set(0)
        os.chmod(self.offset, 0o644)

    def set(self, seconds):
        with open(self.offset, "r+b" if self.offset.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))

    def __enter__(self):
        os.environ.update(LD_PRELOAD=str(self.library), CLOCK_OFFSET=str(self.offset))

    def __exit__(self, *_):
        del os.environ["LD_PRELOAD"], os.environ["CLOCK_OFFSET"]


@scenario
def a_clock_that_jumps_delays_and_loses_nothing(options, directory):
    """Both ways, by more than any pause; with workers that fail, and copies, on either side of a jump."""
    try:
        clock = Clock(directory / "clock")
    except FileNotFoundError:
        raise Skipped("there is no C compiler") from None
    with clock:
        cluster = start(directory, options, "primary", options.port)
        far = start(directory, options, "far", options.port + 1)
    day = 86400
    check(cluster.value("SELECT abs(extract(epoch FROM clock_timestamp()) - %d) < 600" % time.time()) == "t", "the clock is off")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)")
    cluster.query(f"SELECT doris.sync_table('t', options => '{options_of(options)}')")
    far.query(f"SELECT doris.create_sync('far', '{conninfo(cluster)}', tables => '{{t}}', options => '{options_of(options)}')")
    wait_for(cluster, "main")
    wait_for(far, "far")
    seen = []
    for n, jump in enumerate([3 * day, -3 * day, 0, 400 * day, -400 * day, 0]):
        cluster.query(f"INSERT INTO t SELECT {n} * 1000 + i, 'before' FROM generate_series(1, 500) i")
        cdc.stop_worker(cluster, options.random)
        clock.set(jump)
        cluster.query(f"INSERT INTO t SELECT {n} * 1000 + i, 'after' FROM generate_series(501, 900) i; DELETE FROM t WHERE id % 11 = {n}")
        check(cluster.value(f"SELECT abs(extract(epoch FROM clock_timestamp()) - {time.time() + jump:.0f}) < 600") == "t", "the clock did not jump")
        if n == 2:
            cluster.query(f"INSERT INTO u VALUES (1, 'copied'); SELECT doris.sync_table('u', options => '{options_of(options)}')")
        for _ in range(5):
            for server in (cluster, far):
                seen += server.query("SELECT coalesce(lag_seconds, 0), coalesce(lag_bytes, 0) FROM doris.syncs")
        start_of_wait = time.monotonic()
        wait_for(cluster, "main", 30)
        wait_for(far, "far", 60)
        check(time.monotonic() - start_of_wait < 45, f"a jump by {jump} s delayed the mirrors")
        same(cluster, cluster, [("t", "t_mirror")])
        same(cluster, far, [("t", "t")])
    same(cluster, cluster, [("u", "u_mirror")])
    check(all(float(value) >= 0 for row in seen for value in row), f"a negative lag: {seen}")


@scenario
def a_sync_that_holds_back_too_much_wal_of_another_server_gives_up_its_slot(options, directory):
    """While it runs and is held up, and while it is paused; with a warning before."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1, "doris.sync_retained_wal = 32MB")
    source.query("CREATE TABLE t (id int PRIMARY KEY, v text)")
    mirror.query(f"SELECT doris.create_sync('far', '{conninfo(source)}', options => '{options_of(options)}')")
    wait_for(mirror, "far")
    with mirror.session() as session:
        session.query("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        source.query("INSERT INTO t SELECT i, repeat('x', 1500) FROM generate_series(1, 30000) i")
        # The worker waits for the lock; what ends it lets the next one look first.
        until(lambda: mirror.value("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0", "the worker's wait")
        mirror.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'doris sync'")
        until(lambda: source.value("SELECT count(*) FROM pg_replication_slots") == "0", "the end of the slot", 60)
        session.query("COMMIT")
    until(lambda: state(mirror)[0] == "lost", "the state lost")
    check("doris.sync_retained_wal" in state(mirror)[1], f"the reason is not told: {state(mirror)}")
    mirror.query("SELECT doris.resync('far')")
    wait_for(mirror, "far")
    same(source, mirror, [("t", "t")])
    mirror.query("SELECT doris.pause_sync('far')")
    until(lambda: source.value("SELECT count(*) FROM pg_replication_slots WHERE active") == "0", "the slot's release")
    source.query("UPDATE t SET v = v || 'y'")
    until(lambda: source.value("SELECT count(*) FROM pg_replication_slots") == "0", "the end of the paused sync's slot", 90)
    mirror.query("SELECT doris.resume_sync('far')")
    until(lambda: state(mirror)[0] == "lost", "the state lost")
    mirror.query("SELECT doris.resync('far')")
    wait_for(mirror, "far")
    same(source, mirror, [("t", "t")])
    check("and was dropped" in mirror.log.read_text(), "no warning of the slot's end")


@scenario
def a_copy_is_not_thinned_out_by_row_security(options, directory):
    """The source's policies hide rows from the role that copies, and not from the stream: that is an error."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1)
    source.query("CREATE ROLE reader LOGIN REPLICATION; CREATE TABLE t (id int PRIMARY KEY, v text);"
                 " INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i; GRANT SELECT ON t TO reader;"
                 " ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (id < 10); CREATE PUBLICATION p FOR TABLE t")
    there = conninfo(source).replace("user=postgres", "user=reader")
    mirror.query(f"SELECT doris.create_sync('far', '{there}', publication => 'p', options => '{options_of(options)}')")
    problem = "SELECT coalesce(string_agg(last_error, ' '), '') FROM doris.sync_tables"
    until(lambda: "row-level security" in mirror.value(problem), "the reason")
    source.query("ALTER ROLE reader BYPASSRLS")
    mirror.query("SELECT doris.resync('far', source) FROM doris.sync_tables")
    wait_for(mirror, "far")
    same(source, mirror, [("t", "t")])


@scenario
def a_password_is_shown_nowhere(options, directory):
    """Neither in views nor in activity, logs or errors, whether it is right or wrong."""
    source = start(directory, options, "source", options.port)
    mirror = start(directory, options, "mirror", options.port + 1, "log_min_error_statement = panic")
    source.query("CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'right-secret'; CREATE TABLE t (id int PRIMARY KEY)")
    hba = source.data / "pg_hba.conf"
    hba.write_text("local all shop scram-sha-256\nlocal replication shop scram-sha-256\n" + hba.read_text())
    source.query("SELECT pg_reload_conf()")
    for name, password in (("good", "right-secret"), ("bad", "wrong-secret")):
        there = conninfo(source).replace("user=postgres", f"user=shop password={password}")
        mirror.query(f"SELECT doris.create_sync('{name}', '{there}', target_schema => '{name}', options => '{{\"connect\": false}}')")
    wait_for(mirror, "good")
    until(lambda: mirror.value("SELECT last_error FROM doris.syncs WHERE name = 'bad'") != "", "the failure")
    found = mirror.query("SELECT 'syncs' FROM doris.syncs s WHERE s::text ~ 'secret' UNION ALL SELECT 'tables' FROM doris.sync_tables t WHERE t::text ~ 'secret'"
                         " UNION ALL SELECT 'activity ' || query FROM pg_stat_activity a WHERE a::text ~ 'secre[t]' AND pid <> pg_backend_pid()")
    check(found == [], f"shown in {found}")
    there = source.query("SELECT application_name FROM pg_stat_activity WHERE application_name ~ 'secret' UNION ALL SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ 'secret'")
    check(there == [], f"shown on the source in {there}")
    lines = [line for line in mirror.log.read_text().splitlines() if "secret" in line]
    check(not lines, f"logged: {lines[:3]}")
    check("password authentication failed" in mirror.value("SELECT last_error FROM doris.syncs WHERE name = 'bad'"), "the reason is not told")
