#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compactions between the statements of open transactions, on a columnar table and its heap twin.

Two writers and a reader run random transactions at random isolation levels, one statement at a time in an order that
the seed decides; a fourth session compacts and vacuums the columnar table between any two of them. Every statement is
done to both tables, and each transaction compares them under its own snapshots. Writers keep to rows of their own, so
that none waits for another: a transaction that fails is a failure.
"""
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

MARK = "--answered"


class Session:
    """A psql process, asked one statement at a time."""

    def __init__(self, args):
        self.process = subprocess.Popen([args.psql, "-XAtq", "-d", args.database], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)

    def ask(self, sql):
        self.process.stdin.write(f"{sql}\n\\echo {MARK}\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(MARK):
                break
            lines.append(line.rstrip("\n"))
        else:
            raise Wrong("the server is gone", lines)
        if any("ERROR:" in line or "FATAL:" in line for line in lines):
            raise Wrong(sql, lines)
        return lines

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Wrong(Exception):
    pass


class Writer:
    """Random transactions on the rows whose id leaves `number` when divided by 4."""

    def __init__(self, run, number, writes=True):
        self.run, self.number, self.writes, self.open = run, number, writes, False
        self.session = Session(run.args)
        self.savepoints = []
        self.cursor = False

    def do(self, sql):
        self.run.log.append(f"{self.number}: {sql}")
        return self.session.ask(sql)

    def both(self, sql):
        for table in ("h", "d"):
            self.do(sql.replace("@", table))

    def step(self):
        rng = self.run.rng
        if not self.open:
            level = rng.choice(["READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ"])
            self.do(f"BEGIN ISOLATION LEVEL {level};")
            self.open, self.savepoints, self.cursor = True, [], False
            self.compare()
            return
        choice = rng.random()
        if choice < 0.2:
            self.compare()
            self.do(rng.choice(["COMMIT;", "COMMIT;", "ROLLBACK;"]))
            self.open = False
        elif choice < 0.4 or not self.writes:
            self.compare()
        elif choice < 0.47:
            self.savepoints.append(f"s{len(self.savepoints)}")
            self.do(f"SAVEPOINT {self.savepoints[-1]};")
        elif choice < 0.54 and self.savepoints:
            at = rng.randrange(len(self.savepoints))
            self.do(f"ROLLBACK TO {self.savepoints[at]};")
            self.savepoints = self.savepoints[:at + 1]
        else:
            self.write()

    def write(self):
        rng = self.run.rng
        low = rng.randint(0, max(self.run.next_id, 40))
        where = rng.choice([
            f"id BETWEEN {low} AND {low + rng.choice([0, 8, 300])}",
            f"v = {rng.randint(0, 12)}",
            f"id % {rng.randint(3, 30)} = 0",
        ]) + f" AND id % 4 = {self.number}"
        kind = rng.random()
        if kind < 0.3:
            self.both(f"UPDATE @ SET v = v + 1, note = '{rng.randint(0, 99)}' WHERE {where};")
        elif kind < 0.45:
            self.both(f"DELETE FROM @ WHERE {where};")
        elif kind < 0.6:
            count = rng.choice([1, 5, 200, 1500])
            first, self.run.next_id = self.run.next_id, self.run.next_id + 4 * count
            first += (self.number - first) % 4
            self.both(f"INSERT INTO @ SELECT g, g % 13 FROM generate_series({first}, {first + 4 * count - 4}, 4) g;")
        elif kind < 0.75:
            self.both(f"SELECT count(*) FROM (SELECT 1 FROM @ WHERE {where} FOR {rng.choice(['UPDATE', 'KEY SHARE'])}) x;")
        elif kind < 0.85:
            low -= (low - self.number) % 4
            self.both(f"INSERT INTO @ SELECT g, 3 FROM generate_series({low}, {low + 60}, 4) g WHERE g > 0 "
                      "ON CONFLICT (id) DO UPDATE SET v = @.v + 1, note = 'upsert';")
            self.run.next_id = max(self.run.next_id, low + 64)
        elif kind < 0.95:
            self.both(f"MERGE INTO @ USING (SELECT g FROM generate_series({low - low % 4 + self.number}, {low + 40}, 4) g) s "
                      "ON @.id = s.g WHEN MATCHED AND g % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = v + 1;")
        else:
            self.current(where)

    def current(self, where):
        """Rows changed through a cursor, with a compaction before that."""
        self.do(f"DECLARE kd CURSOR FOR SELECT * FROM d WHERE {where} ORDER BY id; MOVE 1 FROM kd;")
        found = self.do(f"CLOSE kd; DECLARE kd CURSOR FOR SELECT id FROM d WHERE {where}; FETCH 1 FROM kd;")
        if found:
            self.run.compact()
            self.do("UPDATE d SET v = v + 5 WHERE CURRENT OF kd;")
            self.do(f"UPDATE h SET v = v + 5 WHERE id = {found[0]};")
        self.do("CLOSE kd;")

    def compare(self):
        rng = self.run.rng
        self.do(f"SET LOCAL doris.enable_vectorization = {rng.choice(['on', 'off'])}; SET LOCAL enable_seqscan = {rng.choice(['on', 'off'])};")
        answer = self.do("SELECT (SELECT count(*) FROM (TABLE d EXCEPT ALL TABLE h) x), (SELECT count(*) FROM (TABLE h EXCEPT ALL TABLE d) x);")
        if answer != ["0|0"]:
            raise Wrong("rows too many | missing", answer)
        low = rng.randint(0, self.run.next_id)
        where = rng.choice([f"id BETWEEN {low} AND {low + 50}", f"id = {low}", f"v = {rng.randint(0, 12)}"])
        answer = self.do(f"SELECT (SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM d WHERE {where}) = "
                         f"(SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM h WHERE {where});")
        if answer != ["t"]:
            raise Wrong(f"index: {where}", answer)


class Run:
    def __init__(self, seed, args):
        self.rng, self.seed, self.args, self.log = random.Random(seed), seed, args, []
        self.next_id = 1
        self.keeper = Session(args)
        setup = f"DROP SCHEMA IF EXISTS moves_{seed} CASCADE; CREATE SCHEMA moves_{seed};"
        key = self.rng.choice(["", " WITH (duplicate_key = 'id')"])
        self.keeper.ask(f"{setup} SET search_path = moves_{seed}, public; CREATE TABLE h (id int PRIMARY KEY, v int, note text);")
        self.keeper.ask(f"CREATE TABLE d (id int PRIMARY KEY, v int, note text) USING doris{key};")
        if self.rng.random() < 0.6:
            self.keeper.ask("CREATE INDEX ON h (v); CREATE INDEX ON d (v);")
        self.writers = [Writer(self, 0), Writer(self, 1), Writer(self, 2, writes=False)]
        for writer in self.writers:
            writer.session.ask(f"SET search_path = moves_{seed}, public; SET doris.rows_to_heap = {self.rng.choice([1, 100, 2048])};"
                               f" SET doris.bulk_delete_rows = {self.rng.choice([1, 20, 1024])};"
                               " SET client_min_messages = error;")

    def compact(self):
        kind = self.rng.choice(["full", "full", "cumulative", "base"])
        self.log.append(f"compact {kind}")
        self.keeper.ask(f"CALL doris.compact('d', '{kind}');")

    def go(self):
        for _ in range(self.args.steps):
            choice = self.rng.random()
            if choice < 0.15:
                self.compact()
            elif choice < 0.19:
                self.log.append("vacuum")
                self.keeper.ask("VACUUM d;")
            else:
                self.rng.choice(self.writers).step()
        for writer in self.writers:
            if writer.open:
                writer.compare()
                writer.do("COMMIT;")
        self.compact()
        self.keeper.ask("VACUUM d;")
        problems = self.keeper.ask("SELECT * FROM doris.verify('d');")
        if problems:
            raise Wrong("verify", problems)
        self.writers[2].do("BEGIN;")
        self.writers[2].compare()
        self.writers[2].do("COMMIT;")
        self.keeper.ask(f"DROP SCHEMA moves_{self.seed} CASCADE;")

    def close(self):
        for session in [self.keeper] + [writer.session for writer in self.writers]:
            session.close()


def run(seed, args):
    this = Run(seed, args)
    try:
        this.go()
        print(f"ok - moves, seed {seed}", flush=True)
        return True
    except Wrong as wrong:
        print(f"not ok - moves, seed {seed}", *this.log[-25:], *wrong.args, sep="\n", flush=True)
        print(f"repeat with: tests/twin/run.sh moves --seed {seed} --seeds 1 --steps {args.steps}", flush=True)
        return False
    finally:
        this.close()


if __name__ == "__main__":
    seeded.main(__doc__, run, "twin", 6, 120)
