#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random DML on a columnar table and its heap twin: after each step both must hold the same rows.

A seed makes a script of SQL, which psql runs; --print shows it. Every statement is deterministic, so that both
tables get the same: rows are chosen by their values, never by their place. One transaction may hold many
statements, savepoints and rollbacks; in between come indexes, VACUUM, rewrites and ALTER TABLE.
"""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

COLUMNS = ["id", "grp", "name", "amount", "at", "flag", "note"]


class Script:
    def __init__(self, seed, steps):
        self.rng = random.Random(seed)
        self.seed = seed
        self.lines = []
        self.next_id = 1
        self.savepoints = 0
        self.extra = []
        self.key = []
        self.indexes = 0
        self.unique = self.rng.random() < 0.5
        self.setup()
        for _ in range(steps):
            self.transaction() if self.rng.random() < 0.8 else self.maintenance()
            self.compare()

    def add(self, line):
        self.lines.append(line)

    def both(self, statement):
        for table in ("h", "d"):
            self.add(statement.replace("@", table))

    def setup(self):
        r = self.rng
        self.no_answers()
        self.add(f"DROP SCHEMA IF EXISTS twin_{self.seed} CASCADE; CREATE SCHEMA twin_{self.seed};")
        self.add(f"SET search_path = twin_{self.seed}, public; SET client_min_messages = error;")
        self.add(f"SET doris.rows_to_heap = {r.choice([0, 0, 1, 10, 2048])};")
        self.add(f"SET doris.bulk_delete_rows = {r.choice([0, 1, 1, 20, 1024])};")
        columns = "id bigint, grp int, name text, amount numeric(12,2), at timestamp, flag bool, note text"
        key = r.choice(["", " WITH (duplicate_key = 'id')", " WITH (duplicate_key = 'id, grp', bloom_filter = 'name')"])
        self.add(f"CREATE TABLE h ({columns}) USING heap;")
        self.add(f"CREATE TABLE d ({columns}) USING doris{key};")
        if self.unique:
            self.both("ALTER TABLE @ ADD PRIMARY KEY (id);")
        self.make_sources()

    def make_sources(self):
        for table, method in (("h", "heap"), ("d", "doris")):
            self.add(f"CREATE TABLE {table}_s (id bigint, n int, first bool) USING {method};")
        self.fill_source()

    def fill_source(self):
        """Rows for statements with FROM: several of an id, of which one is the first."""
        r = self.rng
        ids = r.choice([3, 200, 2000])
        low = r.randint(0, max(self.next_id, 2))
        self.both("TRUNCATE @_s;")
        self.both(f"INSERT INTO @_s SELECT {low} + g % {ids}, g % {r.randint(2, 500)}, g < {ids} "
                  f"FROM generate_series(0, {r.choice([2, 4000, 9000])}) g;")
        self.both(r.choice(["DELETE FROM @_s WHERE n % 17 = 3;", "UPDATE @_s SET n = n + 1 WHERE id % 5 = 0;", "ANALYZE @_s;"]))

    def source(self):
        """A query with one row for each k."""
        r = self.rng
        return r.choice([
            "SELECT id AS k, sum(n) % 100000 AS n FROM @_s GROUP BY id",
            f"SELECT id AS k, max(n) AS n FROM @_s WHERE n > {r.randint(0, 300)} GROUP BY id",
            "SELECT id AS k, n FROM @_s WHERE first",
            f"SELECT DISTINCT id AS k, {r.randint(0, 9)} AS n FROM @_s",
            "SELECT DISTINCT ON (id) id AS k, n FROM @_s ORDER BY id, n",
            "SELECT k, n FROM (SELECT id AS k, n, row_number() OVER (PARTITION BY id ORDER BY n, first) AS r FROM @_s) w WHERE r = 1",
            "SELECT id AS k, count(*) AS n FROM @_s WHERE id % 2 = 0 GROUP BY id UNION ALL SELECT id, min(n) FROM @_s WHERE id % 2 = 1 GROUP BY id",
            "SELECT id AS k, count(*) AS n FROM @ WHERE id IS NOT NULL GROUP BY id",
            "SELECT s.id AS k, count(*) AS n FROM @_s s JOIN @ x ON x.grp = s.n GROUP BY s.id",
        ])

    def from_source(self):
        """A statement that finds its rows by way of others: UPDATE ... FROM, DELETE ... USING, MERGE, subqueries, parts in WITH."""
        r = self.rng
        where = self.predicate()
        self.both(r.choice([
            f"UPDATE @ SET amount = s.n, note = 'from' FROM ({self.source()}) s WHERE s.k = @.id AND {where};",
            f"UPDATE @ SET amount = s.n, grp = s.k % 100 FROM ({self.source()}) s WHERE s.k = @.id;",
            f"UPDATE @ SET amount = (SELECT avg(n) FROM @_s), note = (SELECT max(id) FROM @_s)::text WHERE {where};",
            f"UPDATE @ SET amount = (SELECT sum(n) FROM @_s s WHERE s.id = @.id) WHERE {where} AND id < {r.randint(1, 200)};",
            f"DELETE FROM @ USING ({self.source()}) s WHERE s.k = @.id AND s.n % 3 = 0 AND {where};",
            f"DELETE FROM @ WHERE id IN (SELECT id FROM @_s WHERE n < {r.randint(1, 40)}) AND {where};",
            f"DELETE FROM @ WHERE {where} AND NOT EXISTS (SELECT FROM @_s s WHERE s.id = @.id);",
            f"MERGE INTO @ USING ({self.source()}) s ON s.k = @.id WHEN MATCHED THEN UPDATE SET amount = s.n, note = 'merged';",
            f"MERGE INTO @ USING ({self.source()}) s ON s.k = @.id WHEN MATCHED AND s.n % 3 = 0 THEN DELETE "
            "WHEN MATCHED AND s.n % 3 = 1 THEN UPDATE SET amount = @.amount + s.n WHEN NOT MATCHED AND s.k % 5 = 0 THEN "
            "INSERT (id, note) VALUES (s.k, 'inserted');",
            f"WITH gone AS (DELETE FROM @ WHERE {where} RETURNING id) INSERT INTO @_s SELECT id, count(*), false FROM gone GROUP BY id;",
            "WITH up AS (UPDATE @_s SET n = n + 1 WHERE id % 7 = 0 RETURNING id) UPDATE @ SET amount = x.c "
            "FROM (SELECT id, count(*) AS c FROM up GROUP BY id) x WHERE x.id = @.id;",
            f"WITH new AS (INSERT INTO @_s SELECT id, grp, false FROM @ WHERE {where} RETURNING id) UPDATE @ SET note = "
            "(SELECT count(*) FROM new) || ' of ' || (SELECT count(*) FROM @_s) WHERE id % 50 = 0;",
        ]))

    def no_answers(self):
        """What comparisons say that fail, as all statements of a failed transaction do."""
        for name, none in zip("abcde", "00fff"):
            self.add(f"\\set {name}_differ {none}")

    def rows(self, count):
        first = self.next_id
        self.next_id += count
        r = self.rng
        return (f"SELECT g, g % {r.randint(1, 50)}, CASE WHEN g % 7 = 0 THEN NULL ELSE 'name ' || g % {r.randint(1, 300)} END, "
                f"(g * {r.randint(1, 99)} % 100000) / 4.0, timestamp '2024-01-01' + g * interval '{r.randint(1, 9999)} s', "
                f"g % {r.randint(2, 5)} = 0, CASE WHEN g % 11 = 0 THEN repeat('x', g % 3000) END "
                f"FROM generate_series({first}, {first + count - 1}) g")

    def predicate(self):
        r = self.rng
        low = r.randint(1, max(self.next_id, 2))
        return r.choice([
            f"id BETWEEN {low} AND {low + r.randint(0, 400)}",
            f"id % {r.randint(2, 40)} = {r.randint(0, 3)}",
            f"grp = {r.randint(0, 20)}",
            f"name = 'name {r.randint(0, 100)}'",
            f"amount < {r.randint(1, 2000)} AND flag",
            f"name IS NULL AND id > {low}",
            f"id IN ({low}, {low + 1}, {low + 7})",
        ])

    def statement(self):
        r = self.rng
        if r.random() < 0.2:
            self.fill_source() if r.random() < 0.1 else self.from_source()
            return
        kind = r.random()
        columns = ", ".join(COLUMNS)
        if kind < 0.3:
            self.both(f"INSERT INTO @ ({columns}) {self.rows(r.choice([1, 1, 5, 100, 1500, 4000]))};".replace("; ", " "))
            # Both tables must get the same ids, which are counted once.
        elif kind < 0.36:
            count = r.choice([3, 500, 3000])
            first, self.next_id = self.next_id, self.next_id + count
            self.both(f"COPY @ (id, grp) FROM PROGRAM 'seq {first} {first + count - 1} | awk ''{{ print $1 \"\\t\" $1 % 13 }}''';")
        elif kind < 0.6:
            change = r.choice(["amount = amount + 1", "name = 'changed', grp = grp + 1", "note = repeat('y', 50)",
                               "flag = NOT flag", f"id = id + {r.randint(1, 3) * 10**7}"])
            self.both(f"UPDATE @ SET {change} WHERE {self.predicate()};")
        elif kind < 0.8:
            self.both(f"DELETE FROM @ WHERE {self.predicate()};")
        elif kind < 0.85 and self.unique:
            low = r.randint(1, max(self.next_id, 2))
            self.both(f"INSERT INTO @ (id, name) SELECT g, 'upsert' FROM generate_series({low}, {low + 30}) g "
                      "ON CONFLICT (id) DO UPDATE SET name = excluded.name || @.grp;")
        elif kind < 0.9:
            low = r.randint(1, max(self.next_id, 2))
            self.both(f"MERGE INTO @ USING (SELECT g AS k FROM generate_series({low}, {low + 20}) g) s ON @.id = s.k "
                      "WHEN MATCHED AND s.k % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET note = 'merged' "
                      "WHEN NOT MATCHED THEN INSERT (id, note) VALUES (s.k, 'inserted');")
        elif kind < 0.95:
            self.both(f"SELECT count(*) FROM (SELECT 1 FROM @ WHERE {self.predicate()} FOR UPDATE) x \\g /dev/null")
        else:
            self.both(f"UPDATE @ SET amount = x.n FROM (SELECT grp, count(*) AS n FROM @ GROUP BY grp) x "
                      f"WHERE x.grp = @.grp AND {self.predicate().replace('id ', '@.id ').replace('grp =', '@.grp =')};")

    def transaction(self):
        r = self.rng
        if r.random() < 0.4:
            self.statement()
            return
        self.add("BEGIN;")
        names = []
        for _ in range(r.randint(1, 6)):
            choice = r.random()
            if choice < 0.2:
                self.savepoints += 1
                names.append(f"s{self.savepoints}")
                self.add(f"SAVEPOINT {names[-1]};")
            elif choice < 0.32 and names:
                at = r.randrange(len(names))
                self.add(f"ROLLBACK TO {names[at]};")
                names = names[: at + 1]
            elif choice < 0.4 and names:
                self.add(f"RELEASE {names.pop()};")
            elif choice < 0.43:
                self.both("TRUNCATE @;")
            elif choice < 0.46:
                grp = f"ALTER COLUMN grp TYPE {r.choice(['int', 'bigint'])}, " if "grp" not in self.key else ""
                self.both(f"ALTER TABLE @ {grp}ALTER amount TYPE numeric({r.choice(['12,2', '14,2', '30,2'])});")
            else:
                self.statement()
                self.compare() if r.random() < 0.2 else None
        self.add(r.choice(["COMMIT;", "COMMIT;", "COMMIT;", "ROLLBACK;"]))

    def maintenance(self):
        r = self.rng
        self.indexes += 1
        extra = f"x{self.indexes}"
        kind = r.choice(["vacuum", "vacuum", "full", "analyze", "index", "index", "reindex", "add", "drop", "type", "cluster", "compact", "compact"])
        if kind == "vacuum":
            self.both("VACUUM @;")
        elif kind == "compact":
            self.add(f"CALL doris.compact('d', '{r.choice(['full', 'cumulative', 'base'])}');")
        elif kind == "full":
            self.both("VACUUM FULL @;")
        elif kind == "analyze":
            self.both("ANALYZE @;")
        elif kind == "index":
            self.both(f"CREATE INDEX ON @ ({r.choice(['id', 'grp, id', 'name', 'amount', 'lower(name)'])});")
        elif kind == "reindex":
            self.both("REINDEX TABLE @;")
        elif kind == "add":
            self.both(f"ALTER TABLE @ ADD COLUMN {extra} int DEFAULT {r.randint(0, 9)};")
            self.extra.append(extra)
        elif kind == "drop" and self.extra:
            self.both(f"ALTER TABLE @ DROP COLUMN {self.extra.pop()};")
        elif kind == "type":
            self.both(f"ALTER TABLE @ ALTER COLUMN grp TYPE {r.choice(['int', 'bigint'])};")
        elif kind == "cluster":
            self.both(f"CREATE INDEX @_{extra} ON @ (id);")
            self.both(f"CLUSTER @ USING @_{extra};")

    def compare(self):
        """Whole contents by scan, and a part by whatever the planner picks with and without sequential scans."""
        self.add("SELECT count(*) AS differ FROM (TABLE d EXCEPT ALL TABLE h) x \\gset a_")
        self.add("SELECT (SELECT count(*) FROM (TABLE h EXCEPT ALL TABLE d) x) + (SELECT count(*) FROM (TABLE h_s EXCEPT ALL TABLE d_s) y) AS differ \\gset b_")
        where = self.predicate()
        self.add("SET enable_seqscan = off;")
        self.add(f"SELECT (SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM d WHERE {where}) IS DISTINCT FROM "
                 f"(SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM h WHERE {where}) AS differ \\gset c_")
        self.add("RESET enable_seqscan;")
        # What zone maps may tell, of all rows and of those that conditions leave, which may spare whole blocks.
        told = "(count(*), count(name), min(id), max(id), sum(id), sum(grp), min(amount), max(amount), sum(amount), min(at), max(at))::text"
        for condition in ("true", self.predicate()):
            self.add("SET enable_indexscan = off; SET enable_bitmapscan = off;")
            self.add(f"SELECT (SELECT {told} FROM d WHERE {condition}) IS DISTINCT FROM (SELECT {told} FROM h WHERE {condition}) AS differ \\gset "
                     f"{'d_' if condition == 'true' else 'e_'}")
            self.add("RESET enable_indexscan; RESET enable_bitmapscan;")
        line = len(self.lines)
        self.add("SELECT :a_differ > 0 OR :b_differ > 0 OR :'c_differ' OR :'d_differ' OR :'e_differ' AS wrong \\gset")
        self.add(f"\\if :wrong\n\\echo twin: line {line}: :a_differ extra rows, :b_differ missing, index differs: :c_differ, "
                 "totals differ: :d_differ, those of some: :e_differ\n\\quit\n\\endif")

    def text(self):
        return "\n".join(self.lines + [
            "SELECT count(*) AS problems FROM doris.verify('d') \\gset",
            "\\if :problems\nSELECT * FROM doris.verify('d');\n\\echo twin: verify found problems\n\\quit\n\\endif",
            f"DROP SCHEMA twin_{self.seed} CASCADE;", "\\echo twin: done"]) + "\n"


EXPECTED_ERRORS = ("duplicate key", "current transaction is aborted", "cannot affect row a second time")


def main(script, description):
    def run(seed, args):
        return seeded.judge("twin", f"seed {seed}", script(seed, args.steps).text(), args, EXPECTED_ERRORS)

    seeded.main(description, run, "twin", 8, 25, seeded.print_argument)


if __name__ == "__main__":
    main(Script, __doc__)
