#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generated queries on doris tables and on their heap twins: the same rows and the same errors, with all their fields.

usage: queries.py [--kind plain|hostile|odd|sessions|skewed|matrix] [--seed N] [--count N] [--rows N]

Needs a running server (PGHOST, PGPORT, PGUSER from `scripts/server.sh env`) with pg_doris installed. Prints
the seed, each query that differs, what share of the queries ran natively and why the rest did not, and one `ok`/`not
ok` line. Fails if fewer than 80% of the eligible queries ran natively. `--kind hostile` takes the queries of hostile.py,
`--kind odd` those of odd.py, `--kind sessions` those of sessions.py, `--kind skewed` those of skewed.py. `--kind matrix` takes all those of matrix.py, each of which must run natively.
"""
import argparse
import collections
import random
import re
import subprocess
import sys
import tempfile

import error_lines
import hostile
import matrix
import odd
import plans
import sessions
import skewed

METHODS = {"qd_": "doris", "qh_": "heap"}
OTHERS = {"hostile": hostile, "odd": odd, "sessions": sessions, "matrix": matrix, "skewed": skewed}
COLUMNS = {
    "id": "int", "a": "int2", "b": "int4", "c": "int8", "d": "numeric(10,2)", "e": "numeric(18,4)", "nn": "numeric",
    "f": "float8", "g": "float4", "s": "text", "v": "varchar(12)", "p": "char(6)", "dt": "date",
    "ts": "timestamp", "bo": "boolean",
}
SETUP = """
DROP TABLE IF EXISTS {p}t, {p}u;
CREATE TABLE {p}t ({columns}) USING {am};
CREATE TABLE {p}u ({columns}) USING {am};
"""
FILL = """
CREATE TEMP TABLE source AS SELECT g AS id,
  nullif(g % 11, 3)::int2 AS a, CASE WHEN g % 13 = 0 THEN NULL ELSE (g * 7919) % 1000 - 500 END AS b,
  CASE WHEN g % 17 = 0 THEN NULL ELSE (g::int8 * 1000003) % 100000 END AS c,
  CASE WHEN g % 19 = 0 THEN NULL ELSE ((g * 31) % 20001 - 10000) / 100.0 END::numeric(10,2) AS d,
  ((g::int8 * 104729) % 1000000 / 10000.0)::numeric(18,4) AS e,
  CASE WHEN g % 21 = 0 THEN NULL WHEN g % 97 = 0 THEN 'NaN' WHEN g % 5 = 0 THEN g % 70 ELSE (g * 53 % 700 - 200)::numeric / (1 + g % 8) END AS nn,
  CASE WHEN g % 23 = 0 THEN NULL WHEN g % 29 = 0 THEN 'NaN' WHEN g % 31 = 0 THEN '-Infinity'
       ELSE (g % 100) / 7.0 END::float8 AS f, ((g % 50) / 3.0)::float4 AS g,
  CASE WHEN g % 7 = 0 THEN NULL ELSE (ARRAY['red','green','blue','','Ünïcode','a%b','a_b'])[1 + g % 6] END AS s,
  ('v' || g % 40)::varchar(12) AS v, (ARRAY['x','xy ','','zed'])[1 + g % 4]::char(6) AS p,
  CASE WHEN g % 37 = 0 THEN NULL WHEN g % 1001 = 0 THEN 'infinity' ELSE '2020-01-01'::date + g % 900 END::date AS dt,
  '2021-03-01 12:00'::timestamp + g * interval '37 minutes' AS ts, nullif(g % 3, 2)::int::bool AS bo
  FROM generate_series(1, {rows}) g;
"""
LITERALS = {
    "id": lambda r: str(r.randrange(1, 9000)), "a": lambda r: str(r.randrange(-1, 12)),
    "b": lambda r: str(r.randrange(-520, 520)), "c": lambda r: str(r.randrange(0, 100000)),
    "d": lambda r: f"{r.randrange(-10000, 10000) / 100:.2f}", "e": lambda r: f"{r.randrange(0, 1000000) / 10000:.4f}",
    "nn": lambda r: r.choice(["35", "-12.50", "'NaN'", "0.1428571428571429", "66.66666666666667"]),
    "f": lambda r: r.choice(["3.5", "'NaN'::float8", "'-Infinity'::float8", "0", "7.142857142857143"]),
    "g": lambda r: r.choice(["1.5", "'NaN'::float4", "10"]),
    "s": lambda r: r.choice(["'red'", "''", "'Ünïcode'", "'blue'"]), "v": lambda r: f"'v{r.randrange(45)}'",
    "p": lambda r: r.choice(["'x'", "'xy'", "''", "'zed   '"]),
    "dt": lambda r: r.choice(["'2020-06-01'", "'2021-12-31'", "'infinity'"]),
    "ts": lambda r: r.choice(["'2021-03-05'", "'2021-05-01 03:17'"]), "bo": lambda r: r.choice(["true", "false"]),
}


# What only PostgreSQL can evaluate.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION q_twice(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN x * 2; END';
CREATE OR REPLACE FUNCTION q_word(x text) RETURNS text STABLE LANGUAGE plpgsql AS
  $$BEGIN RETURN coalesce(nullif(upper(x), ''), 'none'); END$$;
CREATE OR REPLACE FUNCTION q_number(x text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN RETURN x::int; EXCEPTION WHEN invalid_text_representation THEN RETURN length(x); END$$;
"""


def external_text(r, t):
    return r.choice([f"q_word({t}.s)", f"md5({t}.v)", f"initcap({t}.s)", f"regexp_replace({t}.v, '[0-5]+', '#')",
                     f"to_char({t}.dt, 'YYYY-MM')", f"(to_jsonb({t}.a) ->> 0)", f"({t}.a)::text"])


def text_function(r, t):
    """Text that the engine makes itself."""
    text = f"{t}.{r.choice('sv')}"
    return r.choice([f"replace({text}, 'e', '#')", f"split_part({text}, '{r.choice(['e', ' ', '1'])}', {r.choice([1, 2, -1])})", f"lpad({text}, {t}.a, 'ab')",
                     f"rpad({text}, 7)", f"translate({text}, 'vred1', 'wR')", f"reverse({text})", f"repeat({text}, {t}.a)", f"concat({text}, '-', {t}.b)",
                     f"concat_ws('/', {t}.s, {t}.v, {t}.a)", f"initcap({text} COLLATE \"C\")"])


def external_number(r, t):
    return r.choice([f"q_twice({t}.b)", f"q_number({t}.v)", f"({t}.b & 12)", f"ascii({t}.s)", f"round({t}.d)::int",
                     f"(ARRAY[{t}.a, 3])[1]", f"CASE {t}.a WHEN 1 THEN q_twice({t}.a) ELSE {t}.b END",
                     f"CASE WHEN {t}.b <> 0 THEN q_twice(1000 / {t}.b) END"])


def external_predicate(r, t):
    return r.choice([f"{t}.s ~ '^[rg]'", f"{external_number(r, t)} {r.choice(['<', '>='])} {r.randrange(-100, 500)}",
                     f"{external_text(r, t)} {r.choice(['=', '<>'])} {r.choice([external_text(r, t), LITERALS['s'](r)])}",
                     f"{t}.dt > '2021-01-01'::timestamptz", f"ARRAY[{t}.a::int] && ARRAY[1, 4, 7]"])


def predicate(r, t, depth=0):
    column = r.choice(list(COLUMNS))
    name = f"{t}.{column}"
    kind = r.randrange(13)
    if kind == 12:
        return external_predicate(r, t)
    if depth < 2 and kind == 0:
        return f"({predicate(r, t, depth + 1)} OR {predicate(r, t, depth + 1)})"
    if depth < 2 and kind == 1:
        return f"NOT ({predicate(r, t, depth + 1)} AND {predicate(r, t, depth + 1)})"
    if kind == 2:
        return f"{name} IS {'NOT ' if r.random() < 0.5 else ''}NULL"
    if kind == 3:
        values = ", ".join(LITERALS[column](r) for _ in range(r.randrange(1, 6)))
        return f"{name} {'NOT ' if r.random() < 0.3 else ''}IN ({values})"
    if kind == 4:
        pattern = r.choice(["r%", "%e%", "_e%", "%", "", "a\\%b", "%ö", "v1%"])
        return f"{t}.{r.choice('sv')} {'NOT ' if r.random() < 0.3 else ''}LIKE '{pattern}'"
    if kind == 5:
        return f"{name} BETWEEN {LITERALS[column](r)} AND {LITERALS[column](r)}"
    if kind == 6 and r.random() < 0.5:
        return f"{collated(r, t)} {r.choice(['<', '<=', '>', '>=', '='])} {r.choice([LITERALS['s'](r), LITERALS['v'](r), f'{t}.s'])}"
    if kind == 6:
        return f"{name} IS DISTINCT FROM {LITERALS[column](r)}"
    if kind == 7:
        return f"{number(r, t)} {r.choice(['<', '>', '=', '<='])} {r.randrange(-100, 1000)}"
    return f"{name} {r.choice(['=', '<>', '<', '<=', '>', '>='])} {LITERALS[column](r)}"


def number(r, t, depth=0):
    kind = r.randrange(10)
    if kind == 9:
        return external_number(r, t)
    if depth < 2 and kind < 4:
        if r.random() < 0.2:
            return f"({number(r, t, depth + 1)} / (abs({number(r, t, depth + 1)}) + 1))"
        return f"({number(r, t, depth + 1)} {r.choice('+-*')} {number(r, t, depth + 1)})"
    if kind == 4:
        return f"CASE WHEN {predicate(r, t, 2)} THEN {t}.d ELSE 0 END"
    if kind == 5:
        return f"coalesce({t}.b, 7)"
    if kind == 6 and r.random() < 0.4:
        return r.choice([f"div({t}.d, 7)", f"sign({t}.nn)", f"ascii({t}.s)", f"({t}.c # 255)", f"({t}.b << 2)", f"ceil({t}.d)", f"length({text_function(r, t)})",
                         f"round(sqrt({t}.e), 3)", f"extract(epoch FROM {t}.ts - timestamp '2021-01-01')"])
    if kind == 6 and depth < 2:
        return f"({t}.c % ({t}.b + 501))" if r.random() < 0.2 else f"abs({t}.b)"
    return f"{t}." + r.choice(["a", "b", "c", "d", "e", "nn", "id"])


COLLATIONS = ["", ' COLLATE "C"', ' COLLATE "en-x-icu"', ' COLLATE "de-x-icu"', ' COLLATE "sv-x-icu"']


def collated(r, t):
    """Text in the order of some locale."""
    return f"{t}.{r.choice('ssv')}{r.choice(COLLATIONS)}"


def collecting(r, t):
    """An aggregate that puts rows together, in an order in which only equal values are peers."""
    where = f" FILTER (WHERE {predicate(r, t, 2)})" if r.random() < 0.2 else ""
    text = r.choice([f"{t}.s", f"{t}.v", f"{t}.b::text", external_text(r, t)])
    column = f"{t}.{r.choice(['a', 'b', 'c', 'dt', 'ts', 'bo', 'v', 's', 'id'])}"
    first = r.choice([f"{t}.{r.choice(['a', 'd', 'dt', 'bo'])} {r.choice(['', 'DESC', 'NULLS FIRST'])}, {t}.id",
                      f"{t}.id DESC", f"{collated(r, t)}, {t}.id"])
    return r.choice([
        f"string_agg({text}, '{r.choice([',', '', ' + '])}' ORDER BY {first}, {text}){where}",
        f"string_agg(DISTINCT {text}, ','){where}",
        f"array_agg({column} ORDER BY {first}, {column}){where}",
        f"array_agg(DISTINCT {column}{r.choice(['', f' ORDER BY {column} DESC'])}){where}",
    ])


def aggregate(r, t):
    if r.random() < 0.1:
        return ordered_set(r, t)
    if r.random() < 0.1:
        return collecting(r, t)
    if r.random() < 0.05:
        return f"{r.choice(['min', 'max'])}({collated(r, t)})"
    kind = r.randrange(9)
    where = f" FILTER (WHERE {predicate(r, t, 2)})" if r.random() < 0.2 else ""
    if kind == 0:
        return f"count(*){where}"
    if kind == 1:
        value = f"{t}.{r.choice(list('abcsdv'))}" if r.random() < 0.8 else external_text(r, t)
        return f"count(DISTINCT {value})"
    if kind in (2, 3):
        return f"sum({number(r, t)}){where}"
    if kind == 4:
        return f"{r.choice(['avg', 'avg', 'sum'])}({t}.{r.choice(['a', 'b', 'c', 'd', 'e', 'nn'])}){where}"
    if kind == 5:
        return f"bool_{r.choice(['and', 'or'])}({t}.bo)"
    if r.random() < 0.15:
        function = r.choice(["variance", "stddev", "var_pop", "stddev_pop"])
        return f"{function}({t}.{r.choice(['a', 'b', 'c', 'd', 'e', 'nn'])}){where}"
    if r.random() < 0.1:
        return f"{r.choice(['sum', 'avg', 'variance'])}(DISTINCT round({t}.nn, 2))"
    if r.random() < 0.1:
        return f"round(avg({t}.nn) / (count(*) + 1), 3)"
    column = r.choice(["id", "a", "b", "c", "d", "e", "f", "g", "dt", "ts"])
    return f"{r.choice(['min', 'max', 'count'])}({t}.{column}){where}"


def ordered_set(r, t):
    where = f" FILTER (WHERE {predicate(r, t, 2)})" if r.random() < 0.2 else ""
    fraction = r.choice(["0", "0.25", "0.5", "0.999", "1"])
    continuous, discrete = f"{t}.{r.choice('abfg')}", f"{t}.{r.choice(['a', 'b', 'c', 'd', 'e', 'dt', 'ts', 'f', 's'])}"
    return r.choice([
        f"percentile_cont({fraction}) WITHIN GROUP (ORDER BY {continuous}){where}",
        f"percentile_disc({fraction}) WITHIN GROUP (ORDER BY {discrete}){where}",
        f"mode() WITHIN GROUP (ORDER BY {t}.{r.choice('abcd')}){where}",
    ])


def distinct_on(r):
    where = f" WHERE {predicate(r, 't')}" if r.random() < 0.5 else ""
    keys = [f"t.{c}" for c in r.sample(["a", "bo", "s", "v", "dt", "b"], r.randrange(1, 3))]
    order = f"{', '.join(keys)}, t.{r.choice(['d', 'f', 'ts'])} {r.choice(['', 'DESC'])}, t.id"
    limit = f" LIMIT {r.randrange(1, 30)}" if r.random() < 0.3 else ""
    return f"/*ordered*/ SELECT DISTINCT ON ({', '.join(keys)}) {', '.join(keys)}, t.id, t.e FROM {{p}}t t{where} ORDER BY {order}{limit}"


def source(r):
    where = " AND ".join(predicate(r, "t") for _ in range(r.randrange(0, 4)))
    where = f" WHERE {where}" if where else ""
    kind = r.randrange(13)
    key = r.choice(["a", "b", "id", "c", "v", "dt", "s"])
    if kind < 4:
        return f"{{p}}t t{where}"
    if kind in (11, 12):
        union = "UNION ALL" if kind == 11 else "UNION"
        return f"(SELECT * FROM {{p}}t WHERE id < 5000 {union} SELECT * FROM {{p}}u WHERE id > 4000) t{where}"
    if kind == 4 and r.random() < 0.3:
        more = f" AND {external_predicate(r, 't')} AND q_twice(t.a) < u.b + 900" if r.random() < 0.5 else ""
        return f"{{p}}t t JOIN {{p}}u u ON {external_number(r, 't')} = u.{r.choice('abc')} AND u.id < 60{more}{where}"
    if kind == 4:
        return f"{{p}}t t JOIN {{p}}u u ON t.{key} = u.{key} AND u.id < 60{where}"
    if kind == 5:
        join = r.choice(["LEFT", "RIGHT", "FULL"])
        return f"(SELECT * FROM {{p}}t WHERE id < 700) t {join} JOIN (SELECT * FROM {{p}}u WHERE id < 90) u ON t.{key} = u.{key}{where}"
    word = "" if kind in (6, 8) else "NOT "
    link = "AND" if where else "WHERE"
    if kind in (8, 9):
        rows = r.choice(["u.id < 300", f"u.id < 300 AND u.{key} IS NOT NULL", "u.id < 0"])
        return f"{{p}}t t{where} {link} t.{key} {word}IN (SELECT u.{key} FROM {{p}}u u WHERE {rows})"
    if kind == 10:
        value = r.choice(["0.5 * avg(u.d)", "avg(u.e)", "avg(u.c)", "2 * sum(u.d)", "min(u.d)", "0.2 * avg(u.b)"])
        return f"{{p}}t t{where} {link} t.id < 300 AND t.d {r.choice('<>')} (SELECT {value} FROM {{p}}u u WHERE u.{key} = t.{key})"
    return f"{{p}}t t{where} {link} {word}EXISTS (SELECT 1 FROM {{p}}u u WHERE u.{key} = t.{key} AND u.id < 300)"


def frame(r):
    """A window's frame, or nothing."""
    if r.random() < 0.4:
        return ""
    unit = r.choice(["ROWS", "ROWS", "GROUPS", "RANGE"])
    bounds = ["UNBOUNDED PRECEDING", "2 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"]
    if unit == "RANGE":
        bounds = [bounds[0], bounds[2], bounds[4]]
    start = r.randrange(len(bounds) - 1)
    end = r.randrange(max(start, 1), len(bounds))
    exclude = r.choice(["", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES"])
    return f" {unit} BETWEEN {bounds[start]} AND {bounds[end]}{exclude}"


def window_function(r):
    """A window function; its order is total where its result depends on the order of peers."""
    key = r.choice(["a", "bo", "s", "dt", "p", "b", "f"])
    partition = f"PARTITION BY t.{key} " if r.random() < 0.7 else ""
    order = f"t.{r.choice(['b', 'd', 'dt', 'f', 'a'])} {r.choice(['', 'DESC', 'NULLS FIRST'])}"
    kind = r.randrange(8)
    where = f" FILTER (WHERE {predicate(r, 't', 2)})" if r.random() < 0.2 else ""
    column = r.choice(["id", "a", "b", "c", "d", "e", "f", "g", "dt", "ts", "s"])
    total = f"{partition}ORDER BY {order}, t.id{frame(r)}"
    if kind == 0:
        ranked = r.choice(["rank()", "dense_rank()", "percent_rank()", "cume_dist()"])
        return f"{ranked} OVER ({partition}ORDER BY {order})"
    if kind == 1:
        return f"{r.choice(['row_number()', f'ntile({r.randrange(1, 9)})'])} OVER ({total})"
    if kind == 2:
        more = r.choice(["", ", 3", ", -2", ", 1, NULL", f", 2, t.{column}"])
        return f"{r.choice(['lag', 'lead'])}(t.{column}{more}) OVER ({total})"
    if kind == 3:
        picked = r.choice([f"first_value(t.{column})", f"last_value(t.{column})", f"nth_value(t.{column}, 2)"])
        return f"{picked} OVER ({total})"
    if kind == 4:
        exact = r.choice([f"sum(t.{r.choice('abcde')})", f"avg(t.{r.choice('abcde')})", "count(*)", f"count(t.{column})"])
        if r.random() < 0.3:
            exact = f"{r.choice(['sum', 'avg', 'variance', 'stddev_pop'])}(t.{r.choice(['nn', 'b', 'e'])})"
        # An order with peers: all of them see the same rows.
        return f"{exact}{where} OVER ({partition}ORDER BY {order})"
    if kind == 5:
        return f"{r.choice(['min', 'max'])}(t.{r.choice(['id', 'b', 'd', 'f', 'dt', 'ts'])}){where} OVER ({total})"
    if kind == 6 and r.random() < 0.2:
        small = f"{partition}ORDER BY {order}, t.id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING"
        return f"{r.choice(['string_agg(t.s, t.v)', 'array_agg(t.d)', 'array_agg(t.s)', 'max(t.nn)'])}{where} OVER ({small})"
    if kind == 6:
        return f"{r.choice(['sum', 'avg'])}(t.{r.choice('fg')}){where} OVER ({total})"
    return f"{r.choice(['sum', 'count', 'avg'])}({number(r, 't')}){where} OVER ({total})"


def window_query(r):
    where = f" WHERE {predicate(r, 't')}" if r.random() < 0.5 else ""
    if r.random() < 0.2:
        key = r.choice(["a", "s", "bo"])
        outer = r.choice([f"sum(sum(t.b)) OVER (ORDER BY t.{key})", f"rank() OVER (ORDER BY sum(t.d), t.{key})"])
        return f"SELECT t.{key}, {outer}, count(*) FROM {{p}}t t{where} GROUP BY t.{key}"
    items = ", ".join(["t.id"] + [window_function(r) for _ in range(r.randrange(1, 4))])
    rows = f"{{p}}t t{where}" if where else "(SELECT * FROM {p}t WHERE id < 2500) t"
    if r.random() < 0.3:
        function = r.choice(["row_number()", "rank()", "count(*)"])
        over = f"{function} OVER (PARTITION BY t.{r.choice(['a', 'v', 's'])} ORDER BY t.id)"
        items += f", {over} AS place"
        return f"SELECT * FROM (SELECT {items} FROM {rows}) x WHERE place {r.choice(['<=', '<', '='])} {r.randrange(1, 5)}"
    return f"SELECT {items} FROM {rows}"


def set_operation(r):
    columns = r.sample(["a", "bo", "s", "v", "dt", "b", "d", "id", "nn"], r.randrange(1, 4))
    word = r.choice(["UNION", "INTERSECT", "EXCEPT"]) + r.choice(["", " ALL"])
    # Equal numerics look the same when they are rounded.
    sides = [f"SELECT {', '.join(f'round({t}.nn, 3)' if c == 'nn' else f'{t}.{c}' for c in columns)} FROM {{p}}{t} {t} WHERE {predicate(r, t)}" for t in "tu"]
    return f" {word} ".join(sides)


def nested(r):
    """The first rows of an order, for something that asks for no order; or subqueries that not every row asks for."""
    key = r.choice(["a", "s", "dt", "b", "v", "d"])
    if r.random() < 0.4:
        quiet = r.choice(["SELECT max(b) FROM {p}u", f"SELECT min(b) FROM {{p}}u u WHERE {predicate(r, 'u')}", "SELECT b FROM {p}u ORDER BY id LIMIT 1"])
        # Fails: by a division, or because it has several rows.
        fails = r.choice(["SELECT 1 / count(*)::int FROM {p}u WHERE id < 0", "SELECT b FROM {p}u"])
        case = f"CASE WHEN {predicate(r, 't')} THEN t.b WHEN t.id > 0 THEN ({quiet}) ELSE ({fails}) END"
        picked = r.choice([case, f"coalesce(t.id, ({fails}))", f"CASE WHEN t.b > ({quiet}) THEN 1 ELSE 2 END"])
        # Equal numerics of several scales: PostgreSQL may have to take over.
        by = r.choice([f"t.{key}", "round(t.nn, 1)"])
        return f"SELECT {by}, count(*), sum({picked}) FROM {{p}}t t WHERE t.b <> ({quiet}) GROUP BY {by}"
    count, order = r.randrange(0, 12), r.choice(["", " DESC", " DESC NULLS LAST"])
    inner = r.choice([
        f"SELECT t.{key} AS k, count(DISTINCT t.b) AS n FROM {{p}}t t WHERE {predicate(r, 't')} GROUP BY t.{key} ORDER BY t.{key}{order} LIMIT {count}",
        f"SELECT DISTINCT t.{key} AS k, 1 AS n FROM {{p}}t t ORDER BY t.{key}{order} LIMIT {count} OFFSET 1",
        f"SELECT t.{key} AS k, t.id AS n FROM {{p}}t t JOIN {{p}}u u ON u.id = t.id ORDER BY t.{key}{order}, t.id LIMIT {count}",
    ])
    return r.choice([
        f"SELECT sum(n), count(k) FROM ({inner}) x",
        f"SELECT n, count(*) FROM ({inner}) x GROUP BY n",
        f"SELECT count(*), min(u.id) FROM {{p}}u u WHERE u.{key} IN (SELECT k FROM ({inner}) x)",
        f"SELECT count(*), sum(x.n) FROM {{p}}u u JOIN ({inner}) x ON u.{key} = x.k",
    ])


def query(r):
    if r.random() < 0.12:
        return nested(r)
    if r.random() < 0.2:
        return window_query(r)
    if r.random() < 0.06:
        return set_operation(r)
    if r.random() < 0.04:
        return distinct_on(r)
    origin = source(r)
    if r.random() < 0.65:
        keys = [f"t.{c}" for c in r.sample(["a", "bo", "s", "v", "dt", "p", "b"], r.randrange(0, 3))]
        keys += [r.choice([external_text, external_number, text_function])(r, "t")] if r.random() < 0.15 else []
        keys += ["round(t.nn, 1)"] if r.random() < 0.1 else []
        having = " HAVING count(*) > 3" if keys and r.random() < 0.3 else ""
        items = keys + [aggregate(r, "t") for _ in range(r.randrange(1, 4))]
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        if keys and r.random() < 0.25:
            sets = r.choice([f"ROLLUP ({', '.join(keys)})", f"CUBE ({', '.join(keys)})", f"GROUPING SETS (({keys[0]}), (), ({', '.join(keys)}))"])
            return f"SELECT grouping({', '.join(keys)}), {', '.join(items)} FROM {origin} GROUP BY {sets}{having}"
        if keys and r.random() < 0.4:
            # The groups' keys are unique: so is the order.
            order = ", ".join(k + r.choice(["", " DESC", " NULLS FIRST"]) for k in r.sample(keys, len(keys)))
            return f"/*ordered*/ SELECT {', '.join(items)} FROM {origin}{group}{having} ORDER BY {order}"
        return f"SELECT {', '.join(items)} FROM {origin}{group}{having}"
    if r.random() < 0.15:
        keys = ", ".join(f"t.{c}" for c in r.sample(["a", "bo", "s", "v", "dt", "b"], r.randrange(1, 3)))
        return f"/*ordered*/ SELECT DISTINCT {keys} FROM {origin} ORDER BY {keys}"
    items = [f"t.{c}" for c in r.sample(list(COLUMNS), r.randrange(1, 5))] + [number(r, "t")]
    if "JOIN" in origin:
        return f"SELECT {', '.join(items)} FROM {origin}"
    # Both sides of a union may have rows of one id, which differ in these.
    last = "t.id, t.b, t.s" if "UNION" in origin else "t.id"
    first = f"t.{r.choice(['d', 'b', 'dt', 'f', 'nn'])}" if r.random() < 0.7 else collated(r, "t")
    order = f" ORDER BY {first} {r.choice(['', 'DESC', 'NULLS FIRST'])}, {last} LIMIT {r.randrange(1, 50)}"
    return f"SELECT {', '.join(items)} FROM {origin}{order if r.random() < 0.5 else ''}"


def psql(text):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-d", "postgres"], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout


def setup(rows):
    columns = ", ".join(f"{n} {t}" for n, t in COLUMNS.items())
    text = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_doris; SET TIME ZONE 'UTC';"
    text += FUNCTIONS + FILL.format(rows=rows)
    for prefix, am in (("qd_", "doris"), ("qh_", "heap")):
        text += SETUP.format(p=prefix, am=am, columns=columns)
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        fill(text + f"\\copy source TO '{file.name}' (FORMAT csv, NULL 'N')\n", file)


def fill(text, file):
    for prefix in ("qd_", "qh_"):
        text += f"\\copy {prefix}t FROM '{file.name}' (FORMAT csv, NULL 'N')\n"
        text += f"\\copy {prefix}u FROM '{file.name}' (FORMAT csv, NULL 'N')\n"
        text += f"DELETE FROM {prefix}t WHERE id % 41 = 0; UPDATE {prefix}t SET b = b + 1, s = 'updated' WHERE id % 43 = 0;"
        text += f"DELETE FROM {prefix}u WHERE id % 5 = 0; ANALYZE {prefix}t; ANALYZE {prefix}u;"
    problems = [line for line in psql(text).splitlines() if "ERROR" in line]
    if problems:
        sys.exit("not ok - set up: " + "; ".join(problems))


def other_setup(kind):
    text = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_doris;" + kind.FILL
    text += kind.setup("qh_", "heap", "") + kind.setup("qd_", "doris", "SET doris.rows_to_heap = 0;")
    problems = [line for line in psql(text).splitlines() if "ERROR" in line]
    if problems:
        sys.exit("not ok - set up: " + "; ".join(problems))


def run(queries, prefix, settings):
    text = "\\set VERBOSITY verbose\nSET extra_float_digits = 1; SET statement_timeout = '60s';" + settings
    for i, q in enumerate(queries):
        # Scripts may end within a transaction that an error broke.
        text += f"\n\\echo ==={i}\n{q.replace('{p}', prefix).replace('{am}', METHODS[prefix])};{'ROLLBACK; DEALLOCATE ALL;' if '/*script*/' in q else ''}"
    answers, current = {}, None
    for line in error_lines.joined(psql(text).splitlines()):
        if line.startswith("==="):
            current = answers.setdefault(int(line[3:]), [])
        elif current is not None and "WARNING" not in line:
            # The names of tables differ by their prefix.
            current.append(line.replace(prefix, "") if is_error(line) else line)
    return {i: lines if queries[i].startswith("/*ordered*/") else sorted(lines) for i, lines in answers.items()}


def is_error(line):
    return line.startswith("ERROR ")


def same(want, have):
    """Equal answers; where several rows have values that fail, which of them is met first is open."""
    if want == have:
        return True
    return (want is not None and have is not None and len(want) == len(have) == 1 and is_data_error(want[0]) and is_data_error(have[0])
            and error_lines.may_be_of_another_row(want[0], have[0]))


def is_data_error(line):
    return line.startswith("ERROR 22")


def cannot_convert(query, settings):
    """Whether the query fails by a value that has no counterpart in another type. That is an error of its own class, but of data."""
    text = "\\set VERBOSITY terse\n" + settings + "\n" + query + ";"
    return bool(re.search(r"ERROR:  cannot convert (NaN|infinity) to", psql(text)))


def fails_either_way(query, want, have, settings):
    """Whether both sides fail by values of which only the order of rows says which one is met first."""
    if not want or not have or not len(want) == len(have) == 1 or not is_error(want[0]) or not is_error(have[0]):
        return False
    if is_data_error(want[0]) and is_data_error(have[0]):
        return False
    sides = (("qh_", want[0], ""), ("qd_", have[0], settings))
    return all(is_data_error(line) or "0A000" in line and cannot_convert(query.replace("{p}", prefix), more) for prefix, line, more in sides)


# Queries with these are not all the engine's: functions, letter case and time zones that are left to PostgreSQL.
FOREIGN = re.compile(r"/\*pg\*/|upper\(|lower\(|ILIKE|\.tz\b|timestamptz|q_twice|q_word|q_number|md5|regexp_replace|to_char|to_jsonb|initcap\(t\.s\)| ~ |&& ARRAY|ARRAY\[t")


def report(queries, prefix):
    """Prints what ran natively; whether it was enough."""
    plain = [q for q in queries if "/*script*/" not in q]
    eligible = [q for q in plain if not FOREIGN.search(q)]
    foreign = [q for q in plain if FOREIGN.search(q)]
    good = True
    for name, some in (("eligible queries", eligible), ("queries with what PostgreSQL evaluates", foreign)):
        if not some:
            continue
        found = plans.explained([q.replace("{p}", prefix) for q in some], psql)
        native, whole, part = (sum(getattr(ran, kind) for ran in found) for kind in ("native", "whole", "part"))
        print(f"{len(some)} {name}: {native} ran natively, {whole} vectorised from the top, {part} in part")
        for reason, count in fallbacks(ran for ran in found if not ran.whole):
            print(f"  {count:4} {reason}")
        operators = collections.Counter(operator for ran in found if ran.native for operator in ran.operators)
        print("  natively: " + ", ".join(f"{operator} {count}" for operator, count in operators.most_common()))
        if some is eligible and native * 10 < len(some) * 8:
            print("fewer than 80% ran natively")
            good = False
    return good


def fallbacks(found):
    """Reasons, the most frequent first; of runs that were given up, without what differs from one to the next."""
    return collections.Counter(reason for ran in found for reason in set(ran.reasons)).most_common(25)


def report_matrix(pairs, prefix):
    """Whether each query ran natively with the operators that it is there for, and each operator spilled that can."""
    texts = [query.replace("{p}", prefix) for query, _ in pairs]
    found = plans.explained(texts, psql)
    short = plans.explained(texts, psql, "SET doris.work_mem = '64kB'; SET enable_hashagg = off;")
    good = True
    for text, (_, wanted), ran in zip(texts, pairs, found):
        missing = sorted(wanted - ran.operators) if wanted is not None else []
        if wanted is not None and (not ran.native or missing):
            good = False
            print(f"not native{' with ' + ', '.join(missing) if missing else ''}: {text}\n  {'; '.join(ran.reasons)}")
        if wanted is None and ran.native:
            good = False
            print(f"is native now, and should be required to be: {text}")
    native = collections.Counter(operator for ran in found + short if ran.native for operator in ran.operators)
    print("natively: " + ", ".join(f"{operator} {native[operator]}" for operator in plans.OPERATORS))
    spilled = collections.Counter(operator for ran in short for operator in ran.spilled)
    print("spilled: " + ", ".join(f"{operator} {spilled[operator]}" for operator in plans.SPILLING))
    for reason, count in fallbacks(ran for ran in found if not ran.native):
        print(f"  {count:4} {reason}")
    for operator in [name for name in plans.OPERATORS if not native[name]]:
        good = False
        print(f"no query ran natively with {operator}")
    for operator in [name for name in plans.SPILLING if not spilled[name]]:
        good = False
        print(f"no {operator} went to temporary files")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=("plain", *OTHERS), default="plain")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rows", type=int, default=9000)
    args = parser.parse_args()
    print(f"{args.kind} queries, seed {args.seed}", flush=True)
    if args.kind in OTHERS:
        other_setup(OTHERS[args.kind])
    else:
        setup(args.rows)
    zone = "SET TIME ZONE 'America/New_York';" if args.kind in OTHERS else ""
    r = random.Random(args.seed)
    pairs = matrix.queries(r) if args.kind == "matrix" else []
    make = OTHERS[args.kind].query if args.kind in OTHERS and not pairs else query
    queries = [text for text, _ in pairs] or [make(r) for _ in range(args.count)]
    expected = run(queries, "qh_", zone)
    if len(expected) < len(queries):
        sys.exit("not ok - the server gave no answers")
    bad = 0
    # The last two leave next to no memory: operators go to temporary files.
    for threads, memory, batch, without in ((1, "1GB", 4096, ""), (2, "1GB", 3, "hashjoin"), (2, "64kB", 4096, "hashagg"), (1, "64kB", 7, "sort")):
        settings = f"SET doris.threads = {threads}; SET doris.work_mem = '{memory}'; SET doris.batch_rows = {batch};"
        settings += f"SET enable_{without} = off;" if without else ""
        found = run(queries, "qd_", zone + settings)
        for i, q in enumerate(queries):
            if i not in expected or not (same(expected[i], found.get(i)) or fails_either_way(q, expected[i], found.get(i), zone + settings)):
                bad += 1
                want, have = expected.get(i) or ["no answer"], found.get(i) or ["no answer"]
                print(f"differs with {threads} threads, {memory} and batches of {batch}: {q.replace('{p}', 'qd_')}")
                print(f"  heap  {[x for x in want if x not in have][:3]} of {len(want)}")
                print(f"  doris {[x for x in have if x not in want][:3]} of {len(have)}", flush=True)
    errors = sum(any(map(is_error, a)) for a in expected.values())
    print(f"{len(queries)} queries, {sum(map(bool, expected.values()))} answers had rows, {errors} were errors")
    if not (report_matrix(pairs, "qd_") if pairs else report(queries, "qd_")):
        bad += 1
    print(f"{'not ok' if bad else 'ok'} - generated {args.kind} queries answer as on a heap (seed {args.seed})")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
