#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random loads, partial updates and deletes, also by JSON, on a keyed table, whose rows must be those of a model in memory.

A seed makes a script of SQL and, beside it, the rows that must be there; psql runs the script, which compares. Cursors that
were opened before a transaction's changes must give the rows that were there then.
Rules: replace, sequence, sign (sequence and delete sign), aggregate. Transactions roll back, savepoints too; in
between come VACUUM, rewrites and compaction.
"""
import copy
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import seeded  # noqa: E402

RULES = ["replace", "sequence", "sign", "aggregate"]
COLUMNS = {
    "replace": [("a", "int"), ("b", "text"), ("c", "numeric(12,2)"), ("d", "int")],
    "sequence": [("a", "int"), ("b", "text"), ("c", "numeric(12,2)"), ("seq", "int")],
    "sign": [("a", "int"), ("b", "text"), ("seq", "int"), ("gone", "bool")],
    "aggregate": [("s", "bigint"), ("d", "numeric(12,2)"), ("mn", "int"), ("mx", "text"), ("r", "int"), ("n", "text"),
                  ("u", "doris.bitmap"), ("st", "doris.agg_state('sum(integer)')")],
}
OPTIONS = {
    "replace": "unique_key = '{key}'",
    "sequence": "unique_key = '{key}', sequence = 'seq'",
    "sign": "unique_key = '{key}', sequence = 'seq', delete_sign = 'gone'",
    "aggregate": "aggregate_key = '{key}', sum = 's, d', min = 'mn', max = 'mx', replace = 'r', "
                 "replace_if_not_null = 'n', bitmap_union = 'u', agg_state = 'st'",
}
AGGREGATIONS = {"s": "sum", "d": "sum", "mn": "min", "mx": "max", "r": "replace", "n": "keep", "u": "union", "st": "sum"}


class Model:
    """The rows by key, and what becomes of them."""

    def __init__(self, rule):
        self.rule = rule
        self.rows = {}
        # The sequences of deleted keys.
        self.deleted_keys = {}

    def state(self):
        return copy.copy(self.rows), copy.copy(self.deleted_keys)

    def restore(self, state):
        self.rows, self.deleted_keys = copy.copy(state[0]), copy.copy(state[1])

    def load(self, rows, named=None):
        """Applies the rows of one statement in order; `named`: a partial update."""
        for row in rows:
            self.one(row, named)

    def delete(self, key):
        """A DELETE statement's: remembered with the sequence of the row."""
        self.record_delete(key, self.rows.pop(key).get("seq"))

    def record_delete(self, key, seq):
        if seq is not None:
            self.deleted_keys[key] = max(self.deleted_keys.get(key, seq), seq)

    def delete_json(self, key, seq):
        """One of doris.upsert_json, which gives a sequence."""
        old = self.rows.get(key)
        if old and old["seq"] is not None and (seq is None or seq < old["seq"]):
            return
        self.rows.pop(key, None)
        self.record_delete(key, seq)

    def one(self, row, named):
        key = (row["k"], row["t"])
        old = self.rows.get(key)
        if self.rule == "aggregate":
            self.rows[key] = fold(old, row) if old else dict(row)
            return
        decides = self.rule in ("sequence", "sign") and (named is None or "seq" in named)
        limit = old["seq"] if old and decides else self.deleted_keys.get(key) if decides else None
        if limit is not None and (row["seq"] is None or row["seq"] < limit):
            return
        if self.rule == "sign" and row["gone"]:
            self.rows.pop(key, None)
            if decides:
                self.record_delete(key, row["seq"])
            return
        if decides and not old:
            self.deleted_keys.pop(key, None)
        if old and named is not None:
            self.rows[key] = {**old, **{c: row[c] for c in named}}
        else:
            self.rows[key] = dict(row)


def fold(old, new):
    out = dict(new)
    for column, how in AGGREGATIONS.items():
        a, b = old[column], new[column]
        if how == "replace":
            continue
        if a is None or b is None:
            out[column] = b if a is None else a
        elif how == "sum":
            out[column] = a + b
        elif how == "min":
            out[column] = min(a, b)
        elif how == "max":
            out[column] = max(a, b)
        elif how == "keep":
            out[column] = b
        else:
            out[column] = a | b
    return out


class Script:
    def __init__(self, seed, steps, rule):
        self.rng = random.Random(seed)
        self.seed = seed
        self.rule = rule or RULES[seed % len(RULES)]
        self.columns = COLUMNS[self.rule]
        self.keys = self.rng.choice([5, 60, 3000])
        self.lines = []
        self.model = Model(self.rule)
        self.setup()
        for _ in range(steps):
            self.transaction() if self.rng.random() < 0.8 else self.maintenance()
            self.compare()

    def add(self, line):
        self.lines.append(line)

    def setup(self):
        r = self.rng
        schema = f"models_{self.seed}"
        self.add(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, doris, public;")
        self.add("SET doris.require_sequence_in_insert = off;")
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        key, extra = r.choice([("k, t", ""), ("k, t", ", bloom_filter = 'k'")])
        # A key that is one column of two is tested with a constant second one.
        options = OPTIONS[self.rule].format(key=key)
        if self.rule != "aggregate":
            extra += r.choice(["", ", merge_on_write = true", ", merge_on_write = false"])
        self.add(f"CREATE TABLE m (k int, t text, {columns}) USING doris WITH ({options}{extra});")
        self.add("CREATE TABLE e (LIKE m) USING heap;")
        self.add("CREATE FUNCTION digest(c refcursor) RETURNS text LANGUAGE plpgsql AS $$ DECLARE r record; n int = 0; h bigint = 0; "
                 "BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; n = n + 1; h = h + hashtext(r::text); END LOOP; RETURN n || ' ' || h; END $$;")
        if self.rule == "aggregate":
            self.add("ALTER TABLE e ALTER st TYPE bigint USING NULL;")
        # States cannot be compared; what they come to can.
        self.shown = ", ".join(["k", "t"] + ["doris.agg_final(st, 0::bigint)" if n == "st" else n for n, _ in self.columns])
        self.add(f"SET doris.bulk_delete_rows = {r.choice([0, 1, 20, 1024])};")
        if r.random() < 0.3:
            self.add(f"CREATE INDEX ON m ({self.columns[0][0]});")

    def value(self, name, kind):
        r = self.rng
        if name == "gone":
            return r.random() < 0.25
        if r.random() < 0.15:
            return None
        if name == "u":
            return frozenset(r.sample(range(100), r.randint(0, 4)))
        if kind == "text":
            return f"v{r.randint(0, 999):03d}" + "x" * r.choice([0, 0, 0, 200])
        return r.randint(-50, 50) * (100 if kind.startswith("numeric") else 1)

    def row(self, named):
        r = self.rng
        row = {"k": r.randint(1, self.keys), "t": r.choice(["a", "b"])}
        for name, kind in self.columns:
            given = named is None or name in named
            row[name] = self.value(name, kind) if given else None
        if self.rule == "sign" and row["gone"] is None:
            row["gone"] = None
        return row

    def text(self, name, kind, value, copying, stored=True):
        if name == "st" and stored and (value is not None or self.rng.random() < 0.5):
            # The state of no row is another NULL.
            digits = "" if value is None else f"\\x{value & (1 << 64) - 1:016x}"
            text = "pg_catalog.sum(integer)=" + digits
            return text.replace("\\", "\\\\") if copying else f"'{text}'"
        if value is None:
            return "\\N" if copying else "NULL"
        if name == "u":
            text = ",".join(str(v) for v in sorted(value))
        elif kind.startswith("numeric"):
            sign, cents = "-" if value < 0 else "", abs(value)
            text = f"{sign}{cents // 100}.{cents % 100:02d}"
        else:
            text = str(value).lower() if kind == "bool" else str(value)
        return text if copying else f"'{text}'"

    def load(self):
        r = self.rng
        named = None
        if self.rule != "aggregate" and r.random() < 0.35:
            names = [name for name, _ in self.columns]
            named = r.sample(names, r.randint(1, len(names) - 1))
        count = r.choice([1, 1, 2, 10, 200, 3000])
        rows = [self.row(named) for _ in range(count)]
        kinds = [("k", "int"), ("t", "text")] + [c for c in self.columns if named is None or c[0] in named]
        names = ", ".join(name for name, _ in kinds)
        self.add(f"SET doris.partial_update = {'off' if named is None else 'on'};")
        self.add(f"SET doris.rows_to_heap = {r.choice([0, 0, 1, 50, 2048])};")
        self.add(f"SET doris.load_memory = '{r.choice(['8MB', '256MB'])}';")
        if len(rows) > 100 or r.random() < 0.3:
            self.add(f"COPY m ({names}) FROM stdin;")
            for row in rows:
                self.add("\t".join(self.text(n, kind, row[n], True) for n, kind in kinds))
            self.add("\\.")
        else:
            values = ", ".join("(" + ", ".join(self.text(n, kind, row[n], False) for n, kind in kinds) + ")" for row in rows)
            if len(rows) > 1 and r.random() < 0.5:
                casts = ", ".join(f"x.{n}::{kind}" for n, kind in kinds)
                self.add(f"INSERT INTO m ({names}) SELECT {casts} FROM (VALUES {values}) x ({names});")
            else:
                self.add(f"INSERT INTO m ({names}) VALUES {values};")
        self.model.load(rows, named)

    def delete_json(self):
        r = self.rng
        keys = [(r.randint(1, self.keys), r.choice(["a", "b"]), self.value("seq", "int")) for _ in range(r.choice([1, 5, 50]))]
        for k, t, seq in keys:
            self.model.delete_json((k, t), seq)
        rows = [json.dumps({"k": k, "t": t, "seq": seq, "__DORIS_DELETE_SIGN__": 1}) for k, t, seq in keys]
        self.add(f"SELECT doris.upsert_json('m', '[{', '.join(rows)}]') AS rows \\gset")

    def upsert_json(self):
        """Rows that each name their own columns."""
        r = self.rng
        lines = []
        for _ in range(r.choice([1, 3, 40, 1500])):
            names = [name for name, _ in self.columns]
            named = r.sample(names, r.randint(0, len(names)))
            row = self.row(named)
            members = {"k": row["k"], "t": row["t"]}
            for name, kind in self.columns:
                if name in named:
                    value = row[name]
                    members[name] = value / 100 if kind.startswith("numeric") and value is not None else value
            lines.append(json.dumps(members))
            self.model.one(row, named)
        self.add(f"SET doris.rows_to_heap = {r.choice([0, 1, 2048])};")
        self.add(f"SELECT doris.upsert_json('m', '[{', '.join(lines)}]') AS rows \\gset")

    def statement(self):
        r = self.rng
        if self.rule != "aggregate" and r.random() < 0.1:
            self.upsert_json()
            return
        choice = r.random()
        if choice < 0.75:
            self.load()
            return
        if choice < 0.8 and self.rule in ("sequence", "sign"):
            self.delete_json()
            return
        low = r.randint(1, self.keys)
        high = low + r.choice([0, 0, self.keys // 3])
        chosen = [key for key in self.model.rows if low <= key[0] <= high]
        if choice < 0.9 or self.rule == "aggregate":
            self.add(f"DELETE FROM m WHERE k BETWEEN {low} AND {high};")
            for key in chosen:
                self.model.delete(key)
        else:
            self.add(f"UPDATE m SET a = coalesce(a, 0) + 1 WHERE k BETWEEN {low} AND {high};")
            for key in chosen:
                row = self.model.rows[key]
                self.model.rows[key] = {**row, "a": (row["a"] or 0) + 1}

    def transaction(self):
        r = self.rng
        if r.random() < 0.5:
            self.statement()
            return
        before = self.model.state()
        saved = []
        self.add("BEGIN;")
        old = r.random() < 0.3
        if old:
            self.add(f"DECLARE c SCROLL CURSOR FOR SELECT {self.shown} FROM m;")
            self.add(f"SELECT count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) AS then FROM (SELECT {self.shown} FROM m) x \\gset")
        for _ in range(r.randint(1, 5)):
            choice = r.random()
            if choice < 0.2:
                saved.append(self.model.state())
                self.add(f"SAVEPOINT s{len(saved)};")
            elif choice < 0.35 and saved:
                at = r.randrange(len(saved))
                self.add(f"ROLLBACK TO s{at + 1};")
                saved = saved[: at + 1]
                self.model.restore(saved[at])
            else:
                self.statement()
                if r.random() < 0.3:
                    self.compare()
        if old:
            line = len(self.lines)
            self.add("SELECT digest('c') <> :'then' AS wrong \\gset")
            self.add(f"\\if :wrong\n\\echo models: line {line}: a cursor does not give the rows that were there\n\\quit\n\\endif")
        if r.random() < 0.25:
            self.add("ROLLBACK;")
            self.model.restore(before)
        else:
            self.add("COMMIT;")

    def maintenance(self):
        kind = self.rng.choice(["VACUUM m;", "VACUUM FULL m;", "ANALYZE m;", "compact", "compact", "TRUNCATE m;"])
        if kind == "compact":
            kind = self.rng.choice(["full", "full", "cumulative", "base"])
            self.add(f"CALL doris.compact('m', '{kind}');")
            if kind != "cumulative":
                self.model.deleted_keys = {}
            return
        if kind.startswith("TRUNCATE"):
            if self.rng.random() < 0.7:
                return
            self.model.rows, self.model.deleted_keys = {}, {}
        self.add(kind)

    def compare(self):
        line = len(self.lines)
        self.add("SET doris.partial_update = off; TRUNCATE e;")
        self.add("COPY e FROM stdin;")
        kinds = [("k", "int"), ("t", "text")] + self.columns
        for row in self.model.rows.values():
            self.add("\t".join(self.text(n, kind, row[n], True, stored=False) for n, kind in kinds))
        self.add("\\.")
        self.add(f"SELECT count(*) AS extra FROM (SELECT {self.shown} FROM m EXCEPT ALL TABLE e) x \\gset")
        self.add(f"SELECT count(*) AS missing FROM (TABLE e EXCEPT ALL SELECT {self.shown} FROM m) x \\gset")
        some = self.rng.randint(1, self.keys)
        self.add("SET enable_seqscan = off;")
        self.add(f"SELECT (SELECT count(*) FROM m WHERE k = {some} AND t = 'a') <> "
                 f"(SELECT count(*) FROM e WHERE k = {some} AND t = 'a') AS keys \\gset")
        self.add("RESET enable_seqscan;")
        self.add(f"SELECT :extra > 0 OR :missing > 0 OR :'keys' AS wrong \\gset")
        self.add(f"\\if :wrong\n\\echo models: line {line}: :extra extra rows, :missing missing, by key: :keys\n\\quit\n\\endif")

    def sql(self):
        return "\n".join(self.lines + [
            "SELECT count(*) AS problems FROM doris.verify('m') \\gset",
            "\\if :problems\nSELECT * FROM doris.verify('m');\n\\echo models: verify found problems\n\\quit\n\\endif",
            f"DROP SCHEMA models_{self.seed} CASCADE;", "\\echo models: done"]) + "\n"


def run(seed, args):
    script = Script(seed, args.steps, args.rule)
    return seeded.judge("models", f"seed {seed} ({script.rule})", script.sql(), args, stop_at_errors=True)


def arguments(parser):
    seeded.print_argument(parser)
    parser.add_argument("--rule", choices=RULES, help="else the seed decides")


if __name__ == "__main__":
    seeded.main(__doc__, run, "models", 12, 25, arguments)
