#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""As twin.py, on a table with a unique key: an INSERT or COPY of it is INSERT ... ON CONFLICT DO UPDATE of the heap.

Batches have keys of their own, of each other and of stored rows, NULLs too; of the rows of one key in a batch the
last stays.
"""
import twin
from twin import COLUMNS


class Keys(twin.Script):
    def setup(self):
        r = self.rng
        self.no_answers()
        self.unique = False
        self.key = r.choice([["id"], ["id", "grp"], ["id", "grp", "name"]])
        key = ", ".join(self.key)
        self.add(f"DROP SCHEMA IF EXISTS twin_{self.seed} CASCADE; CREATE SCHEMA twin_{self.seed};")
        self.add(f"SET search_path = twin_{self.seed}, public; SET client_min_messages = error;")
        self.add(f"SET doris.rows_to_heap = {r.choice([0, 0, 1, 10, 2048])};")
        self.add(f"SET doris.bulk_delete_rows = {r.choice([0, 1, 1, 20, 1024])};")
        columns = "id bigint, grp int, name text, amount numeric(12,2), at timestamp, flag bool, note text"
        self.add(f"CREATE TABLE h ({columns}) USING heap;")
        self.add(f"CREATE UNIQUE INDEX ON h ({key}) NULLS NOT DISTINCT;")
        self.add(f"CREATE TABLE d ({columns}) USING doris WITH (unique_key = '{key}');")
        self.add(f"CREATE TEMP TABLE source (ord bigserial, {columns});")
        if self.key == ["id"] and r.random() < 0.3:
            self.both("ALTER TABLE @ ADD PRIMARY KEY (id);")
            self.nulls = False
        else:
            self.nulls = r.random() < 0.5
        self.make_sources()

    def upsert_heap(self):
        """The batch in `source` into the heap."""
        key = ", ".join(self.key)
        columns = ", ".join(COLUMNS)
        changes = [f"{c} = excluded.{c}" for c in COLUMNS + self.extra if c not in self.key]
        self.add(f"INSERT INTO h ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM source ORDER BY {key}, ord DESC "
                 f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(changes)};")

    def statement(self):
        r = self.rng
        if r.random() < 0.5:
            super().statement()
            return
        count = r.choice([1, 1, 3, 40, 1000, 3000, 6000])
        low = r.randint(1, max(self.next_id, 2))
        span = r.choice([1, count, 3 * count])
        factor = r.choice([1, 7, 7919])
        self.next_id = max(self.next_id, low + span)
        key = f"{low} + (g * {factor}) % {span}"
        null = f"CASE WHEN g % {r.randint(2, 9)} = 0 THEN NULL ELSE {{}} END" if self.nulls else "{}"
        columns = ", ".join(COLUMNS)
        self.add("TRUNCATE source;")
        if r.random() < 0.3:
            program = f"seq 1 {count} | awk ''{{ print {low} + ($1 * {factor}) % {span} \"\\t\" $1 % 3 }}''"
            self.add(f"COPY source (id, grp) FROM PROGRAM '{program}';")
            self.add(f"COPY d (id, grp) FROM PROGRAM '{program}';")
        else:
            name = null.format("'name ' || g % 3")
            self.add(f"INSERT INTO source ({columns}) SELECT {null.format(key)}, g % {r.randint(1, 4)}, {name}, g, "
                     f"timestamp '2024-01-01' + g * interval '1 s', g % 2 = 0, 'upsert' FROM generate_series(1, {count}) g;")
            self.add(f"INSERT INTO d ({columns}) SELECT {columns} FROM source ORDER BY ord"
                     f"{r.choice(['', '', ' RETURNING id'])} \\g /dev/null")
        self.upsert_heap()

    def maintenance(self):
        # The type of a key column is fixed.
        while True:
            before = len(self.lines)
            super().maintenance()
            if not any("ALTER COLUMN grp" in line for line in self.lines[before:]):
                return
            del self.lines[before:]


if __name__ == "__main__":
    twin.main(Keys, __doc__)
