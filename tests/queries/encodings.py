#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Text in databases of other encodings than UTF-8, on columnar tables and heap twins: the same answers and errors.

usage: encodings.py [--encodings LATIN1,EUC_JP,SQL_ASCII] [--seed N] [--count N]

Needs a running server (PGHOST, PGPORT, PGUSER from `scripts/server.sh env`) with pg_doris installed. Functions, patterns,
casts, sorts, groups, joins and keys of text; among the words are such whose bytes hold another one's across two characters.
"""
import argparse
import os
import random
import subprocess
import sys

import error_lines

# EUC_JP: "あい" is A4A2 A4A4, and A2A4 is "△".
WORDS = {
    "LATIN1": ["", "red", "Red", "é", "École", "ñandú", "straße", "ÿ", "Ünïcode", "a%b", "a_b", "x×y", "àé", "  pad ", "12", "ÄÖÜ", "éé", "zz"],
    "EUC_JP": ["", "red", "Red", "あい", "△", "日本語", "ｱｲｳ", "é", "いあ", "あ△い", "Ａｂｃ", "a%b", "a_b", "語日", "  pad ", "12", "ああい", "本"],
    "SQL_ASCII": ["", "red", "Red", "\xe9", "\xc3\xa9", "\xff\xfe", "a\x80b", "\x80", "a%b", "a_b", "\xa4\xa2\xa4\xa4", "\xa2\xa4", "  pad ", "12", "z\xff", "\xc3", "x\xe3\x81", "zz"],
}
CLIENT = {"LATIN1": "UTF8", "EUC_JP": "UTF8", "SQL_ASCII": "SQL_ASCII"}
COLLATIONS = {"LATIN1": ["", "", ' COLLATE "C"', ' COLLATE "de-x-icu"', ' COLLATE "sv-x-icu"'], "EUC_JP": ["", "", ' COLLATE "C"', ' COLLATE "ja-x-icu"'],
              "SQL_ASCII": ["", "", ' COLLATE "C"', ' COLLATE "en-x-icu"']}
COLUMNS = "s text, id int, v varchar(4), p char(5), w text, n int"
ROWS = 3000


class Server:
    """psql on a database of an encoding."""

    def __init__(self, encoding):
        self.encoding, self.name = encoding, f"encoding_{encoding.lower()}"
        self.bytes = "latin-1" if encoding == "SQL_ASCII" else "utf-8"
        self.run("SET client_min_messages = warning; DROP DATABASE IF EXISTS {0};", "postgres")
        self.run(f"CREATE DATABASE {{0}} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C';", "postgres")

    def run(self, text, database=None):
        text = text.replace("{0}", self.name) if database else text
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-d", database or self.name], input=text.encode(self.bytes), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env=dict(os.environ, PGCLIENTENCODING=CLIENT[self.encoding]))
        return done.stdout.decode(self.bytes, errors="replace")


def quoted(word):
    return "'" + word.replace("'", "''") + "'"


def setup(server):
    words = WORDS[server.encoding]
    array = "ARRAY[" + ", ".join(map(quoted, words)) + "]"
    count = len(words)
    rows = (f"SELECT CASE WHEN g % 19 = 0 THEN NULL ELSE ({array})[1 + g % {count}] || ({array})[1 + g * 7 % {count}] END, g, "
            f"left(({array})[1 + g * 5 % {count}] || ({array})[1 + g % 7], 4), "
            f"({array})[1 + g * 11 % {count}]::char(5), CASE WHEN g % 23 <> 0 THEN ({array})[1 + g * 13 % {count}] END, g % 40 FROM generate_series(1, {ROWS}) g")
    copied = "".join(f"{word}\t{ROWS + 1 + at}\t{word[:4]}\t{word[:5]}\t{word}\t{at}\n" for at, word in enumerate(words))
    text = "SET client_min_messages = warning; CREATE EXTENSION pg_doris;"
    for table, am, options in (("qh_t", "heap", ""), ("qd_t", "doris", " WITH (duplicate_key = 's', bloom_filter = 'w')"), ("qh_u", "heap", ""), ("qd_u", "doris", "")):
        where = f"WHERE g % 9 = 0" if table.endswith("u") else ""
        text += f"CREATE TABLE {table} ({COLUMNS}) USING {am}{options}; SET doris.rows_to_heap = 0; INSERT INTO {table} {rows} {where};\n"
        text += f"RESET doris.rows_to_heap; COPY {table} FROM stdin;\n{copied}\\.\nDELETE FROM {table} WHERE id % 37 = 5; ANALYZE {table};"
    # Tables with keys of text, filled twice over.
    text += f"CREATE TABLE qd_k (k text, p char(5), n int) USING doris WITH (unique_key = 'k, p'); CREATE TABLE qh_k (k text, p char(5), n int, PRIMARY KEY (k, p)) USING heap;"
    for part in (0, 1):
        keys = f"SELECT DISTINCT ON (s, p) s, p, id + {part} FROM qh_t WHERE s IS NOT NULL AND p IS NOT NULL AND id % 2 >= {part} ORDER BY s, p, id"
        text += f"SET doris.rows_to_heap = {part * 100}; INSERT INTO qd_k {keys}; INSERT INTO qh_k {keys} ON CONFLICT (k, p) DO UPDATE SET n = excluded.n;"
    text += "CALL doris.compact('qd_t');" if server.encoding != "EUC_JP" else ""
    problems = [line for line in server.run(text).splitlines() if "ERROR" in line]
    if problems:
        sys.exit(f"not ok - set up of {server.encoding}: " + "; ".join(problems[:5]))


class Generator:
    def __init__(self, rng, encoding):
        self.r, self.encoding = rng, encoding

    def word(self):
        word = self.r.choice(WORDS[self.encoding])
        return quoted(word + self.r.choice(["", "", self.r.choice(WORDS[self.encoding])]))

    def character(self):
        """One, or in SQL_ASCII a byte."""
        return quoted(self.r.choice([word for word in WORDS[self.encoding] if word])[0])

    def pattern(self):
        r = self.r
        one, two = (r.choice(WORDS[self.encoding]) for _ in range(2))
        return quoted(r.choice([f"{one}%", f"%{one}", f"%{one}%", f"_{one}%", f"{one}_", f"%{one}_{two}%", "__", "____%", f"%{one}%{two}%", "a\\%b", f"{one[:1]}%", f"%{one[-1:]}"]))

    def text(self, t="t", depth=0):
        r = self.r
        if depth > 1 or r.random() < 0.3:
            return f"{t}.{r.choice('ssvpw')}"
        x, n = self.text(t, depth + 1), r.randrange(-3, 6)
        return r.choice([f"upper({x})", f"lower({x})", f"initcap({x})", f"substr({x}, {n})", f"substr({x}, {n}, {abs(n)})", f"substring({x} FROM {abs(n)})", f"left({x}, {n})", f"right({x}, {n})",
                         f"reverse({x})", f"lpad({x}, {abs(n) * 2}, {self.word()})", f"rpad({x}, {abs(n) * 3}, {self.character()})", f"rpad({x}, {abs(n) * 2})", f"translate({x}, {self.word()}, {self.word()})",
                         f"replace({x}, {self.character()}, {self.word()})", f"replace({x}, {self.word()}, '#')", f"split_part({x}, {self.character()}, {r.choice([1, 2, -1])})", f"btrim({x}, {self.word()})",
                         f"ltrim({x}, {self.character()})", f"rtrim({x})", f"({x} || {self.word()})", f"concat({x}, '-', {t}.n)", f"concat_ws({self.character()}, {t}.s, {t}.v)", f"{x}::varchar(3)", f"{x}::char(3)",
                         f"({x})::text", f"overlay({x} PLACING {self.word()} FROM 2)", f"repeat({x}, 2)", f"coalesce({x}, {self.word()})", f"regexp_replace({x}, {self.character()}, '#')", f"quote_literal({x})",
                         f"CASE WHEN {t}.n > 20 THEN {x} ELSE {self.word()} END"])

    def number(self, t="t"):
        x = self.text(t, 1)
        return self.r.choice([f"length({x})", f"char_length({x})", f"octet_length({x})", f"bit_length({x})", f"strpos({x}, {self.character()})", f"position({self.word()} IN {x})", f"ascii({x})", f"{t}.n", f"length({t}.p)",
                              f"length(convert_to({x}, 'UTF8'))" if self.encoding != "SQL_ASCII" else f"length({x}::bytea)"])

    def condition(self, t="t"):
        r = self.r
        x = self.text(t, r.choice([0, 2, 2]))
        return r.choice([f"{x} {r.choice(['LIKE', 'NOT LIKE', 'LIKE', 'ILIKE'])} {self.pattern()}", f"{x} {r.choice(['=', '<>', '<', '>=', '<='])} {self.word()}", f"{x}{self.collation()} {r.choice(['<', '>', '='])} {self.word()}",
                         f"{t}.{r.choice('svpw')} IN ({self.word()}, {self.word()}, {self.character()})", f"{t}.{r.choice('sw')} BETWEEN {self.word()} AND {self.word()}", f"starts_with({x}, {self.character()})",
                         f"{self.number(t)} {r.choice(['<', '=', '>'])} {r.randrange(0, 8)}", f"{x} ~ {self.character()}", f"{x} IS NULL", f"{t}.s {r.choice(['=', '<', 'LIKE'])} {t}.w", f"{x} SIMILAR TO {self.pattern()}",
                         f"{t}.s LIKE {self.character()} || '%'"])

    def collation(self):
        return self.r.choice(COLLATIONS[self.encoding])

    def query(self):
        r, t = self.r, "t"
        where = f" WHERE {self.condition()}" + (f" AND {self.condition()}" if r.random() < 0.3 else "") if r.random() < 0.7 else ""
        kind = r.randrange(9)
        if kind <= 2:
            return f"SELECT t.id, {', '.join(r.choice([self.text, self.text, self.number])() for _ in range(r.randrange(1, 4)))} FROM {{p}}t t{where}"
        if kind == 3:
            items = r.sample([f"min({self.text()}{self.collation()})", f"max(t.w{self.collation()})", f"count(DISTINCT {self.text()})", "count(*)", f"sum({self.number()})", "string_agg(t.s, ',' ORDER BY t.id)",
                              f"max({self.text()})", "string_agg(DISTINCT t.w, '')", "mode() WITHIN GROUP (ORDER BY t.w)", "percentile_disc(0.5) WITHIN GROUP (ORDER BY t.s)"], r.randrange(1, 4))
            key = r.choice(["t.w", "t.p", "t.v", self.text(), self.number()])
            return f"SELECT {key}, {', '.join(items)} FROM {{p}}t t{where} GROUP BY {key}" if r.random() < 0.7 else f"SELECT {', '.join(items)} FROM {{p}}t t{where}"
        if kind == 4:
            return f"/*ordered*/ SELECT t.s, t.w, t.id FROM {{p}}t t{where} ORDER BY t.{r.choice('swpv')}{self.collation()} {r.choice(['', 'DESC', 'NULLS FIRST'])}, t.id{r.choice(['', ' LIMIT 20', ' LIMIT 5 OFFSET 100'])}"
        if kind == 5:
            on = r.choice(["t.w = u.w", "t.p = u.p", "t.s = u.s", "t.v = u.v", "t.p = u.w", "t.v = u.p", f"t.w = {self.text('u')}"])
            return f"SELECT count(*), sum(t.id), min(u.s), max(t.w) FROM {{p}}t t {r.choice(['JOIN', 'LEFT JOIN'])} {{p}}u u ON {on}{where}"
        if kind == 6:
            return f"SELECT t.w, t.p FROM {{p}}t t{where} {r.choice(['UNION', 'INTERSECT', 'EXCEPT'])} SELECT u.w, u.p FROM {{p}}u u"
        if kind == 7:
            return f"SELECT k, p, n FROM {{p}}k WHERE k {r.choice(['=', '<', '>='])} {self.word()} AND {r.choice(['n > 0', f'p = {self.character()}', f'k LIKE {self.pattern()}', f'length(k) < 5'])}"
        return f"SELECT t.id, rank() OVER (PARTITION BY t.p ORDER BY t.w{self.collation()}), lag(t.s) OVER (ORDER BY t.id) FROM {{p}}t t{where}"


def run(server, queries, prefix, settings):
    text = "\\set VERBOSITY verbose\nSET statement_timeout = '60s';" + settings
    text += "".join(f"\n\\echo ==={at}\n{query.replace('{p}', prefix)};" for at, query in enumerate(queries))
    answers, current = {}, []
    for line in error_lines.joined(server.run(text).splitlines()):
        if line.startswith("==="):
            current = answers.setdefault(int(line[3:]), [])
        else:
            current.append(line.replace(prefix, ""))
    return {at: lines if queries[at].startswith("/*ordered*/") else sorted(lines) for at, lines in answers.items()}


def judge(encoding, seed, count):
    server = Server(encoding)
    setup(server)
    generator = Generator(random.Random(f"{seed} {encoding}"), encoding)
    queries = [generator.query() for _ in range(count)]
    wanted = run(server, queries, "qh_", "")
    failed = sum(any(line.startswith("ERROR") for line in lines) for lines in wanted.values())
    bad = len(wanted) != len(queries)
    for settings in ("SET doris.threads = 1;", "SET doris.threads = 2; SET doris.batch_rows = 3; SET doris.work_mem = '64kB';", "SET doris.enable_vectorization = off; SET enable_seqscan = off;"):
        found = run(server, queries, "qd_", settings)
        for at, query in enumerate(queries):
            want, have = wanted.get(at) or [], found.get(at) or []
            errors = [line for line in want[:1] + have[:1] if line.startswith("ERROR 22")]
            if want != have and not (len(errors) == 2 and error_lines.may_be_of_another_row(*errors)):
                bad = True
                print(f"differs with {settings} {query.replace('{p}', 'qd_')}\n  heap  {[x for x in want if x not in have][:3]} of {len(want)}\n  doris {[x for x in have if x not in want][:3]} of {len(have)}")
    problems = server.run("SELECT * FROM doris.verify('qd_t') UNION ALL SELECT * FROM doris.verify('qd_k')")
    if problems.strip():
        bad = True
        print(problems)
    native = sum("DorisVectorized" in part for part in server.run("".join(f"\nEXPLAIN (COSTS OFF) {query.replace('{p}', 'qd_')};\n\\echo ===" for query in queries)).split("==="))
    print(f"{'not ok' if bad else 'ok'} - {count} queries in {encoding} answer as on a heap ({native} by the engine, {failed} errors, seed {seed})", flush=True)
    server.run("DROP DATABASE {0};", "postgres")
    return not bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encodings", default=",".join(WORDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=80)
    args = parser.parse_args()
    outcomes = [judge(encoding, args.seed, args.count) for encoding in args.encodings.split(",")]
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
