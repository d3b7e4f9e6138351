#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that fold rows of the same keys at once: sums, smallest and largest values of an aggregate key, and partial updates
of a unique key, of which each client writes a column of its own.

The order in which they come must not matter, and nothing of what was committed may be lost or counted twice. Each transaction
notes what it writes in heap tables; at the end they are compared. Single rows, batches that go to the row store, batches that
become segments, savepoints and rollbacks are mixed, and compactions run beside them. Transactions that end in a deadlock are
as good as rolled back. A reader asks twice under one snapshot, and must get the same rows, one a key.
"""
import random
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

CLIENTS = 4
TABLES = """DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, doris, public;
CREATE TABLE sums (k int, s bigint, n numeric, low int, high int) USING doris WITH (aggregate_key = 'k', sum = 's, n', min = 'low', max = 'high');
CREATE TABLE parts (k int, v0 int, v1 int, v2 int, v3 int, w text DEFAULT 'new') USING doris WITH (unique_key = 'k');
CREATE TABLE sum_log (k int, s int) USING heap;
CREATE TABLE part_log (k int, client int, number int, v int) USING heap;
"""
SAME = """BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) || ' ' || count(DISTINCT k) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) AS one FROM {table} x \\gset
SELECT pg_sleep(0.1);
SET LOCAL doris.enable_vectorization = off;
SELECT count(*) || ' ' || count(DISTINCT k) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) AS two, count(*) = count(DISTINCT k) AS unique FROM {table} x \\gset
SELECT :'one' = :'two' AND :'unique' AS good \\gset
\\if :good
\\else
\\echo differs {table} :one, then :two
\\endif
COMMIT;
"""
CHECK = """CREATE TEMP TABLE s USING heap AS SELECT k, sum(s)::bigint AS s, sum(s)::numeric AS n, min(s) AS low, max(s) AS high FROM sum_log GROUP BY k;
CREATE TEMP TABLE l USING heap AS SELECT DISTINCT ON (k, client) k, client, v FROM part_log ORDER BY k, client, number DESC;
CREATE TEMP TABLE p USING heap AS SELECT k, max(v) FILTER (WHERE client = 0) AS v0, max(v) FILTER (WHERE client = 1) AS v1,
  max(v) FILTER (WHERE client = 2) AS v2, max(v) FILTER (WHERE client = 3) AS v3, 'new'::text AS w FROM l GROUP BY k;
SELECT count(*) FROM (TABLE sums EXCEPT ALL TABLE s) x;
SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE sums) x;
SELECT count(*) FROM (TABLE parts EXCEPT ALL TABLE p) x;
SELECT count(*) FROM (TABLE p EXCEPT ALL TABLE parts) x;
SELECT count(*) FROM (SELECT * FROM doris.verify('sums') UNION ALL SELECT * FROM doris.verify('parts')) x;
SELECT EXISTS (TABLE sum_log) AND EXISTS (TABLE part_log);
"""


def transaction(rng, client, number, keys):
    """One transaction of a client."""
    lines = ["BEGIN;", f"SET LOCAL doris.rows_to_heap = {rng.choice([0, 0, 2048])};"]
    for statement in range(rng.choice([1, 1, 1, 2])):
        count = min(rng.choice([1, 1, 3, 40, 3000]), keys)
        undone = rng.random() < 0.15
        if undone:
            lines.append("SAVEPOINT s;")
        if rng.random() < 0.5:
            # Keys may come more than once.
            chosen = sorted(rng.choices(range(keys), k=count))
            values = ", ".join(f"({k}, {rng.randint(-1000, 1000)})" for k in chosen)
            lines.append(f"INSERT INTO sums SELECT k, s, s, s, s FROM (VALUES {values}) x (k, s);")
            lines.append(f"INSERT INTO sum_log VALUES {values};")
        else:
            chosen = sorted(rng.sample(range(keys), count))
            place = number * 2 + statement
            values = ", ".join(f"({k}, {rng.randint(0, 10 ** 6)})" for k in chosen)
            lines.append("SET LOCAL doris.partial_update = on;")
            lines.append(f"INSERT INTO parts (k, v{client}) SELECT * FROM (VALUES {values}) x;")
            lines.append(f"INSERT INTO part_log SELECT k, {client}, {place}, v FROM (VALUES {values}) x (k, v);")
        if undone:
            lines.append("ROLLBACK TO s;")
    choice = rng.random()
    if choice < 0.15:
        # It keeps what it has marked and locked for a while.
        name = f"'folds {client} {number}'"
        lines += [f"PREPARE TRANSACTION {name};", f"SELECT pg_sleep({rng.choice([0, 0.01, 0.05])});", f"{rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])} PREPARED {name};"]
    else:
        lines.append("ROLLBACK;" if choice < 0.25 else "COMMIT;")
    return lines


def read(psql, schema, running, seen):
    """Reads as long as `running` says so."""
    while running():
        script = f"SET search_path = {schema}, doris, public;\n" + "".join(SAME.format(table=t) for t in ("sums", "parts"))
        answer = subprocess.run([*psql, "-v", "ON_ERROR_STOP=1"], input=script, capture_output=True, text=True)
        seen += [line for line in answer.stdout.splitlines() if "differs" in line] + answer.stderr.splitlines()


def run(seed, args):
    schema = f"folds_{seed}"
    keys = (5, 200, 4000)[seed % 3]
    psql = [args.psql, "-X", "-q", "-d", args.database]
    subprocess.run([*psql, "-v", "ON_ERROR_STOP=1"], input=TABLES.format(schema=schema), text=True, check=True)
    outputs = [None] * CLIENTS

    def talk(client):
        own = random.Random(f"{seed} {client}")
        lines = [f"SET search_path = {schema}, doris, public;"]
        for number in range(args.steps):
            lines += transaction(own, client, number, keys)
        script = "\n".join(lines) + "\n\\echo done\n"
        answer = subprocess.run(psql, input=script, capture_output=True, text=True)
        outputs[client] = (answer.stdout, answer.stderr)
    threads = [threading.Thread(target=talk, args=(client,)) for client in range(CLIENTS)]
    [thread.start() for thread in threads]
    seen = []
    reader = threading.Thread(target=read, args=(psql, schema, lambda: any(thread.is_alive() for thread in threads), seen))
    reader.start()
    tables = [f"{schema}.sums", f"{schema}.parts"]
    compact = [part for table in tables for part in ("-c", f"CALL doris.compact('{table}')", "-c", f"VACUUM {table}")]
    while any(thread.is_alive() for thread in threads):
        subprocess.run([*psql, *compact], check=True)
    [thread.join() for thread in [*threads, reader]]
    expected = ("deadlock detected", "current transaction is aborted", "savepoint \"s\" does not exist",
                "prepared transaction with identifier")
    errors = [line for _, err in outputs for line in err.splitlines() if "ERROR" in line and not any(e in line for e in expected)]
    ended = all("done" in out for out, _ in outputs)
    check = f"SET search_path = {schema}, doris, public;\n{CHECK}"
    answer = subprocess.run([*psql, "-At", "-v", "ON_ERROR_STOP=1"], input=check, capture_output=True, text=True)
    good = ended and not errors and not seen and answer.stdout.split() == ["0", "0", "0", "0", "0", "t"]
    print(f"{'ok' if good else 'not ok'} - seed {seed} ({keys} keys, folds)", flush=True)
    if not good:
        print("sums: extra, missing; parts: extra, missing; problems, any:", *answer.stdout.split(), *errors[:5], *seen[:5],
              answer.stderr[-500:], sep="\n")
    else:
        subprocess.run([*psql, "-c", f"DROP SCHEMA {schema} CASCADE"], capture_output=True, check=True)
    return good


if __name__ == "__main__":
    seeded.main(__doc__, run, "models", 3, 40)
