#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Statements that break rules, on columnar tables and their heap twins: the same errors, with all the fields that a client gets
(message, detail, hint, context, names of schema, table, column, data type and constraint), and the same rows afterwards.

The tables have the same names in two schemas. Rules are NOT NULL, CHECK, domains, enums, lengths, precisions, unique and
exclusion constraints, unique and failing expression indexes, foreign keys both ways, deferred ones, generated and identity
columns, partitions, views and policies with CHECK, triggers that raise, and what ALTER TABLE finds in rows that are there.
"""
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "queries"))
import error_lines  # noqa: E402
import seeded  # noqa: E402

TABLES = """
CREATE DOMAIN pos AS int CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE DOMAIN word AS text NOT NULL;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE, note text);
CREATE TABLE t (id int PRIMARY KEY, grp int NOT NULL, name varchar(8), price numeric(6,2) CHECK (price >= 0), amount pos, mood mood, parent int REFERENCES parent,
  during int4range, code char(3), share int GENERATED ALWAYS AS (1000 / nullif(grp, -2)) STORED, number int GENERATED ALWAYS AS IDENTITY, late int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT order_ok CHECK (grp < 100 OR price IS NULL), CONSTRAINT t_two UNIQUE (grp, name), CONSTRAINT t_code UNIQUE (code) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&));
CREATE UNIQUE INDEX t_lower ON t (lower(name)) WHERE grp > 50;
CREATE INDEX t_quotient ON t ((100 / (grp - 13)));
CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON UPDATE CASCADE, grp int, name varchar(8), FOREIGN KEY (grp, name) REFERENCES t (grp, name) MATCH FULL);
CREATE TABLE part (id int, v int NOT NULL CHECK (v <> 13), w word DEFAULT 'w', PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part (CONSTRAINT small CHECK (v < 1000)) FOR VALUES FROM (0) TO (100);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200);
CREATE TABLE loose (id int, v int, note text);
CREATE VIEW few AS SELECT id, grp, name, price FROM t WHERE grp < 50 WITH CHECK OPTION;
CREATE TABLE own (id int PRIMARY KEY, who text);
ALTER TABLE own ENABLE ROW LEVEL SECURITY; ALTER TABLE own FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON own USING (true) WITH CHECK (who = 'me');
GRANT ALL ON own TO twin_errors_role; GRANT USAGE ON SCHEMA {schema} TO twin_errors_role;
CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.note = 'bad' THEN RAISE EXCEPTION 'note % is bad', NEW.id USING DETAIL = 'The note is ' || NEW.note, HINT = 'Another note.', ERRCODE = 'P1234',
    TABLE = TG_TABLE_NAME, COLUMN = 'note', CONSTRAINT = 'no_bad_notes', DATATYPE = 'text'; END IF;
  IF NEW.note = 'divide' THEN NEW.v = 1 / (NEW.v - NEW.v); END IF; RETURN NEW; END $$;
CREATE TRIGGER complains BEFORE INSERT OR UPDATE ON loose FOR EACH ROW EXECUTE FUNCTION complain();
CREATE CONSTRAINT TRIGGER complains_later AFTER INSERT ON loose DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.note = 'later') EXECUTE FUNCTION complain_later();
"""
LATER = """CREATE FUNCTION complain_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'later, % of %', NEW.id, TG_NAME USING ERRCODE = 'check_violation', CONSTRAINT = 'later'; END $$;"""
FILL = """
INSERT INTO parent SELECT g, 'p' || g, 'note' FROM generate_series(1, 60) g;
INSERT INTO t (id, grp, name, price, amount, mood, parent, during, code, late) SELECT g, g % 90 + 14, 'n' || g, CASE WHEN g % 90 + 14 < 100 THEN g / 8.0 END, g, 'ok', 1 + g % 60,
  int4range(g * 10, g * 10 + 5), g, NULL FROM generate_series(1, 600) g;
INSERT INTO child SELECT g, g, g % 90 + 14, 'n' || g FROM generate_series(1, 200) g;
INSERT INTO part SELECT g, g FROM generate_series(20, 180) g WHERE g <> 13;
INSERT INTO loose SELECT g, g % 40, 'fine ' || g FROM generate_series(1, 3000) g;
INSERT INTO own SELECT g, 'me' FROM generate_series(1, 50) g;
"""


class Script:
    """Statements for one schema; the same seed gives the same for another."""

    def __init__(self, seed, steps, am, schema):
        r = self.rng = random.Random(seed)
        self.new = 1000
        self.lines = ["\\set VERBOSITY verbose", "SET client_min_messages = error;",
                      f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, public; SET default_table_access_method = {am};",
                      f"SET doris.rows_to_heap = {r.choice([0, 0, 100, 2048])}; SET doris.bulk_delete_rows = {r.choice([1, 20, 1024])};",
                      LATER, TABLES.format(schema=schema), FILL]
        for step in range(steps):
            text = self.statement()
            name = " ".join(text.split())[:300].replace("'", "`").replace("\\", "")
            self.lines.append(f"\\echo '==={step} {name}'\nBEGIN;\n{text}\n{r.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])};")
            table = r.choice(["t", "parent", "loose", "child"])
            if am == "doris" and step % 10 == 7:
                self.lines.append(f"\\echo ===quiet\nCALL doris.compact('{table}');")
            if step % 15 == 14:
                self.lines.append("\\echo ===rows")
                self.lines += [f"SELECT '{table}', count(*), sum(hashtextextended(x::text, 0)::numeric) FROM {table} x;" for table in ("parent", "part", "loose", "own", "child")]
                # Numbers of an identity column go on where a row was refused.
                self.lines.append("SELECT count(*), sum(id), sum(grp), count(name), sum(price), sum(amount), max(mood), sum(parent), count(during), sum(share) FROM t;")

    def key(self):
        return self.rng.randint(1, 650)

    def fresh(self):
        self.new += 1
        return self.new

    def value(self, column):
        """Mostly good."""
        r, new = self.rng, self.new
        bad = r.random() < 0.12
        return {
            "grp": lambda: r.choice(["NULL", "13", "-2", "120", "0"]) if bad else str(r.randint(14, 99)),
            "name": lambda: r.choice(["'much too long a name'", f"'N{r.randint(1, 600)}'", f"'n{r.randint(1, 600)}'"]) if bad else r.choice(["NULL", f"'x{new}'"]),
            "price": lambda: r.choice(["-1", "10000", "'x'", "'NaN'", "9999.999"]) if bad else r.choice(["NULL", "1.25", "0"]),
            "amount": lambda: r.choice(["0", "-5", "3000000000", "''"]) if bad else r.choice(["NULL", "7"]),
            "mood": lambda: "'angry'" if bad else r.choice(["NULL", "'sad'"]),
            "parent": lambda: r.choice(["99", "-1", "'1 2'"]) if bad else r.choice(["NULL", "5"]),
            "during": lambda: r.choice([f"'[{r.randint(1, 5000)},{r.randint(5001, 6000)})'", "'[5,1)'", "'(1,2,3)'"]) if bad else r.choice(["NULL", f"'[{new * 100},{new * 100 + 3})'"]),
            "code": lambda: r.choice(["'long code'", "'7'"]) if bad else "NULL",
            "late": lambda: "77" if bad else r.choice(["NULL", "6"]),
        }[column]()

    def statement(self):
        r = self.rng
        kind = r.choices([self.insert, self.insert_many, self.copy, self.update, self.delete, self.ddl, self.others], [6, 2, 3, 6, 3, 3, 4])[0]
        return kind()

    def insert(self):
        r = self.rng
        columns = r.sample(["grp", "name", "price", "amount", "mood", "parent", "during", "code", "late"], r.randint(2, 9))
        if "grp" not in columns and r.random() < 0.9:
            columns.append("grp")
        key = self.key() if r.random() < 0.15 else r.choice(["NULL", "'k'"]) if r.random() < 0.05 else self.fresh()
        values = ", ".join(str(self.value(column)) for column in columns)
        end = r.choice(["", "", " RETURNING id", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET grp = excluded.grp, price = excluded.price", " ON CONFLICT (name) DO NOTHING"])
        return f"INSERT INTO t (id, {', '.join(columns)}) VALUES ({key}, {values}){end};"

    def insert_many(self):
        r = self.rng
        first = self.fresh()
        self.new += 1500
        count = r.choice([5, 40, 1400])
        bad = first + r.randint(0, count - 1)
        grp = r.choice([f"CASE g WHEN {bad} THEN 13 ELSE 20 END", f"nullif(g, {bad}) % 80 + 14", f"CASE g WHEN {bad} THEN -2 ELSE 50 END", "60", f"CASE g WHEN {bad} THEN 120 ELSE 30 END"])
        price = r.choice(["1", f"{bad} - g", f"10.0 ^ (CASE g WHEN {bad} THEN 5 ELSE 1 END)", f"10 / ({bad} - g)"])
        key = r.choice(["g", "g", f"CASE g WHEN {bad} THEN 300 ELSE g END", f"CASE g WHEN {bad} THEN {first} ELSE g END"])
        name = r.choice(["NULL", "'m' || g", f"CASE g WHEN {bad} THEN 'n5' ELSE 'm' || g END", f"repeat('m', CASE g WHEN {bad} THEN 9 ELSE 0 END) || g"])
        return f"INSERT INTO t (id, grp, price, name) SELECT {key}, {grp}, {price}, {name} FROM generate_series({first}, {first + count - 1}) g;"

    def copy(self):
        r = self.rng
        first, count = self.fresh(), r.choice([3, 30, 1200])
        self.new += count
        rows = [[str(first + n), str(n % 80 + 14), f"c{first + n}", "1.5", "ok"] for n in range(count)]
        bad, column = r.randrange(count), r.randrange(5)
        rows[bad][column] = r.choice([["x", "5", "", "\\N"], ["", "\\N", "13", "99999999999"], ["a name that is long", "n7"], ["-1", "100000", "1e", "one"], ["angry", ""]][column])
        if r.random() < 0.2:
            rows[bad] = rows[bad][:r.randint(1, 4)] if r.random() < 0.5 else rows[bad] + ["more"]
        text = "\n".join("\t".join(row) for row in rows)
        return f"COPY t (id, grp, name, price, mood) FROM stdin;\n{text}\n\\."

    def update(self):
        r = self.rng
        column = r.choice(["grp", "name", "price", "amount", "mood", "parent", "during", "code", "late"])
        one = f"id = {self.key()}"
        return r.choice([
            f"UPDATE t SET {column} = {self.value(column)} WHERE {one};", f"UPDATE t SET {column} = {self.value(column)} WHERE {one};",
            f"UPDATE t SET id = {self.key()} WHERE {one};", f"UPDATE t SET grp = {self.key()} % 100, name = 'n{self.key()}' WHERE {one};",
            f"UPDATE t SET share = 5 WHERE {one};", f"UPDATE t SET number = 5 WHERE {one};", f"UPDATE t SET price = price / 0 WHERE {one};", f"UPDATE t SET price = price * 1e5 WHERE {one};",
            f"UPDATE parent SET id = id + 100 WHERE id = {r.randint(1, 65)};", f"UPDATE child SET name = 'n1' WHERE id = {r.randint(1, 210)};", f"UPDATE child SET name = NULL WHERE id = {r.randint(1, 210)};",
            f"UPDATE part SET id = {r.choice([250, 30, 130, -1])} WHERE id = {r.randint(20, 180)};", f"UPDATE part SET v = {r.choice(['13', 'NULL', '2000', '5'])} WHERE id = {r.randint(20, 180)};",
            f"UPDATE part SET w = {r.choice(['NULL', repr('v')])} WHERE id = {r.randint(20, 180)};",
            f"UPDATE few SET grp = {r.randint(40, 60)} WHERE {one};", f"UPDATE loose SET note = {r.choice(['$$bad$$', '$$divide$$', '$$x$$'])} WHERE id = {self.key()};",
            f"UPDATE loose SET v = v + 2147483600 WHERE id BETWEEN {self.key()} AND {self.key()};", "UPDATE t SET mood = 'happy' WHERE 1 / (id - id) = 1;",
            "UPDATE t SET code = '7' WHERE id IN (8, 9);", "UPDATE t SET during = '[1,100000)' WHERE id = 3;",
        ])

    def delete(self):
        r = self.rng
        return r.choice([f"DELETE FROM parent WHERE id = {r.randint(1, 70)};", f"DELETE FROM t WHERE id = {r.randint(1, 250)};", f"DELETE FROM t WHERE id BETWEEN {self.key()} AND {self.key()} AND id > 200;",
                         f"DELETE FROM child WHERE id = {r.randint(1, 210)};", "TRUNCATE parent;", "TRUNCATE t;", "DELETE FROM loose WHERE 10 / v > 3;", f"DELETE FROM loose WHERE id = {self.key()};",
                         "DELETE FROM t WHERE number = 'x';"])

    def ddl(self):
        """Each is taken back, whether it succeeds or not."""
        r = self.rng
        text = r.choice([
            "ALTER TABLE loose ADD CONSTRAINT v_small CHECK (v < 39);", "ALTER TABLE loose ADD UNIQUE (v);", "CREATE UNIQUE INDEX loose_v ON loose (v) WHERE id < 100;", "ALTER TABLE loose ADD FOREIGN KEY (id) REFERENCES parent;",
            "UPDATE loose SET v = NULL WHERE id = 77; ALTER TABLE loose ALTER v SET NOT NULL;", "ALTER TABLE loose ALTER note TYPE int USING note::int;", "ALTER TABLE loose ALTER note TYPE varchar(5);",
            "ALTER TABLE loose ALTER v TYPE pos;", "ALTER TABLE loose ADD PRIMARY KEY (v);", "CREATE INDEX ON loose ((1 / v));", "ALTER TABLE loose ADD COLUMN w int NOT NULL;",
            "ALTER TABLE loose ADD CONSTRAINT later_on CHECK (id < 2000) NOT VALID; ALTER TABLE loose VALIDATE CONSTRAINT later_on;", "ALTER TABLE loose ADD EXCLUDE USING gist (int4range(v, v + 1) WITH &&);",
            "ALTER TABLE loose ADD COLUMN q int GENERATED ALWAYS AS (10 / v) STORED;", "ALTER TABLE part ATTACH PARTITION loose FOR VALUES FROM (200) TO (300);",
            "CREATE TABLE part3 (id int NOT NULL, v int NOT NULL CHECK (v <> 13), w word DEFAULT 'w'); INSERT INTO part3 VALUES (500, 1); ALTER TABLE part ATTACH PARTITION part3 FOR VALUES FROM (200) TO (300);",
            "ALTER TABLE t DROP COLUMN id;", "ALTER TABLE parent DROP CONSTRAINT parent_pkey;", "ALTER DOMAIN pos ADD CONSTRAINT less CHECK (VALUE < 500);", "ALTER TABLE t ALTER share SET DEFAULT 1;", "DROP TABLE parent;",
            "ALTER TABLE t ALTER id TYPE smallint USING (id * 100)::smallint;", "ALTER TABLE t ADD COLUMN d pos DEFAULT 0;", "DROP TYPE mood;", "ALTER TABLE t ADD COLUMN id int;", "ALTER TABLE t RENAME grp TO name;",
        ])
        return f"SAVEPOINT s; {text} ROLLBACK TO s;"

    def others(self):
        r = self.rng
        new, key = self.fresh(), self.key()
        return r.choice([
            f"INSERT INTO child VALUES ({new}, {key}, NULL, 'half');", f"INSERT INTO child VALUES ({new}, {key + 700});", f"INSERT INTO child VALUES ({new}, {key}, 20, 'n{key}');",
            f"INSERT INTO part VALUES ({r.choice([5, 50, 300, 150, -3])}, {r.choice([1, 13, 5000, 'NULL'])});", "INSERT INTO part (id, v, w) VALUES (10, 1, NULL);", f"INSERT INTO part2 VALUES ({r.choice([10, 110, 199])}, 5);",
            f"INSERT INTO few VALUES ({new}, {r.choice([20, 70])}, NULL, 1);", f"INSERT INTO loose VALUES ({new}, 5, {r.choice(['$$bad$$', '$$divide$$', '$$later$$', '$$fine$$'])});",
            "INSERT INTO loose SELECT g, g, CASE g WHEN 2500 THEN 'bad' ELSE 'good' END FROM generate_series(1, 2600) g;", "INSERT INTO loose SELECT g, g, CASE g WHEN 2500 THEN 'later' ELSE 'good' END FROM generate_series(1, 2600) g;",
            f"SET LOCAL ROLE twin_errors_role; INSERT INTO own VALUES ({new}, '{r.choice(['me', 'you'])}');", f"SET LOCAL ROLE twin_errors_role; UPDATE own SET who = 'you' WHERE id = {r.randint(1, 60)};",
            "SET LOCAL ROLE twin_errors_role; SELECT count(*) FROM t;", f"INSERT INTO t (id, grp, number) VALUES ({new}, 20, 5);", f"INSERT INTO t (id, grp, share) VALUES ({new}, 20, 5);",
            f"INSERT INTO t (id, grp) VALUES ({new}, 20), ({new}, 21) ON CONFLICT (id) DO UPDATE SET grp = 30;",
            f"MERGE INTO t USING (VALUES ({key}), ({key})) s (k) ON t.id = s.k WHEN MATCHED THEN UPDATE SET price = 1;", f"MERGE INTO t USING (VALUES ({key}), ({new})) s (k) ON t.id = s.k WHEN MATCHED THEN UPDATE SET grp = {self.value('grp')} WHEN NOT MATCHED THEN INSERT (id, grp) VALUES (s.k, {self.value('grp')});",
            f"INSERT INTO t (id, grp) SELECT id, grp FROM t WHERE id = {key};", "SET CONSTRAINTS ALL IMMEDIATE; UPDATE t SET code = '7' WHERE id IN (8, 9);",
            f"UPDATE t SET late = 88 WHERE id = {key}; SET CONSTRAINTS ALL IMMEDIATE;", f"SELECT * FROM t WHERE id = {key} AND 1 / (id - id) > 0;", "SELECT nothing FROM t;", "SELECT count(*) FROM t WHERE mood = 'angry';",
            "SELECT sum(amount / (amount - amount)) FROM t;", "SELECT (SELECT id FROM t) FROM parent;", "SELECT name::int FROM t WHERE id = 5;", "SELECT max(price) + 'x' FROM t;", f"SELECT id FROM t WHERE id = {key} FOR UPDATE OF nobody;",
            f"DECLARE c CURSOR FOR SELECT * FROM t WHERE id = {key}; UPDATE t SET grp = 40 WHERE CURRENT OF c;", "SELECT int4range(grp, 5) FROM t WHERE id = 7;", "SELECT ('2024-01-01'::date + id * 100000000) FROM t WHERE id = 50;",
        ])

    def sql(self):
        return "\n".join(self.lines) + "\n\\echo ===end\n"


def answers(args, am, seed):
    """What was answered to each statement, in order, without the schema's name."""
    schema = f"twin_errors_{am}"
    script = Script(seed, args.steps, am, schema).sql()
    if args.print:
        print(script)
    role = "DO $$ BEGIN CREATE ROLE twin_errors_role; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
    subprocess.run([args.psql, "-Xq", "-d", args.database, "-c", role], check=True)
    done = subprocess.run([args.psql, "-XAtq", "-d", args.database], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found, current = [], ["before"]
    for line in error_lines.joined(done.stdout.replace(schema, "@").splitlines(), context=True):
        if line.startswith("==="):
            found.append(current)
            current = [line]
        else:
            current.append(line)
    return [part for part in found + [current] if part[0] != "===quiet"]


def same(heap, doris):
    """Which of several rows that break a new constraint is met first is open."""
    if heap == doris:
        return True
    new = "could not create unique index" in str(heap) or "could not create exclusion constraint" in str(heap) or "SAVEPOINT s; ALTER TABLE loose ADD FOREIGN KEY" in heap[0]
    return new and len(heap) == len(doris) and [error_lines.shape(line) for line in heap[1:]] == [error_lines.shape(line) for line in doris[1:]]


def run(seed, args):
    heap, doris = answers(args, "heap", seed), answers(args, "doris", seed)
    good = len(heap) == len(doris) and heap[-1] == ["===end"] and heap[0] == doris[0] == ["before"]
    differ = [(a, b) for a, b in zip(heap, doris) if not same(a, b)]
    kinds = {error_lines.state(line) for part in heap for line in part if line.startswith("ERROR")}
    good = good and not differ
    print(f"{'ok' if good else 'not ok'} - errors, seed {seed} ({len(kinds)} SQLSTATEs)", flush=True)
    if not good:
        print(f"heap answered {len(heap)} times, doris {len(doris)}; before the first statement: {heap[0][:3]}, {doris[0][:3]}")
        for a, b in differ[:args.show]:
            print(a[0], *(f"  heap  {line[:500]}" for line in a[1:4]), *(f"  doris {line[:500]}" for line in b[1:4]), sep="\n")
    return good


def arguments(parser):
    seeded.print_argument(parser)
    parser.add_argument("--show", type=int, default=6, help="differences to show")


if __name__ == "__main__":
    seeded.main(__doc__, run, "twin", 3, 150, arguments)
