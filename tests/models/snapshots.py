#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Readers at old snapshots of keyed tables, while writers load, fold and delete and compactions move what they read.

Two writers, two readers and a keeper run one statement at a time in an order that the seed decides. The keeper compacts
and vacuums between any two statements of open transactions. What is written also goes to a heap table as a log, and a
view over the log folds it: each transaction compares the keyed table with the view under its own snapshot, by scans, by
conditions on values and by keys, and reads cursors that it opened long before. Writers keep to keys of their own, so that
none waits for another. Some transactions are prepared, and end later.
"""
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

MARK = "--answered"
OWN_KEYS = 100_000
COLUMNS = "k int, s bigint, d numeric(12,2), mn int, mx text, r int, q text, u doris.bitmap"
LAST = "(array_agg({0} ORDER BY n DESC))[1]"
FOLDED = (f"SELECT k, sum(s)::bigint AS s, sum(d)::numeric(12,2) AS d, min(mn) AS mn, max(mx) AS mx, {LAST.format('r')} AS r, "
          "(array_agg(q ORDER BY n DESC) FILTER (WHERE q IS NOT NULL))[1] AS q, CASE WHEN count(u) > 0 THEN doris.bitmap_union(u) END AS u FROM h GROUP BY k")
NEWEST = "SELECT DISTINCT ON (k) k, s, d, mn, mx, r, q, u FROM h ORDER BY k, {order} n DESC"
RULES = {
    "aggregate": ("aggregate_key = 'k', sum = 's, d', min = 'mn', max = 'mx', replace = 'r', replace_if_not_null = 'q', bitmap_union = 'u'", FOLDED),
    "replace": ("unique_key = 'k'", NEWEST.format(order="")),
    "sequence": ("unique_key = 'k', sequence = 'r'", NEWEST.format(order="r DESC NULLS LAST,")),
}


class Wrong(Exception):
    pass


class Session:
    """A psql process, asked one statement at a time."""

    def __init__(self, run, name):
        self.run, self.name = run, name
        self.process = subprocess.Popen([run.args.psql, "-XAtq", "-d", run.args.database], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)

    def ask(self, sql):
        self.run.log.append(f"{self.name}: {sql[:600]}")
        self.process.stdin.write(f"{sql}\n\\echo {MARK}\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(MARK):
                break
            lines.append(line.rstrip("\n"))
        else:
            raise Wrong("the server is gone", *lines)
        if any("ERROR:" in line or "FATAL:" in line for line in lines):
            raise Wrong(sql[:600], *lines)
        return lines

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Client:
    """Random transactions; a writer's are on the keys from `number * OWN_KEYS` on."""

    def __init__(self, run, number, writes):
        self.run, self.number, self.writes = run, number, writes
        self.session = Session(run, f"{'writer' if writes else 'reader'} {number}")
        self.open, self.savepoints, self.cursor, self.prepared = False, [], [], None

    def do(self, sql):
        return self.session.ask(sql)

    def step(self):
        rng = self.run.rng
        if self.prepared:
            self.do(f"{rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])} PREPARED '{self.prepared}';")
            self.prepared = None
        elif not self.open:
            self.begin()
        elif rng.random() < (0.2 if self.writes else 0.07):
            self.end()
        elif not self.writes or rng.random() < 0.2:
            self.read()
        elif rng.random() < 0.15:
            self.savepoints.append(f"s{len(self.savepoints)}")
            self.do(f"SAVEPOINT {self.savepoints[-1]};")
        elif rng.random() < 0.15 and self.savepoints:
            at = rng.randrange(len(self.savepoints))
            self.do(f"ROLLBACK TO {self.savepoints[at]};")
            self.savepoints = self.savepoints[:at + 1]
        else:
            self.write()

    def begin(self):
        rng = self.run.rng
        level = rng.choice(["READ COMMITTED", "REPEATABLE READ"]) if self.writes else "REPEATABLE READ"
        self.do(f"BEGIN ISOLATION LEVEL {level};")
        self.open, self.savepoints, self.cursor = True, [], []
        if not self.writes or rng.random() < 0.5:
            self.compare()
        if not self.writes and rng.random() < 0.7:
            # What the cursor is to give, and the cursor: read later.
            self.settings()
            order = rng.choice(["k", "d DESC NULLS LAST, k"])
            where = rng.choice(["", "WHERE s > 0", "WHERE q IS NOT NULL"])
            self.do(f"DECLARE c CURSOR FOR SELECT k, s, d, mn, mx, r, q, u FROM m {where} ORDER BY {order};")
            self.cursor = self.do(f"SELECT k, s, d, mn, mx, r, q, u FROM folded {where} ORDER BY {order};")

    def end(self):
        rng = self.run.rng
        self.read()
        self.open, self.cursor = False, []
        if self.writes and rng.random() < 0.3:
            self.run.prepared += 1
            self.prepared = f"snapshots {self.run.seed} {self.run.prepared}"
            self.do(f"PREPARE TRANSACTION '{self.prepared}';")
        else:
            self.do(rng.choice(["COMMIT;", "COMMIT;", "ROLLBACK;"]))

    def settings(self):
        rng = self.run.rng
        self.do(f"SET LOCAL doris.enable_vectorization = {rng.choice(['on', 'on', 'off'])}; SET LOCAL enable_seqscan = {rng.choice(['on', 'on', 'off'])};"
                f"SET LOCAL doris.threads = {rng.choice([1, 2])}; SET LOCAL doris.batch_rows = {rng.choice([3, 4096])};")

    def read(self):
        rng = self.run.rng
        if self.cursor and rng.random() < 0.5:
            rows = rng.choice([1, 7, 500])
            found = self.do(f"FETCH {rows} FROM c;")
            if found != self.cursor[:rows]:
                raise Wrong("a cursor gives other rows", f"{found[:3]} of {len(found)}", f"instead of {self.cursor[:3]}")
            self.cursor = self.cursor[rows:]
            return
        self.compare()

    def compare(self):
        rng = self.run.rng
        self.settings()
        low = rng.randint(0, 1) * OWN_KEYS + rng.randint(0, self.run.keys)
        key = low if not self.run.some else rng.choice(self.run.some)
        where = rng.choice(["true", "true", "s > 0", "mn IS NULL", "mx >= 'v5'", "d BETWEEN -100 AND 4000", f"k = {key}", f"k = {low}",
                            f"k BETWEEN {low} AND {low + 30}", f"k IN ({key}, {low}, {low + 1})"])
        sides = [f"SELECT k, s, d, mn, mx, r, q, u FROM {table} WHERE {where}" for table in ("m", "folded")]
        answer = self.do(f"SELECT (SELECT count(*) FROM ({sides[0]} EXCEPT ALL {sides[1]}) x), (SELECT count(*) FROM ({sides[1]} EXCEPT ALL {sides[0]}) x);")
        if answer != ["0|0"]:
            raise Wrong(f"rows too many | missing, where {where}", *answer)
        totals = rng.choice(["count(*)", "count(*), sum(s), min(mn), max(mx)", "count(q), sum(d), max(k)", "count(DISTINCT k), doris.bitmap_union_count(u)"])
        found, wanted = (self.do(f"SELECT {totals} FROM {table} WHERE {where};") for table in ("m", "folded"))
        if found != wanted:
            raise Wrong(f"{totals} where {where}", *found, "instead of", *wanted)

    def write(self):
        rng = self.run.rng
        first = self.number * OWN_KEYS
        if rng.random() < 0.2:
            low = first + rng.randint(0, self.run.keys)
            where = f"k BETWEEN {low} AND {low + rng.choice([0, 20, self.run.keys // 3])}"
            self.do(f"SET LOCAL doris.bulk_delete_rows = {rng.choice([1, 20, 1024])}; DELETE FROM m WHERE {where}; DELETE FROM h WHERE {where};")
            return
        if self.run.rule == "replace" and rng.random() < 0.2:
            low = first + rng.randint(0, self.run.keys)
            self.do(f"UPDATE m SET s = coalesce(s, 0) + 1 WHERE k BETWEEN {low} AND {low + 40};"
                    f"UPDATE h SET s = coalesce(s, 0) + 1 WHERE n IN (SELECT max(n) FROM h WHERE k BETWEEN {low} AND {low + 40} GROUP BY k);")
            return
        count = rng.choice([1, 1, 4, 60, 2500])
        rows = []
        for _ in range(count):
            self.run.rows += 1
            values = [None if rng.random() < 0.15 else value for value in (
                rng.randint(-50, 50), f"{rng.randint(-5000, 5000) / 100:.2f}", rng.randint(-50, 50), f"'v{rng.randint(0, 99):02d}'",
                rng.randint(0, 40), f"'q{rng.randint(0, 99)}'", f"'{rng.randint(0, 60)},{rng.randint(0, 60)}'")]
            key = first + rng.randint(0, self.run.keys)
            self.run.some = [*self.run.some[-20:], key]
            rows.append(f"({self.run.rows}, {key}, " + ", ".join("NULL" if value is None else str(value) for value in values) + ")")
        last = self.run.rows
        self.do(f"SET LOCAL doris.rows_to_heap = {rng.choice([0, 0, 1, 2048])}; INSERT INTO h VALUES {', '.join(rows)};")
        self.do(f"INSERT INTO m SELECT k, s, d, mn, mx, r, q, u FROM h WHERE n BETWEEN {last - count + 1} AND {last} ORDER BY n;")


class Run:
    def __init__(self, seed, args):
        self.rng, self.seed, self.args, self.log = random.Random(seed), seed, args, []
        self.rule = list(RULES)[seed % 3] if seed % 2 else "aggregate"
        self.keys = self.rng.choice([6, 90, 3000])
        self.rows, self.some, self.prepared = 0, [], 0
        self.keeper = Session(self, "keeper")
        options, view = RULES[self.rule]
        self.keeper.ask(f"DROP SCHEMA IF EXISTS snapshots_{seed} CASCADE; CREATE SCHEMA snapshots_{seed}; {self.path()}"
                        f"CREATE TABLE m ({COLUMNS}) USING doris WITH ({options}); CREATE TABLE h (n bigint, {COLUMNS}) USING heap;"
                        f"CREATE INDEX ON h (k); CREATE VIEW folded AS {view};")
        if self.rng.random() < 0.4 and self.rule != "aggregate":
            self.keeper.ask("CREATE INDEX ON m (mn);")
        self.clients = [Client(self, 0, True), Client(self, 1, True), Client(self, 2, False), Client(self, 3, False)]
        for client in self.clients:
            client.do(self.path())

    def path(self):
        return f"SET search_path = snapshots_{self.seed}, doris, public; SET client_min_messages = error; SET doris.require_sequence_in_insert = off;"

    def go(self):
        for _ in range(self.args.steps):
            choice = self.rng.random()
            if choice < 0.12:
                self.keeper.ask(f"CALL doris.compact('m', '{self.rng.choice(['full', 'full', 'cumulative', 'base'])}');")
            elif choice < 0.16:
                self.keeper.ask("VACUUM m;")
            else:
                self.rng.choice(self.clients).step()
        for client in self.clients:
            if client.open:
                client.read()
                client.do("COMMIT;")
            if client.prepared:
                client.do(f"COMMIT PREPARED '{client.prepared}';")
        self.keeper.ask("CALL doris.compact('m');")
        self.keeper.ask("VACUUM m;")
        problems = self.keeper.ask("SELECT * FROM doris.verify('m');")
        if problems:
            raise Wrong("verify", *problems)
        self.clients[2].begin()
        self.clients[2].do("COMMIT;")
        self.keeper.ask(f"DROP SCHEMA snapshots_{self.seed} CASCADE;")

    def close(self):
        for session in [self.keeper] + [client.session for client in self.clients]:
            session.close()
        for client in self.clients:
            if client.prepared:
                subprocess.run([self.args.psql, "-Xq", "-d", self.args.database, "-c", f"ROLLBACK PREPARED '{client.prepared}'"], capture_output=True)


def run(seed, args):
    this = Run(seed, args)
    try:
        this.go()
        print(f"ok - snapshots, seed {seed} ({this.rule}, {this.keys} keys)", flush=True)
        return True
    except Wrong as wrong:
        print(f"not ok - snapshots, seed {seed} ({this.rule}, {this.keys} keys)", *this.log[-30:], *wrong.args, sep="\n", flush=True)
        print(f"repeat with: tests/models/run.sh snapshots --seed {seed} --seeds 1 --steps {args.steps}", flush=True)
        return False
    finally:
        this.close()


if __name__ == "__main__":
    seeded.main(__doc__, run, "models", 5, 120)
