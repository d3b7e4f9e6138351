#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that write rows and deletes of the same keys at once, in a table with a sequence and a delete sign.

The order in which they come must not matter: of each key, what was committed with the largest sequence counts. Each
transaction notes what it writes in a heap table; at the end the two are compared. Single rows, batches that go to the row
store, batches that become segments, partial updates, deletes by JSON, savepoints and rollbacks are mixed, and compactions
that do not forget deleted keys run beside them. Transactions that end in a deadlock are as good as rolled back. A reader asks
twice under one snapshot, once the engine and once PostgreSQL's executor, and must get the same rows, one a key.
"""
import random
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

TABLE = """DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, doris, public;
CREATE TABLE t (k int, v text, seq int, gone bool DEFAULT false) USING doris
  WITH (unique_key = 'k', sequence = 'seq', delete_sign = 'gone');
CREATE TABLE log (k int, seq int, gone bool) USING heap;
{index}"""


def transaction(rng, client, clients, number, keys):
    """One transaction of a client. Each statement has a sequence of its own."""
    lines = ["BEGIN;", f"SET LOCAL doris.rows_to_heap = {rng.choice([0, 0, 2048])};"]
    statements = rng.choice([1, 1, 1, 2])
    for statement in range(statements):
        count = rng.choice([1, 1, 1, 3, 40, 3000])
        chosen = sorted(rng.sample(range(keys), min(count, keys)))
        # Old sequences come late.
        age = rng.choice([0, 0, 3, 30])
        seq = (max(number - age, 0) * 1000 + number * 2 + statement) * clients + client
        share = rng.choice([0.0, 0.5, 1.0])
        rows = [(k, seq, rng.random() < share) for k in chosen]
        values = ", ".join(f"({k}, {s}, {str(gone).lower()})" for k, s, gone in rows)
        undone = rng.random() < 0.15
        if undone:
            lines.append("SAVEPOINT s;")
        lines.append(f"SET LOCAL doris.partial_update = {rng.choice(['off', 'off', 'on'])};")
        if share == 1.0 and rng.random() < 0.5:
            lines.append("SELECT doris.upsert_json('t', jsonb_agg(jsonb_build_object('k', k, 'seq', s, '__DORIS_DELETE_SIGN__', 1)"
                         f" ORDER BY k)) FROM (VALUES {values}) x (k, s, gone);")
        else:
            lines.append(f"INSERT INTO t (k, seq, gone) SELECT * FROM (VALUES {values}) x;")
        lines.append(f"INSERT INTO log SELECT * FROM (VALUES {values}) x;")
        if undone:
            lines.append("ROLLBACK TO s;")
    choice = rng.random()
    if choice < 0.15:
        # It keeps what it has marked and locked for a while.
        name = f"'races {client} {number}'"
        lines += [f"PREPARE TRANSACTION {name};", f"SELECT pg_sleep({rng.choice([0, 0.01, 0.05])});", f"{rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])} PREPARED {name};"]
    else:
        lines.append("ROLLBACK;" if choice < 0.25 else "COMMIT;")
    return lines


READER = """BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) || ' ' || count(DISTINCT k) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) AS one FROM (SELECT k, v, seq, gone FROM t) x \\gset
SELECT pg_sleep(0.1);
SET LOCAL doris.enable_vectorization = off;
SELECT count(*) || ' ' || count(DISTINCT k) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) AS two, count(*) = count(DISTINCT k) AS unique FROM (SELECT k, v, seq, gone FROM t) x \\gset
SELECT :'one' = :'two' AND :'unique' AS good \\gset
\\if :good
\\else
\\echo differs :one, then :two
\\endif
COMMIT;
"""


def read(psql, schema, running, seen):
    """Reads as long as `running` says so."""
    while running():
        script = f"SET search_path = {schema}, doris, public;\n{READER}"
        answer = subprocess.run([*psql, "-v", "ON_ERROR_STOP=1"], input=script, capture_output=True, text=True)
        seen += [line for line in answer.stdout.splitlines() if "differs" in line] + answer.stderr.splitlines()


def run(seed, args):
    rng = random.Random(seed)
    schema = f"races_{seed}"
    keys = rng.choice([5, 200, 4000])
    clients = 4
    psql = [args.psql, "-X", "-q", "-d", args.database]
    index = rng.choice(["", "CREATE INDEX ON t (v);"])
    subprocess.run([*psql, "-v", "ON_ERROR_STOP=1"], input=TABLE.format(schema=schema, index=index), text=True, check=True)
    running = []
    for client in range(clients):
        own = random.Random(f"{seed} {client}")
        lines = [f"SET search_path = {schema}, doris, public;"]
        for number in range(args.steps):
            lines += transaction(own, client, clients, number, keys)
        process = subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append((process, "\n".join(lines) + "\n\\echo done\n"))
    # All of them at once: each script is fed by a thread of its own.

    outputs = [None] * len(running)

    def talk(at):
        process, script = running[at]
        outputs[at] = process.communicate(script)
    threads = [threading.Thread(target=talk, args=(at,)) for at in range(len(running))]
    [thread.start() for thread in threads]
    seen = []
    reader = threading.Thread(target=read, args=(psql, schema, lambda: any(thread.is_alive() for thread in threads), seen))
    reader.start()
    compact = [*psql, "-c", f"CALL doris.compact('{schema}.t', 'cumulative')", "-c", f"VACUUM {schema}.t"]
    while any(thread.is_alive() for thread in threads):
        subprocess.run(compact, check=True)
    [thread.join() for thread in [*threads, reader]]
    expected = ("deadlock detected", "current transaction is aborted", "savepoint \"s\" does not exist",
                "prepared transaction with identifier")
    errors = [line for _, err in outputs for line in err.splitlines() if "ERROR" in line and not any(e in line for e in expected)]
    ended = all("done" in out for out, _ in outputs)
    check = f"""SET search_path = {schema}, doris, public;
        CREATE TEMP TABLE e USING heap AS SELECT k, seq FROM (SELECT DISTINCT ON (k) * FROM log ORDER BY k, seq DESC) x WHERE NOT gone;
        SELECT count(*) FROM (SELECT k, seq FROM t EXCEPT ALL TABLE e) x;
        SELECT count(*) FROM (TABLE e EXCEPT ALL SELECT k, seq FROM t) x;
        SELECT count(*) FROM doris.verify('t');
        SELECT count(*) > 0 FROM log;"""
    answer = subprocess.run([*psql, "-At", "-v", "ON_ERROR_STOP=1"], input=check, capture_output=True, text=True)
    good = ended and not errors and not seen and answer.stdout.split() == ["0", "0", "0", "t"]
    print(f"{'ok' if good else 'not ok'} - seed {seed} ({keys} keys{', an index' if index else ''})", flush=True)
    if not good:
        print("extra, missing, problems, any:", *answer.stdout.split(), *errors[:5], *seen[:5], answer.stderr[-500:], sep="\n")
    else:
        subprocess.run([*psql, "-c", f"DROP SCHEMA {schema} CASCADE"], capture_output=True, check=True)
    return good


if __name__ == "__main__":
    seeded.main(__doc__, run, "models", 4, 40)
