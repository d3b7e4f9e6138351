# SPDX-License-Identifier: Apache-2.0
"""Mirrors under faults: seeded writers change sources while workers and servers are killed; at quiescence every mirror
must equal its source row by row, and the sum over the accounts must hold in every snapshot of their mirror.

  tests/recovery/cdc.sh [--am heap|doris] [--seed N] [--seconds N] [--rounds N] [--writers N]
"""
import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import Cluster, Refused, ServerLost, Writer, fresh  # noqa: E402

TABLES = """
CREATE TABLE items (id int PRIMARY KEY, small int, txt text, big text, num numeric, at timestamptz, arr int[], js jsonb,
    twice int GENERATED ALWAYS AS (small * 2) STORED);
CREATE TABLE pairs (a int, v float8, b text, PRIMARY KEY (b, a));
CREATE TABLE nokey (id int, v text);
ALTER TABLE nokey REPLICA IDENTITY FULL;
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
CREATE TABLE beat (id int PRIMARY KEY, n int);
INSERT INTO beat VALUES (1, 0);
INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 50) i;
CREATE TABLE parts (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE shapes (id int PRIMARY KEY, a int, b int, w varchar(5));
CREATE TABLE bags (id int, a int, b int);
ALTER TABLE bags REPLICA IDENTITY FULL;
"""
SOURCES = ["items", "pairs", "nokey", "accounts", "parts", "beat", "shapes", "bags"]
# Tables that come and go, and join a sync by pattern.
JOINING = ["more_1", "more_2", "more_3"]
BIG = "(SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 120) i)"


def reshape(rng, table):
    """A change of a table's columns, or of rows by columns that may be there. Half of them fail, which does no harm."""
    one, other = rng.sample("abcd", 2)
    value, key = rng.randrange(1000), rng.randrange(100)
    return rng.choices([
        f"ALTER TABLE {table} ADD COLUMN {one} int DEFAULT {value}",
        f"ALTER TABLE {table} ADD COLUMN {one} bigint",
        f"ALTER TABLE {table} DROP COLUMN {one}",
        f"ALTER TABLE {table} DROP COLUMN {one}, ADD COLUMN {other} int DEFAULT {value}",
        f"ALTER TABLE {table} RENAME COLUMN {one} TO {other}",
        f"ALTER TABLE {table} RENAME COLUMN {one} TO e; ALTER TABLE {table} RENAME COLUMN {other} TO {one};"
        f" ALTER TABLE {table} RENAME COLUMN e TO {other}",
        f"ALTER TABLE {table} ALTER COLUMN {one} TYPE bigint",
        f"UPDATE {table} SET {one} = {value} WHERE id BETWEEN {key} AND {key + 10}",
        f"INSERT INTO {table} (id, {one}) VALUES ({key}, {value})",
    ], [2, 1, 1.5, 1, 2, 1, 0.5, 8, 6])[0]


def join(rng):
    """A table that comes, changes or goes."""
    table, key, text = rng.choice(JOINING), rng.randrange(100), f"'t{rng.randrange(10**6)}'"
    return rng.choices([
        f"CREATE TABLE {table} (id int PRIMARY KEY, v text); INSERT INTO {table} SELECT i, {text} FROM generate_series(1, 50) i",
        f"DROP TABLE {table}",
        f"DROP TABLE {table}; CREATE TABLE {table} (id int PRIMARY KEY, v text); INSERT INTO {table} VALUES ({key}, {text})",
        f"UPDATE {table} SET v = {text} WHERE id > {key}",
        f"DELETE FROM {table} WHERE id < {key}",
        f"INSERT INTO {table} VALUES ({key}, {text})",
    ], [2, 0.3, 0.3, 2, 1, 2])[0]


def change(rng):
    """One random statement."""
    key, other = rng.randrange(300), rng.randrange(300)
    small, text = rng.randrange(1000), f"'t{rng.randrange(10**6)}'"
    return rng.choices([
        f"INSERT INTO items VALUES ({key}, {small}, {text}, {BIG}, {small}.50, now(), ARRAY[{key}, NULL], '{{\"k\": {small}}}')"
        f" ON CONFLICT (id) DO UPDATE SET small = excluded.small",
        f"UPDATE items SET small = {small}, txt = {text} WHERE id = {key}",
        f"UPDATE items SET big = {BIG}, num = num * 1.10 WHERE id = {key}",
        f"UPDATE items SET id = {other} WHERE id = {key}",
        f"DELETE FROM items WHERE id = {key}",
        f"UPDATE items SET small = small + 1 WHERE id BETWEEN {key} AND {key + 20}",
        f"INSERT INTO pairs VALUES ({key}, {small} / 7.0, 'b{other % 5}') ON CONFLICT (b, a) DO UPDATE SET v = excluded.v",
        f"UPDATE pairs SET a = a + 1 WHERE a = {key}",
        f"DELETE FROM pairs WHERE a = {other}",
        f"INSERT INTO nokey VALUES ({key % 20}, {text})",
        f"DELETE FROM nokey WHERE id = {key % 20}",
        f"UPDATE nokey SET v = {text} WHERE id = {key % 20}",
        f"UPDATE accounts SET balance = balance + CASE id WHEN {key % 50 + 1} THEN 5 ELSE -5 END"
        f" WHERE id IN ({key % 50 + 1}, {(key + 1) % 50 + 1})",
        f"INSERT INTO parts VALUES ({key}, {other % 2}, {text}) ON CONFLICT (id, day) DO UPDATE SET v = excluded.v",
        f"UPDATE parts SET day = 1 - day WHERE id = {key}",
        f"TRUNCATE {rng.choice(['pairs', 'nokey', 'items'])}",
        f"UPDATE items SET txt = {text}, big = {BIG} WHERE id < {key}",
        # Values that the stream does not carry.
        "ALTER TABLE pairs ALTER v TYPE float8 USING v + 1",
        "ALTER TABLE accounts ALTER balance TYPE int USING balance",
        "ALTER TABLE parts ALTER v TYPE text USING v || '!'",
        f"TRUNCATE parts_{other % 2}",
        # Partitions that come and go, some of them unseen.
        "ALTER TABLE parts DETACH PARTITION parts_1; UPDATE parts_1 SET v = v || ' apart';"
        " ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1)",
        "DROP TABLE parts_1; CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)",
        f"CREATE TABLE parts_7 PARTITION OF parts FOR VALUES IN (7); INSERT INTO parts SELECT i, 7, {text} FROM generate_series(1, 20) i;"
        " DROP TABLE parts_7",
        f"CREATE TABLE parts_5 PARTITION OF parts FOR VALUES IN (5); INSERT INTO parts SELECT i, 5, {text} FROM generate_series(1, 20) i",
        "DROP TABLE IF EXISTS parts_5",
    ], [8, 8, 4, 4, 4, 2, 6, 4, 2, 3, 2, 2, 6, 4, 3, 0.3, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3])[0]


def transaction(rng):
    kind = rng.random()
    if kind < 0.15:
        # By themselves, as many fail.
        table = rng.choice(["shapes", "shapes", "bags"])
        return "BEGIN; " + "; ".join(reshape(rng, table) for _ in range(rng.randrange(1, 4))) + "; COMMIT"
    if kind < 0.2:
        return "BEGIN; " + "; ".join(join(rng) for _ in range(rng.randrange(1, 3))) + "; COMMIT"
    statements = []
    for _ in range(rng.randrange(1, 6)):
        statements.append(change(rng))
        if rng.random() < 0.2:
            undone = "; ".join(change(rng) for _ in range(rng.randrange(1, 3)))
            statements.append(f"SAVEPOINT s; {undone}; ROLLBACK TO s")
    end = "ROLLBACK" if rng.random() < 0.1 else "COMMIT"
    if rng.random() < 0.05:
        name = f"'p{rng.randrange(10**9)}'"
        end = f"PREPARE TRANSACTION {name}; {end} PREPARED {name}"
    return "BEGIN; " + "; ".join(statements) + "; " + end


def write(seed):
    rng = random.Random(seed)

    def step(session, _n):
        try:
            session.query(transaction(rng))
        except Refused:
            session.query("ROLLBACK")
    return step


def watch(session, _n):
    total = session.value("SELECT coalesce(sum(balance), 5000) FROM accounts_mirror")
    if total != "5000":
        raise AssertionError(f"a reader of the mirror saw a sum of {total}")
    time.sleep(0.01)


ANSWERS = {"mirrors": 0, "heap": 0}


def read_own(session, n):
    """With mirrors that answer for their originals: a session sees what it wrote, and sums hold, whoever answers."""
    if n == 0:
        session.query("SET doris.use_mirrors = on")
    value = session.value("UPDATE beat SET n = n + 1 RETURNING n")
    seen = session.value("SELECT n FROM beat")
    if seen != value:
        raise AssertionError(f"a session wrote {value} and read {seen}")
    time.sleep(0.001 * (n % 50))
    value, total = session.query("SELECT n, (SELECT sum(balance) FROM accounts) FROM beat")[0]
    if value != seen or total != "5000":
        raise AssertionError(f"a session wrote {seen} and read {value}, with a sum of {total}")
    if n % 10 == 0:
        plan = session.query("EXPLAIN (COSTS OFF) SELECT n FROM beat")
        ANSWERS["mirrors" if "Answered by: mirrors" in plan[1][0] else "heap"] += 1
    time.sleep(0.02)


def stop_worker(cluster, rng):
    kind = rng.choice(["doris sync", "doris decoder"])
    cluster.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = '{kind}'")


def end_prepared(cluster, rng):
    """Those that a killed server has left."""
    for [name] in cluster.query("SELECT gid FROM pg_prepared_xacts"):
        cluster.query(f"{rng.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{name}'")


def differences(cluster):
    out = {}
    joined = cluster.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname = ANY ('{%s}')" % ",".join(JOINING))
    for source in SOURCES + [row[0] for row in joined]:
        columns = cluster.value("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
                                f"WHERE attrelid = '{source}'::regclass AND attnum > 0 AND NOT attisdropped")
        rows = cluster.query(f"""(SELECT 'missing', s.* FROM (SELECT {columns} FROM {source} EXCEPT ALL SELECT {columns} FROM {source}_mirror) s)
            UNION ALL (SELECT 'extra', s.* FROM (SELECT {columns} FROM {source}_mirror EXCEPT ALL SELECT {columns} FROM {source}) s)""")
        if rows:
            out[source] = [str(row)[:200] for row in rows[:5]] + [f"{len(rows)} rows"]
    return out


def wait_for_mirrors(cluster):
    try:
        cluster.query("SELECT doris.wait_for_sync('main', timeout => '90 s')")
        cluster.query("SELECT doris.wait_for_sync('joining', timeout => '90 s')")
    except Refused as error:
        state = cluster.query("SELECT state, last_error FROM doris.syncs UNION ALL "
                              "SELECT source || ' ' || state, last_error FROM doris.sync_tables")
        raise AssertionError(f"{error}\n{state}") from None


def register(cluster, source, am):
    """Registers a mirror; DDL that runs meanwhile may want the same locks in another order."""
    for _ in range(20):
        try:
            cluster.query(f"SELECT doris.sync_table('{source}', options => '{{\"access_method\": \"{am}\"}}')")
            return
        except Refused as error:
            if error.state != "40P01":
                raise
    raise AssertionError(f"{source} met a deadlock each time")


def round_of_faults(directory, port, options, seed):
    rng = random.Random(seed)
    cluster = Cluster(directory, port).init("max_worker_processes = 16\n" + getattr(options, "settings", "")).start()
    getattr(options, "clusters", []).append(cluster)
    try:
        cluster.query("CREATE EXTENSION pg_doris;" + TABLES)
        cluster.query("INSERT INTO items SELECT i, i, 'first', repeat('x', 5000) FROM generate_series(0, 200) i")
        writers = [Writer(cluster, write(seed * 100 + w)) for w in range(options.writers)]
        for source in SOURCES:
            register(cluster, source, options.am)
        cluster.query("SELECT doris.create_sync('joining', tables => '{more_?}', options => '{\"access_method\": \"%s\"}')" % options.am)
        kills = stops = written = 0
        until = time.monotonic() + options.seconds
        readers = [Writer(cluster, watch), Writer(cluster, read_own)]
        while time.monotonic() < until:
            time.sleep(rng.uniform(0.2, 1.5))
            if rng.random() < 0.2:
                cluster.query(f"SELECT doris.resync('main', '{rng.choice(SOURCES)}')")
                continue
            if rng.random() < 0.1:
                # What happens meanwhile is seen late.
                cluster.query("SELECT doris.pause_sync('main')")
                time.sleep(rng.uniform(0.1, 1))
                cluster.query("SELECT doris.resume_sync('main')")
                continue
            if rng.random() < 0.75:
                stop_worker(cluster, rng)
                stops += 1
                continue
            cluster.kill()
            kills += 1
            finish(writers + readers)
            written += sum(len(w.acknowledged) for w in writers)
            cluster.start()
            end_prepared(cluster, rng)
            writers = [Writer(cluster, write(rng.randrange(10**9))) for _ in range(options.writers)]
            readers = [Writer(cluster, watch), Writer(cluster, read_own)]
        written += sum(len(w.acknowledged) for w in writers)
        finish(writers + readers)
        end_prepared(cluster, rng)
        wait_for_mirrors(cluster)
        wrong = differences(cluster)
        if wrong:
            raise AssertionError(f"mirrors differ: {wrong}")
        if cluster.crash_messages() and not kills:
            raise AssertionError(f"crashed: {cluster.crash_messages()[:3]}")
        paused = cluster.query("SELECT source, state, last_error FROM doris.sync_tables WHERE state NOT IN ('streaming', 'gone')")
        if paused:
            raise AssertionError(f"mirrors do not stream: {paused}")
        applied = cluster.query("SELECT name, rows_applied, retries FROM doris.syncs ORDER BY name")
        if not ANSWERS["mirrors"]:
            raise AssertionError("mirrors have answered nothing")
        print(f"# answers: {ANSWERS}")
        print(f"# seed {seed}: {stops} workers stopped, {kills} servers killed, {written} transactions, {applied}")
    finally:
        cluster.stop("immediate")


def finish(threads):
    for thread in threads:
        thread.finish()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--am", default="doris")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--port", type=int, default=5465)
    options = parser.parse_args()
    failed = 0
    for n in range(options.rounds):
        seed = options.seed + n
        name = f"mirrors equal their sources after faults (seed {seed})"
        try:
            round_of_faults(fresh(f"cdc-{seed}"), options.port, options, seed)
            print(f"ok - {name}", flush=True)
        except (AssertionError, RuntimeError, ServerLost, Refused) as error:
            failed += 1
            print(f"not ok - {name}\n# {error}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
