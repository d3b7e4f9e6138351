# SPDX-License-Identifier: Apache-2.0
"""Queries over tables with a history and over values at the ends of their types.

The tables were filled, altered and filled again: columns that older segments lack, that were dropped, that have another
type or another modifier than the segments say, partitions and children whose columns lie elsewhere. Values lie in order
(so that zone maps, key indexes and runtime filters leave out segments), and some segments hold nothing but NULLs, NaNs,
infinities or one value. Markers as in `hostile`.
"""

HUGE = "9223372036854775807"
TYPES = """
DROP TABLE IF EXISTS qd_o, qd_q, qd_parts, qd_parent, qd_keyed, qh_o, qh_q, qh_parts, qh_parent, qh_keyed CASCADE;
DROP DOMAIN IF EXISTS odd_small, odd_word, odd_share, odd_amount, odd_flag; DROP TYPE IF EXISTS odd_mood, odd_pair CASCADE;
CREATE TYPE odd_mood AS ENUM ('sad', 'ok', 'happy'); ALTER TYPE odd_mood ADD VALUE 'meh' BEFORE 'ok';
CREATE DOMAIN odd_small AS int CHECK (VALUE > -1000); CREATE DOMAIN odd_word AS text; CREATE DOMAIN odd_share AS float8;
CREATE DOMAIN odd_amount AS numeric(10,2); CREATE DOMAIN odd_flag AS bool;
CREATE TYPE odd_pair AS (a int, b text);
CREATE OR REPLACE FUNCTION odd_seen(t text, x int) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS
  'BEGIN RAISE NOTICE ''seen % %'', t, x; RETURN true; END';
CREATE OR REPLACE FUNCTION odd_half(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 100 / x; END';
"""
# Name, type, value of row g. Loads are of 1000 rows: what depends on g / 1000 is alike within a segment.
COLUMNS = [
    ("id", "int", "g"),
    ("k", "int", "g / 7"),
    ("k8", "int8", f"CASE g / 1000 WHEN 1 THEN NULL WHEN 2 THEN {HUGE} - g % 3 WHEN 3 THEN -{HUGE} - 1 + g % 3 ELSE g / 9 END"),
    ("k2", "int2", "CASE WHEN g / 1000 = 1 THEN -32768 + g % 2 WHEN g / 1000 = 2 THEN 32767 ELSE g % 300 END"),
    ("n", "numeric(10,2)", "CASE g / 1000 WHEN 0 THEN g / 8.0 WHEN 1 THEN NULL WHEN 2 THEN -99999999.99 ELSE (g % 500) / 4.0 END"),
    ("w", "numeric(30,4)", "CASE g / 1000 WHEN 3 THEN 99999999999999999999999999.9999 ELSE g / 16.0 END"),
    ("f", "float8", "CASE g / 1000 WHEN 0 THEN g / 3.0 WHEN 1 THEN 'NaN' WHEN 2 THEN (ARRAY['-0','0','NaN','Infinity','-Infinity','1e-310'])[1 + g % 6]::float8 ELSE NULL END"),
    ("r", "float4", "CASE g / 1000 WHEN 0 THEN (g % 10) * 0.1 WHEN 1 THEN '-0' WHEN 2 THEN '-Infinity' ELSE g % 9 END::float4"),
    ("d", "date", "CASE g / 1000 WHEN 0 THEN '2020-01-01'::date + g % 400 WHEN 1 THEN 'infinity' WHEN 2 THEN (ARRAY['-infinity','4713-11-24 BC','5874897-12-31','294276-12-31','294277-01-01'])[1 + g % 5]::date ELSE '2020-06-01' END"),
    ("ts", "timestamp", "CASE g / 1000 WHEN 0 THEN '2020-01-01'::timestamp + g * interval '7 hours' WHEN 1 THEN '-infinity' WHEN 2 THEN (ARRAY['infinity','4713-11-24 BC','294276-12-31 23:59:59.999999'])[1 + g % 3]::timestamp ELSE NULL END"),
    ("tz", "timestamptz", "CASE g / 1000 WHEN 1 THEN 'infinity' ELSE '2021-03-13 00:00+00'::timestamptz + g * interval '1 hour' END"),
    ("iv", "interval", "CASE g / 1000 WHEN 2 THEN (ARRAY['178000000 years','-178000000 years','0'])[1 + g % 3] ELSE (ARRAY['1 mon','30 days','29 days 24:00:00','-1 mon'])[1 + g % 4] END::interval"),
    ("s", "text", "CASE g / 1000 WHEN 0 THEN 'a' || g % 50 WHEN 1 THEN NULL WHEN 2 THEN repeat('z', 70) || g % 4 ELSE (ARRAY['', ' ', 'a%', 'a_b', 'a\\b', 'É', chr(1114111)])[1 + g % 7] END"),
    ("b", "bpchar", "CASE g / 1000 WHEN 1 THEN NULL ELSE (ARRAY['a','a ','a   ','',' ','b', 'a' || chr(9)])[1 + g % 7] END"),
    ("c", "char(3)", "(ARRAY['a','b ',' c','','abc'])[1 + g % 5]"),
    ("m", "odd_mood", "CASE g / 1000 WHEN 1 THEN NULL ELSE (ARRAY['sad','meh','ok','happy'])[1 + g / 10 % 4] END::odd_mood"),
    ("ds", "odd_small", "g % 40 - 20"), ("dw", "odd_word", "'w' || g % 6"), ("df", "odd_share", "CASE WHEN g % 9 = 0 THEN 'NaN' ELSE (g % 20) / 4.0 END"),
    ("pr", "odd_pair", "CASE WHEN g % 8 = 0 THEN NULL WHEN g % 8 = 1 THEN ROW(NULL, NULL)::odd_pair ELSE ROW(g % 5, 'x' || g % 3)::odd_pair END"),
    ("ar", "int[]", "CASE WHEN g % 9 = 0 THEN '{}' WHEN g % 9 = 1 THEN NULL ELSE ARRAY[g % 4, NULL, g % 3] END"),
    ("rg", "int4range", "CASE WHEN g % 7 = 0 THEN 'empty' WHEN g % 7 = 1 THEN NULL WHEN g % 7 = 2 THEN int4range(NULL, g % 9) ELSE int4range(g % 20, g % 20 + 4) END"),
    ("o", "oid", "(4294967290 + g % 6)"), ("mo", "money", "(g % 30 - 9)::numeric::money"), ("nm", "name", "'n' || g % 5"),
    ("ch", "\"char\"", "chr(65 + g % 3)"), ("ip", "inet", "('10.0.' || g % 4 || '.1/16')"), ("bt", "bit(4)", "(g % 16)::bit(4)"),
    ("tt", "timetz", "('12:00+' || g % 3)"), ("by", "bytea", "decode(lpad(to_hex(g % 7), 2, '0'), 'hex')"), ("bo", "bool", "CASE g / 1000 WHEN 1 THEN NULL WHEN 2 THEN true ELSE g % 2 = 0 END"),
]
NAMES = ", ".join(name for name, _, _ in COLUMNS)
VALUES = ", ".join(f"({value})::{kind} AS {name}" if kind != "timetz" else f"({value})::timetz AS {name}" for name, kind, value in COLUMNS)
FILL = TYPES + f"CREATE TEMP TABLE odd AS SELECT {VALUES} FROM generate_series(0, 4999) g;"


def setup(prefix, am, bulk):
    """Statements that make the tables of one side, with their history."""
    columns = ", ".join(f"{name} {kind}" for name, kind, _ in COLUMNS)
    backwards = ", ".join(f"{name} {kind}" for name, kind, _ in reversed(COLUMNS))
    p = prefix
    text = f"{bulk}CREATE TABLE {p}o (gone text, {columns}, v5 varchar(5), n4 numeric(4,1)) USING {am};"
    load = f"INSERT INTO {p}o ({NAMES}, v5, n4) SELECT {NAMES}, 'v' || id % 30, id % 50 / 2.0 FROM odd"
    text += f"{load} WHERE id < 1000; ALTER TABLE {p}o DROP COLUMN gone; {load} WHERE id BETWEEN 1000 AND 1999;"
    text += f"ALTER TABLE {p}o ADD COLUMN late int DEFAULT 7, ADD COLUMN lately numeric(8,2) DEFAULT 1.50, ADD COLUMN lost text, ADD COLUMN named text DEFAULT 'old';"
    text += f"{load} WHERE id BETWEEN 2000 AND 2999; UPDATE {p}o SET late = NULL WHERE id BETWEEN 500 AND 520;"
    text += f"ALTER TABLE {p}o ALTER late SET DEFAULT 8, ALTER v5 TYPE varchar(9), ALTER n4 TYPE numeric(12,1), ALTER dw TYPE text, DROP COLUMN lost;"
    text += f"{load} WHERE id BETWEEN 3000 AND 3999; ALTER TABLE {p}o ALTER v5 TYPE text, ALTER n4 TYPE numeric(25,1), ALTER k TYPE oid;"
    text += f"{load} WHERE id >= 4000; ALTER TABLE {p}o ALTER k TYPE int; RESET doris.rows_to_heap; {load} WHERE id % 600 = 1;"
    # A segment without a living row, one with none deleted, and some with a few.
    text += f"DELETE FROM {p}o WHERE id BETWEEN 4000 AND 4999 OR id % 97 = 0; {bulk}"
    text += f"CREATE TABLE {p}q ({backwards}) USING {am};"
    for low, high in ((0, 99), (900, 1099), (1990, 2010), (2900, 3100)):
        text += f"INSERT INTO {p}q ({NAMES}) SELECT {NAMES} FROM odd WHERE id BETWEEN {low} AND {high};"
    text += f"DELETE FROM {p}q WHERE id % 10 = 3;"
    text += f"CREATE TABLE {p}parts (id int, k8 int8, gone int, s text, n numeric(10,2), d date) PARTITION BY RANGE (id); ALTER TABLE {p}parts DROP COLUMN gone;"
    text += f"CREATE TABLE {p}parts1 (s text, waste int, d date, n numeric(10,2), k8 int8, id int NOT NULL) USING {am}; ALTER TABLE {p}parts1 DROP COLUMN waste; ALTER TABLE {p}parts1 ALTER id DROP NOT NULL;"
    text += f"ALTER TABLE {p}parts ATTACH PARTITION {p}parts1 FOR VALUES FROM (0) TO (1500); CREATE TABLE {p}parts2 PARTITION OF {p}parts FOR VALUES FROM (1500) TO (2500) USING heap;"
    text += f"CREATE TABLE {p}parts3 PARTITION OF {p}parts FOR VALUES FROM (2500) TO (9000) USING {am}; INSERT INTO {p}parts SELECT id, k8, s, n, d FROM odd; ALTER TABLE {p}parts ADD COLUMN late int DEFAULT 3;"
    text += f"CREATE TABLE {p}parent (id int, s text, n numeric(10,2)) USING {am}; CREATE TABLE {p}child (extra int, n numeric(10,2), id int, s text) USING {am}; ALTER TABLE {p}child INHERIT {p}parent;"
    text += f"INSERT INTO {p}parent SELECT id, s, n FROM odd WHERE id < 700; INSERT INTO {p}child (id, s, n, extra) SELECT id, s, n, k FROM odd WHERE id BETWEEN 400 AND 1500;"
    text += f"RESET doris.rows_to_heap; ANALYZE {p}o; ANALYZE {p}q; ANALYZE {p}parts;"
    return text


LITERALS = {
    "id": ["0", "999", "1000", "2999", "500", "3.5", "2147483647", "-1"],
    "k": ["0", "142", "143", "100.5", "9999999999"],
    "k8": [HUGE, f"(-{HUGE} - 1)", "0", "55", "'-5'::int2", "1e10", "2.5::float8"],
    "k2": ["32767", "(-32768)::int2", "-32768", "40000", "299", "7::int8"],
    "n": ["0", "12.5", "12.505", "-99999999.99", "1e20", "124.75", "'NaN'::numeric", "3"],
    "w": ["99999999999999999999999999.9999", "0.0625", "12", "1e30", "0.00001"],
    "f": ["0", "'-0'::float8", "'NaN'", "'Infinity'", "'-Infinity'", "1e-310", "100", "33.333333333333336"],
    "r": ["0.1", "0.1::float4", "'-0'::float4", "'NaN'::float4", "'-Infinity'", "3", "0.30000001192092896"],
    "d": ["'2020-03-01'", "'infinity'", "'-infinity'", "timestamp '2020-03-01'", "timestamp '2020-03-01 12:00'", "timestamp 'infinity'", "timestamp '-infinity'", "'294276-12-31'", "'4713-11-24 BC'", "timestamptz '2020-06-01'"],
    "ts": ["'2020-03-01'", "'infinity'", "'-infinity'", "date '2020-03-01'", "date 'infinity'", "date '5874897-12-31'", "'294276-12-31 23:59:59.999999'", "'4713-11-24 BC'"],
    "tz": ["'2021-03-14'", "'infinity'", "'-infinity'"],
    "iv": ["'1 mon'", "'30 days'", "'0'", "'178000000 years'", "'-178000000 years'"],
    "s": ["'a7'", "''", "' '", "repeat('z', 70) || '2'", "repeat('z', 64)", "'zz'", "chr(1114111)", "'É'"],
    "b": ["'a'", "'a '", "''", "'b'::bpchar", "'a'::text"],
    "c": ["'a'", "'b'", "' c'", "''", "'a  '::bpchar(9)"],
    "m": ["'sad'", "'meh'", "'happy'"], "ds": ["0", "-20", "'3'::odd_small"], "dw": ["'w1'", "'w5'::odd_word"], "df": ["'NaN'", "1.25", "0"],
    "pr": ["ROW(1, 'x1')::odd_pair", "ROW(NULL, NULL)::odd_pair", "ROW(3, NULL)::odd_pair"],
    "ar": ["'{}'", "'{1,NULL,2}'", "'{0}'"], "rg": ["'empty'", "'[3,7)'", "'(,5)'"], "o": ["4294967292", "0", "4294967295"],
    "mo": ["'3.00'", "'-9'"], "nm": ["'n1'", "'n4'"], "ch": ["'A'", "'C'"], "ip": ["'10.0.1.1/16'", "'10.0.0.0/8'"], "bt": ["'0101'", "'1111'"],
    "tt": ["'12:00+1'", "'13:00+2'"], "by": ["'\\x01'", "'\\x06'"], "bo": ["true", "false"],
}
ORDERED = ["id", "k", "k8", "k2", "n", "w", "f", "r", "d", "ts", "tz", "iv", "m", "ds", "o", "mo", "ip", "bt", "tt", "by", "bo", "rg", "ar", "c"]
GROUPED = ["k2", "n", "f", "r", "d", "ts", "s", "c", "m", "ds", "dw", "df", "o", "mo", "nm", "ch", "ip", "bt", "by", "bo", "rg", "ar", "k8", "w"]


def pick(r, *choices):
    return r.choice(choices)


def compare(r, t, column=None):
    """A condition on one column. None of them can fail."""
    column = column or r.choice(COLUMNS)[0]
    name = f"{t}.{column}"
    kind = r.randrange(9)
    literal = lambda: r.choice(LITERALS[column])
    if kind == 0:
        return f"{name} IS {pick(r, '', 'NOT ')}NULL"
    if kind in (1, 2) and column not in ("pr",):
        values = [literal() for _ in range(r.randrange(1, 6))] + ["NULL"] * (r.random() < 0.2)
        return f"{name} {pick(r, '', '', 'NOT ')}IN ({', '.join(values)})"
    if kind == 3:
        return f"{name} IS {pick(r, '', 'NOT ')}DISTINCT FROM {literal()}"
    if kind == 4 and column in ORDERED:
        return f"{name} {pick(r, '', 'NOT ')}BETWEEN {pick(r, '', 'SYMMETRIC ')}{literal()} AND {literal()}"
    if kind == 5:
        return f"{pick(r, '', 'NOT ')}({literal()} {pick(r, '=', '<>')} {name})"
    op = pick(r, "=", "<>", "<", "<=", ">", ">=") if column in ORDERED else pick(r, "=", "<>")
    return f"{name} {op} {literal()}"


def pattern(r, t):
    text = pick(r, "'a%'", "'a\\%'", "'a\\_b'", "'%'", "''", "'zz%'", "repeat('z', 66) || '%'", "'a#%' ESCAPE '#'", "'a\\\\b'", "'_'", "'%5'", "'a_'", "'É%'", "repeat('z', 70) || '1'")
    return f"{t}.{pick(r, 's', 's', 'b', 'c', 'dw', 'nm')} {pick(r, '', 'NOT ')}LIKE {text}"


def rows_compared(r, t):
    op = pick(r, "<", "<=", ">", ">=", "=", "<>")
    left = r.sample(["id", "k2", "n", "f", "d", "ts", "c"], r.randrange(2, 4))
    if r.random() < 0.3:
        lists = ", ".join("(" + ", ".join(pick(r, *LITERALS[c], "NULL") for c in left) + ")" for _ in range(3))
        return f"({', '.join(f'{t}.{c}' for c in left)}) {pick(r, '', 'NOT ')}IN ({lists})"
    right = ", ".join(pick(r, *LITERALS[c], "NULL") for c in left)
    if r.random() < 0.2:
        return f"({', '.join(f'{t}.{c}' for c in left)}) IS {pick(r, '', 'NOT ')}DISTINCT FROM ({right})"
    return f"({', '.join(f'{t}.{c}' for c in left)}) {op} ({right})"


def aged(r, t):
    """A condition on a column with a history; only of table o."""
    column = pick(r, "late", "lately", "named", "v5", "n4")
    literal = {"late": ["7", "8", "0", "7.0"], "lately": ["1.5", "1.501", "0"], "named": ["'old'", "''", "'ol' || 'd'"],
               "v5": ["'v3'", "'v29'"], "n4": ["3", "3.5", "24.5", "3.55"]}[column]
    return pick(r, f"{t}.{column} IS {pick(r, '', 'NOT ')}NULL", f"{t}.{column} {pick(r, '=', '<>', '<', '>=')} {r.choice(literal)}",
                f"{t}.{column} {pick(r, '', 'NOT ')}IN ({', '.join(literal)})", f"{t}.{column} IS DISTINCT FROM {r.choice(literal)}")


def array_condition(r, t):
    empty = pick(r, "'{}'", "'{NULL}'", "'{1,2,NULL}'", "'{7}'")
    return pick(r, f"{t}.k = ANY({empty}::int[])", f"{t}.k <> ALL({empty}::int[])", f"({t}.n = ANY('{{}}'::numeric[])) IS NULL", f"{t}.k8 <> ALL('{{}}'::int8[])",
                f"{t}.ar @> '{{1}}'", f"1 = ANY({t}.ar)", f"{t}.rg && '[3,5)'", f"{t}.id <@ {t}.rg", f"({t}.pr).a = 2", f"{t}.pr IS NULL", f"({t}.pr).b IS NULL", f"{t}.ar[1] > 1", f"{t} IS NOT NULL")


def condition(r, t, depth=0):
    kind = r.randrange(14)
    if depth < 2 and kind == 0:
        return f"({condition(r, t, depth + 1)} OR {condition(r, t, depth + 1)})"
    if depth < 2 and kind == 1:
        return f"NOT ({condition(r, t, depth + 1)} AND {condition(r, t, depth + 1)})"
    if depth < 2 and kind == 2:
        return f"({condition(r, t, depth + 1)}) IS {pick(r, 'TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN', 'NOT UNKNOWN')}"
    if kind == 3:
        return rows_compared(r, t)
    if kind == 4:
        return pattern(r, t)
    if kind == 5 and t == "t":
        return aged(r, t)
    if kind == 6:
        return array_condition(r, t)
    if kind == 7:
        return pick(r, f"CASE WHEN {t}.k = 0 THEN false ELSE 100 / {t}.k > 3 END", f"coalesce(nullif({t}.k, 0), 1) > 50", f"coalesce({t}.k8, {t}.k, 1) % 3 = 1",
                    f"nullif({t}.f, 'NaN') > 5", f"nullif({t}.n, 12.5) IS NULL", f"{t}.k <> 0 AND odd_half({t}.k) > 20", f"CASE {t}.m WHEN 'ok' THEN {t}.k ELSE 0 END > 60",
                    f"greatest({t}.f, {t}.r) > 5", f"least({t}.d, '2020-03-03') < '2020-03-01'", f"{t}.k::numeric(4,0) > 100", f"{t}.id::text LIKE '1%'")
    return compare(r, t)


def where(r, t):
    parts = [condition(r, t) for _ in range(r.randrange(0, 4))]
    return f" WHERE {' AND '.join(parts)}" if parts else ""


def aggregate(r, t):
    kind = r.randrange(8)
    filtered = f" FILTER (WHERE {condition(r, t, 2)})" if r.random() < 0.2 else ""
    if kind == 0:
        return f"count(*){filtered}"
    if kind == 1:
        return f"count({t}.{r.choice(COLUMNS)[0]}){filtered}"
    if kind == 2:
        return f"count(DISTINCT {t}.{r.choice([*GROUPED, 'b', 'b'])}){filtered}"
    if kind == 3:
        return f"sum({t}.{pick(r, 'id', 'k', 'n', 'w', 'ds', 'k2', 'mo')}){filtered}"
    if kind == 4:
        return f"avg({t}.{pick(r, 'id', 'n', 'k2', 'w')}){filtered}"
    # Zeros of both signs are equal, and which one is met first is open.
    column = pick(r, "id", "k", "k8", "k2", "n", "w", "f", "r", "d", "ts", "tz", "o", "mo", "m", "by")
    value = f"{t}.{column}" + (" + 0" if column in "fr" else "")
    if column == "by":
        return f"count({t}.by)"
    return f"{pick(r, 'min', 'max')}({value}){filtered}"


def key(t, column):
    return f"{t}.{column} + 0" if column in ("f", "r", "df") else f"{t}.{column}"


def plain(r):
    columns = r.sample([c[0] for c in COLUMNS] + ["late", "lately", "named", "v5", "n4"], r.randrange(1, 6))
    items = ", ".join(["t.id"] + [f"t.{c}" for c in columns])
    tail = ""
    mark = ""
    if r.random() < 0.4:
        column = r.choice(ORDERED)
        tail = f" ORDER BY t.{column}{pick(r, '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST')}, t.id, t.late LIMIT {r.randrange(0, 60)}{pick(r, '', ' OFFSET 5')}"
        items, mark = f"t.id, t.{column}", "/*ordered*/"
    return mark, f"SELECT {items} FROM {{p}}o t{where(r, 't')}{tail}"


def grouped(r):
    table, t = pick(r, ("{p}o t", "t"), ("{p}o t", "t"), ("{p}q u", "u"))
    keys = [key(t, c) for c in r.sample(GROUPED, r.randrange(0, 4))]
    items = keys + [aggregate(r, t) for _ in range(r.randrange(1, 4))]
    rows = f"{table}{where(r, t)}"
    having = pick(r, "", "", " HAVING count(*) > 3", f" HAVING max({t}.d) IS NOT NULL", " HAVING count(*) = 0")
    if not keys:
        group = pick(r, "", "", " GROUP BY GROUPING SETS ((), ())", " GROUP BY ()")
        return "", f"SELECT {', '.join(items)} FROM {rows}{group}{having}"
    names = ", ".join(keys)
    group = pick(r, names, names, f"ROLLUP ({names})", f"CUBE ({names})", f"GROUPING SETS (({keys[0]}), (), ({names}))")
    if r.random() < 0.15 and group == names:
        items.append(pick(r, f"rank() OVER (ORDER BY count(*), {keys[0]})", f"sum(count(*)) OVER (PARTITION BY {keys[0]})", f"sum(sum({t}.id)) OVER (ORDER BY count(*) RANGE BETWEEN 3 PRECEDING AND CURRENT ROW)"))
    return "", f"SELECT {', '.join(items)} FROM {rows} GROUP BY {group}{having}"


JOINED = [("id", "id"), ("k", "k"), ("k8", "k8"), ("k", "k8"), ("k2", "k"), ("n", "n"), ("n", "w"), ("f", "f"), ("r", "f"), ("d", "d"), ("d", "ts"), ("ts", "ts"), ("s", "s"),
          ("b", "c"), ("b", "b"), ("c", "c"), ("m", "m"), ("ds", "k"), ("dw", "dw"), ("df", "f"), ("o", "o"), ("iv", "iv"), ("ip", "ip"), ("rg", "rg"), ("ar", "ar"), ("pr", "pr"),
          ("by", "by"), ("tz", "tz"), ("mo", "mo"), ("nm", "nm"), ("k", "n"), ("bo", "bo")]


def joined(r):
    """Joins of up to four tables, often on one key, of all kinds."""
    count = r.randrange(1, 4)
    names = ["t", "u", "v", "x"]
    low = r.randrange(0, 3000)
    text = f"(SELECT * FROM {{p}}o WHERE id BETWEEN {low} AND {low + r.randrange(10, 120)}) t"
    shared = r.choice(JOINED)
    for at in range(1, count + 1):
        left, right = shared if r.random() < 0.5 else r.choice(JOINED)
        t = r.choice(names[:at])
        # A key of few values would multiply the rows.
        more = f" AND {t}.id % 16 = {names[at]}.id % 16" if left not in ("id",) else ""
        more += f" AND {pick(r, f'{t}.id < {names[at]}.id', f'{t}.n > {names[at]}.n', compare(r, names[at]), condition(r, names[at], 2))}" if r.random() < 0.4 else ""
        kind = pick(r, "JOIN", "JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN")
        rows = f"(SELECT * FROM {{p}}q WHERE id % {pick(r, '3', '5', '7')} = 1 OR id < {r.randrange(0, 80)})"
        text += f" {kind} {rows} {names[at]} ON {t}.{left} = {names[at]}.{right}{more}"
    last = names[count]
    filters = f" WHERE {pick(r, compare(r, 't'), compare(r, last), f'{last}.id IS NULL', f't.id IS NOT NULL')}" if r.random() < 0.5 else ""
    if r.random() < 0.6:
        sums = ", ".join(f"count({n}.id), sum({n}.id)" for n in names[:count + 1])
        return "", f"SELECT {sums}, {aggregate(r, 't')}, {aggregate(r, last)} FROM {text}{filters}"
    return "", f"SELECT {', '.join(f'{n}.id' for n in names[:count + 1])} FROM {text}{filters}"


def subquery(r):
    left, right = r.choice([pair for pair in JOINED if pair[0] not in ("iv",)])
    limit = f"t.id BETWEEN {pick(r, '0 AND 60', '980 AND 1020', '1995 AND 2040', '2990 AND 3010')}"
    link = f"u.{right} = t.{left}"
    kind = r.randrange(8)
    value = pick(r, "max(u.n)", "min(u.k)", "avg(u.n)", "sum(u.k)", "0.5 * avg(u.n)", "count(*)")
    if kind == 0:
        return f"SELECT t.id FROM {{p}}o t WHERE t.n {pick(r, '<', '>', '=')} (SELECT {value} FROM {{p}}q u WHERE {link} AND {compare(r, 'u', 'k')}) AND {limit}"
    if kind == 1:
        return f"SELECT t.id, (SELECT {value} FROM {{p}}q u WHERE {link} AND u.id <= t.id) FROM {{p}}o t WHERE {limit}"
    if kind == 2:
        return f"SELECT t.id FROM {{p}}o t WHERE {pick(r, '', 'NOT ')}EXISTS (SELECT FROM {{p}}q u WHERE {link} AND {compare(r, 'u')}) AND {limit}"
    if kind == 3:
        if r.random() < 0.3:
            left, right = pick(r, ("md5(t.s)", "dw::text"), ("t.k::text::numeric", "n"), ("upper(t.dw)", "s"), ("t.n + 0.5", "w"), ("t.c::text", "s"), ("(t.pr).a", "k"), ("t.ar[1]", "k"), ("t.late", "k8"))
            return f"SELECT t.id FROM {{p}}o t WHERE {left} {pick(r, '', 'NOT ')}IN (SELECT u.{right} FROM {{p}}q u WHERE {compare(r, 'u')}) {pick(r, 'AND', 'AND', 'OR')} {limit}"
        return f"SELECT t.id FROM {{p}}o t WHERE t.{left} {pick(r, '', 'NOT ')}IN (SELECT u.{right} FROM {{p}}q u WHERE {compare(r, 'u')}) AND {limit}"
    if kind == 4:
        return f"SELECT t.id, l.* FROM {{p}}o t {pick(r, 'CROSS JOIN', 'LEFT JOIN')} LATERAL (SELECT u.id, u.n FROM {{p}}q u WHERE {link} ORDER BY u.id DESC LIMIT 2) l{{on}} WHERE {limit}"
    if kind == 5:
        return f"SELECT t.id FROM {{p}}o t WHERE (t.k, t.c) {pick(r, '', 'NOT ')}IN (SELECT u.k, u.c FROM {{p}}q u WHERE {compare(r, 'u')}) AND {limit}"
    if kind == 6:
        return f"SELECT t.id FROM {{p}}o t WHERE t.n > (SELECT max(u.n) FROM {{p}}q u JOIN {{p}}q x ON x.id = u.id AND {pick(r, '100 / u.k > 2', 'x.n > 1', 'u.k2 > x.ds')} WHERE {link} AND u.k > 0) AND {limit}"
    return f"SELECT t.id, (SELECT count(*) FROM {{p}}parts u WHERE u.id < t.id AND u.k8 = t.k8), (SELECT max(late) FROM {{p}}parts u WHERE u.id = t.id) FROM {{p}}o t WHERE {limit}"


def family(r):
    """Partitions and children whose columns lie elsewhere."""
    condition_ = pick(r, "t.id BETWEEN 1400 AND 1600", "t.k8 IS NULL", "t.n > 20", "t.s LIKE 'a1%'", "t.d = 'infinity'", "t.d > timestamp '2020-03-01'", "t.late = 3", "t.id IN (1, 1499, 1500, 2499, 2500)", "t.s = ''")
    kind = r.randrange(5)
    if kind == 4:
        word = pick(r, "UNION", "INTERSECT", "EXCEPT", "UNION ALL")
        left, right = pick(r, ("c", "b"), ("b", "b"), ("b", "c"), ("c", "c::char(5)"), ("coalesce(c, b)", "c"))
        return f"SELECT count(*), count(x), count(DISTINCT x) FROM (SELECT {left} AS x FROM {{p}}o {word} SELECT {right} FROM {{p}}q WHERE id % 3 = 0) y"
    if kind == 0:
        return f"SELECT count(*), sum(t.id), min(t.n), max(t.d), count(t.s), sum(t.late) FROM {{p}}parts t WHERE {condition_}"
    if kind == 1:
        return f"SELECT t.s, count(*), sum(t.n) FROM {{p}}parts t WHERE {condition_} GROUP BY t.s"
    if kind == 2:
        only = pick(r, "", "ONLY ")
        return f"SELECT count(*), sum(t.id), min(t.n), max(t.s COLLATE \"C\"), count(t.s) FROM {only}{{p}}parent t WHERE {pick(r, 't.id > 450', 't.n > 60', 't.s IS NULL', 'true')}"
    return f"SELECT t.tableoid::regclass::text LIKE '%2', count(*), sum(t.id) FROM {{p}}parts t WHERE {condition_} GROUP BY 1"


def script(r):
    """Statements that are rolled back: other privileges, own changes, definitions that change on the way."""
    kind = r.randrange(12)
    probe = pick(r, "SELECT count(*), min(id), max(id), sum(id), count(n), min(d), max(ts) FROM {p}o t", "SELECT min(k8), max(k8), count(k8), sum(k2) FROM {p}o t", "SELECT count(*) FROM {p}o t")
    filtered = probe + where(r, "t")
    if kind == 0:
        body = f"DELETE FROM {{p}}o t WHERE {condition(r, 't')}; {probe}; {filtered}; SAVEPOINT a; DELETE FROM {{p}}o WHERE id < 2500; {probe}; ROLLBACK TO a; {probe}; {filtered};"
    elif kind == 1:
        body = f"INSERT INTO {{p}}q (id, k, n, d, f) SELECT g, -g, 5, 'infinity', 'NaN' FROM generate_series(1, 3000) g; SELECT count(*), min(k), max(d), max(f) FROM {{p}}q; SAVEPOINT a; TRUNCATE {{p}}q; SELECT count(*), min(k) FROM {{p}}q; ROLLBACK TO a; SELECT count(*), min(k), sum(n) FROM {{p}}q u WHERE {compare(r, 'u')};"
    elif kind == 2:
        body = f"ALTER TABLE {{p}}o ADD COLUMN fresh {pick(r, 'int DEFAULT 5', 'numeric(6,2) DEFAULT 2.50', 'text', 'float8 DEFAULT ' + repr('NaN'), 'odd_small DEFAULT 3', 'date DEFAULT ' + repr('infinity'), 'numeric DEFAULT ' + repr('NaN'))}; SELECT fresh, count(*), count(fresh) FROM {{p}}o t{where(r, 't')} GROUP BY fresh; UPDATE {{p}}o SET fresh = NULL WHERE id < 1200; SELECT count(fresh), count(*) FROM {{p}}o; {filtered};"
    elif kind == 3:
        change = pick(r, "n TYPE numeric", "n TYPE numeric(14,2)", "n TYPE numeric(14,4)", "n TYPE float8", "n TYPE odd_amount", "n TYPE odd_amount, ALTER f TYPE odd_share", "bo TYPE odd_flag", "df TYPE float8", "k8 TYPE numeric", "s TYPE varchar(90)", "s TYPE bpchar", "s TYPE text COLLATE \"C\"", "c TYPE text", "d TYPE timestamp", "k TYPE int8", "ds TYPE int", "dw TYPE odd_word", "r TYPE float8", "ts TYPE timestamptz", "o TYPE int8", "b TYPE text", "ch TYPE text", "m TYPE text")
        body = f"ALTER TABLE {{p}}o ALTER {change}; SELECT count(*), count(n), count(s) FROM {{p}}o t{where(r, 't')}; INSERT INTO {{p}}o (id, n, s) VALUES (1, 1, 'a7'); SELECT id, n, s, f, bo, df FROM {{p}}o WHERE id % 7 = 1; SELECT s || '|', n, c, d, count(*) FROM {{p}}o WHERE id < 1100 GROUP BY 1, n, c, d; SELECT count(*) FROM {{p}}o WHERE s = 'a7'; SELECT min(n), max(n), sum(n::numeric(14,2)) FROM {{p}}o WHERE n < 100000;"
    elif kind == 4:
        body = f"CREATE TEMP TABLE odd_temp ON COMMIT DROP AS SELECT id, n, d FROM {{p}}o t{where(r, 't')}; SELECT count(*), sum(n), max(d) FROM odd_temp; INSERT INTO odd_temp SELECT id, n, d FROM odd_temp; DELETE FROM odd_temp WHERE id % 2 = 0; SELECT count(*), sum(n), min(d) FROM odd_temp; ALTER TABLE odd_temp DROP COLUMN n, ADD COLUMN n text DEFAULT 'x'; SELECT n, count(*) FROM odd_temp GROUP BY n;"
    elif kind == 5:
        values = "".join(f"EXECUTE op({pick(r, 'NULL', *LITERALS['id'][:5])}, {pick(r, 'NULL', *LITERALS['d'][:3])}, {pick(r, 'NULL', *LITERALS['s'][:4])}, {pick(r, 'NULL', repr('{}'), repr('{1,2}'), repr('{7,NULL}'))});" for _ in range(4))
        zone = "SET LOCAL timezone = 'Asia/Tokyo';" if r.random() < 0.5 else ""
        body = f"SET LOCAL plan_cache_mode = {pick(r, 'force_generic_plan', 'auto', 'force_custom_plan')}; PREPARE op(int, date, text, int[]) AS SELECT count(*), sum(id), max(tz::date), min(d + $1) FILTER (WHERE d < '3000-01-01' AND d > '-infinity') FROM {{p}}o t WHERE id > $1 OR d = $2 OR s LIKE $3 OR s = $3 OR k = ANY($4) OR tz < $2; {values} {zone} {values} DELETE FROM {{p}}o WHERE id < 100; ALTER TABLE {{p}}o DROP COLUMN late; {values} DEALLOCATE op;"
    elif kind == 6:
        body = f"CREATE ROLE odd_user; GRANT SELECT ON {{p}}o, {{p}}q TO odd_user; CREATE POLICY odd_policy ON {{p}}o USING ({pick(r, 'id % 3 = 0', 'k < 100', 'bo', 's IS NOT NULL')}); ALTER TABLE {{p}}o ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE odd_user; {probe}; {filtered}; SELECT count(*) FROM {{p}}o t JOIN {{p}}q u ON t.id = u.id{pick(r, '', ' AND odd_half(t.k + 1) > 1')}; SELECT t.id FROM {{p}}o t WHERE t.n > (SELECT avg(u.n) FROM {{p}}o u WHERE u.k = t.k) AND t.id < 100;"
    elif kind == 7:
        body = f"CREATE ROLE odd_user; CREATE VIEW odd_view WITH (security_barrier) AS SELECT id, k, s, n FROM {{p}}o t WHERE {pick(r, 'id BETWEEN 30 AND 40', 'id IN (3, 1500, 2700)', 'k = 20 AND n > 1')}; GRANT SELECT ON odd_view TO odd_user; SET LOCAL ROLE odd_user; SELECT odd_seen(s, id), id FROM odd_view WHERE odd_seen(s, id) AND {pick(r, 'id > 0', 'n > 1', '100 / k > 0')}; SELECT count(*), sum(n) FROM odd_view WHERE {pick(r, 'odd_seen(s, k)', 'k <> 0 AND 100 / k > 0')}; SELECT count(*) FROM {{p}}o;"
    elif kind == 8:
        body = f"CREATE ROLE odd_user; GRANT SELECT (id, n) ON {{p}}o TO odd_user; SET LOCAL ROLE odd_user; SELECT count(*), min(id), max(n) FROM {{p}}o; SAVEPOINT a; {pick(r, 'SELECT max(k) FROM {p}o', 'SELECT count(*) FROM {p}o WHERE k = 3', 'SELECT id FROM {p}o ORDER BY k LIMIT 1', 'SELECT count(t) FROM {p}o t', 'SELECT (SELECT max(s) FROM {p}o)')}; ROLLBACK TO a; SELECT count(id) FROM {{p}}o WHERE n > 3;"
    elif kind == 9:
        body = f"DECLARE c {pick(r, 'SCROLL ', 'NO SCROLL ')}CURSOR {pick(r, '', 'WITH HOLD ')}FOR SELECT id, n, s FROM {{p}}o t{where(r, 't')} ORDER BY id, late; FETCH 3 FROM c; SAVEPOINT a; FETCH {pick(r, 'BACKWARD 2', 'ABSOLUTE 4', 'RELATIVE 2', 'LAST', 'PRIOR')} FROM c; ROLLBACK TO a; UPDATE {{p}}o SET n = 1 WHERE id < 300; FETCH 3 FROM c; CLOSE c;"
    elif kind == 10:
        body = f"CREATE TABLE {{p}}copy (LIKE {{p}}o) USING {{am}}; INSERT INTO {{p}}copy SELECT * FROM {{p}}o t{where(r, 't')}; INSERT INTO {{p}}copy SELECT * FROM {{p}}copy; SELECT count(*), sum(id), min(n), max(f + 0), max(d) FROM {{p}}copy; UPDATE {{p}}copy SET id = id + 1, f = '-0' WHERE k > 50; SELECT count(*), sum(id), count(DISTINCT f) FROM {{p}}copy WHERE f = 0; DELETE FROM {{p}}copy; SELECT count(*), sum(id), max(d) FROM {{p}}copy;"
    else:
        body = f"""DO $x$ DECLARE total int8 := 0; bad int := 0; row record; BEGIN
  FOR row IN SELECT t.id, t.k, t.n FROM {{p}}o t WHERE t.id % 200 < 3 AND {compare(r, 't')} ORDER BY t.id, t.late LOOP
    BEGIN DELETE FROM {{p}}q WHERE id = row.id; total := total + (SELECT count(*) FROM {{p}}q WHERE id <= row.id);
      total := total + coalesce((SELECT max(n) FROM {{p}}o WHERE k = row.k), 0); total := total + 100 / (row.id % 3);
    EXCEPTION WHEN division_by_zero THEN bad := bad + 1; END;
  END LOOP; RAISE NOTICE 'total % %', total, bad; END $x$; SELECT count(*), sum(id) FROM {{p}}q;"""
    return f"BEGIN; {body} ROLLBACK"


def query(r):
    kind = r.choices(["plain", "grouped", "joined", "subquery", "family", "script"], [5, 5, 6, 4, 2, 4])[0]
    if kind == "plain":
        mark, text = plain(r)
    elif kind == "grouped":
        mark, text = grouped(r)
    elif kind == "joined":
        mark, text = joined(r)
    elif kind == "script":
        return "/*script*/" + script(r)
    else:
        mark, text = "", subquery(r) if kind == "subquery" else family(r)
        text = text.replace("l{on}", "l ON true" if "LEFT JOIN LATERAL" in text else "l")
    return mark + "/*pg*/" + text
