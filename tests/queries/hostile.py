# SPDX-License-Identifier: Apache-2.0
"""Queries over every type with awkward values: expressions, joins with residuals, scripts of several statements.

`query(r)` gives one as text with `{p}` before each table's name. A query starting with `/*ordered*/` has a total order,
one with `/*pg*/` uses something that the engine leaves to PostgreSQL, one with `/*script*/` is several statements.
"""

COLUMNS = {
    "id": "int", "i2": "int2", "i4": "int4", "i8": "int8", "f4": "float4", "f8": "float8", "n": "numeric(10,2)",
    "m": "numeric(20,6)", "big": "numeric(38,10)", "nu": "numeric", "nv": "numeric", "d": "date", "t": "time", "ts": "timestamp",
    "tz": "timestamptz", "iv": "interval", "s": "text", "sc": "text COLLATE \"C\"", "v": "varchar(10)", "p": "char(6)",
    "y": "bytea", "u": "uuid", "bo": "boolean", "j": "jsonb", "ar": "int[]",
}
TEXTS = "ARRAY['red','green','','Ünïcode','a%b','a_b','a\\b','  pad  ','straße','İstanbul','😀x','12','-7','1e3','NULL','RED']"
FILL = """
SET TIME ZONE 'America/New_York';
CREATE TEMP TABLE hostile AS SELECT g AS id,
  (CASE WHEN g % 11 = 3 THEN NULL WHEN g = 50 THEN 32767 WHEN g = 51 THEN -32768 ELSE g % 11 END)::int2 AS i2,
  CASE WHEN g % 13 = 0 THEN NULL WHEN g = 60 THEN 2147483647 WHEN g = 61 THEN -2147483648
       ELSE (g * 7919) % 100 - 50 END AS i4,
  CASE WHEN g % 17 = 0 THEN NULL WHEN g = 70 THEN 9223372036854775807 WHEN g = 71 THEN -9223372036854775808
       ELSE (g::int8 * 1000003) % 1000 - 500 END AS i8,
  (CASE WHEN g % 19 = 0 THEN NULL WHEN g % 31 = 0 THEN 'NaN' WHEN g % 37 = 0 THEN 'Infinity' WHEN g % 41 = 0 THEN '-0'
       ELSE ((g % 40) / 4.0 - 5)::text END)::float4 AS f4,
  (CASE WHEN g % 23 = 0 THEN NULL WHEN g % 29 = 0 THEN 'NaN' WHEN g % 43 = 0 THEN '-Infinity' WHEN g % 47 = 0 THEN '-0'
       WHEN g = 80 THEN '1e308' WHEN g = 81 THEN '1e-308' ELSE ((g % 64) / 8.0 - 4)::text END)::float8 AS f8,
  CASE WHEN g % 19 = 0 THEN NULL ELSE ((g * 31) % 2001 - 1000) / 100.0 END::numeric(10,2) AS n,
  CASE WHEN g = 90 THEN 99999999999999.999999 ELSE ((g::int8 * 104729) % 100000 - 5000) / 1000.0 END::numeric(20,6) AS m,
  CASE WHEN g % 53 = 0 THEN NULL WHEN g = 91 THEN 9999999999999999999999999999.9999999999
       ELSE g / 7.0 END::numeric(38,10) AS big,
  CASE WHEN g % 7 = 0 THEN NULL WHEN g % 67 = 0 THEN 'NaN' WHEN g % 71 = 0 THEN '1e40' ELSE (g % 9 * 1.50)::text END::numeric AS nu,
  CASE WHEN g % 13 = 0 THEN NULL WHEN g % 97 = 0 THEN 'Infinity' WHEN g % 101 = 0 THEN '-Infinity' WHEN g % 89 = 0 THEN 'NaN'
       WHEN g = 200 THEN repeat('9', 60) || '.' || repeat('7', 40) WHEN g = 201 THEN '-' || repeat('4', 300) WHEN g % 79 = 0 THEN '-1e-30'
       ELSE (g * 37 % 1000 - 300)::text || (ARRAY['', '.0', '.25', '.500'])[1 + g % 4] END::numeric AS nv,
  (CASE WHEN g % 37 = 0 THEN NULL WHEN g % 101 = 0 THEN 'infinity' WHEN g % 103 = 0 THEN '-infinity' WHEN g = 95 THEN '0044-03-15 BC'
       ELSE ('2020-02-25'::date + g % 900)::text END)::date AS d,
  CASE WHEN g % 59 = 0 THEN '24:00' ELSE '00:00'::time + g * interval '97 minutes 0.000123 seconds' END::time AS t,
  CASE WHEN g % 61 = 0 THEN NULL WHEN g = 96 THEN '-infinity' WHEN g = 97 THEN 'infinity' WHEN g = 98 THEN '0001-01-01 BC'
       ELSE '2021-03-01 12:00'::timestamp + g * interval '37 minutes 1.25 seconds' END::timestamp AS ts,
  CASE WHEN g % 61 = 1 THEN NULL WHEN g = 99 THEN 'infinity'
       ELSE '2021-03-13 12:00+00'::timestamptz + g * interval '31 minutes' END::timestamptz AS tz,
  CASE WHEN g % 29 = 0 THEN NULL ELSE (ARRAY['1 mon','30 days','720 hours','1 year','12 mons','-1 day','00:00:00.5','0'])[1 + g % 8]::interval END AS iv,
  CASE WHEN g % 7 = 0 THEN NULL ELSE (TEXTS)[1 + g % 16] END AS s,
  CASE WHEN g % 9 = 0 THEN NULL ELSE (TEXTS)[1 + (g * 5) % 16] END COLLATE "C" AS sc,
  ('v' || g % 40)::varchar(10) AS v, CASE WHEN g % 83 = 0 THEN NULL ELSE (ARRAY['x','xy ','','zed','é'])[1 + g % 5]::char(6) END AS p,
  CASE WHEN g % 6 = 0 THEN NULL ELSE decode(lpad(to_hex(g % 50), 4, '0'), 'hex') END AS y,
  CASE WHEN g % 5 = 0 THEN NULL ELSE md5((g % 60)::text)::uuid END AS u, nullif(g % 3, 2)::int::bool AS bo,
  CASE WHEN g % 8 = 0 THEN NULL ELSE jsonb_build_object('a', g % 10, 'b', (ARRAY['x','y',NULL])[1 + g % 3], 'c', jsonb_build_array(g % 4, 'z')) END AS j,
  CASE WHEN g % 10 = 0 THEN NULL ELSE ARRAY[g % 5, NULL, g % 7] END AS ar
  FROM generate_series(1, 6000) g;
""".replace("TEXTS", TEXTS)
PIECES = 5
TABLES = {"w": 6000, "x": 500}


def setup(prefix, am, bulk):
    """Statements that make the tables of one side; several loads, so that there are several segments."""
    columns = ", ".join(f"{n} {t}" for n, t in COLUMNS.items())
    text = f"DROP TABLE IF EXISTS {prefix}w, {prefix}x, {prefix}part, {prefix}sink CASCADE;{bulk}"
    for table, rows in TABLES.items():
        text += f"CREATE TABLE {prefix}{table} ({columns}) USING {am};"
        for piece in range(PIECES):
            low, high = rows * piece // PIECES, rows * (piece + 1) // PIECES
            text += f"INSERT INTO {prefix}{table} SELECT * FROM hostile WHERE id > {low} AND id <= {high};"
    text += f"""
CREATE TABLE {prefix}part ({columns}) PARTITION BY RANGE (id);
CREATE TABLE {prefix}part1 PARTITION OF {prefix}part FOR VALUES FROM (0) TO (1000) USING {am};
CREATE TABLE {prefix}part2 PARTITION OF {prefix}part FOR VALUES FROM (1000) TO (2000) USING {am};
CREATE TABLE {prefix}part3 PARTITION OF {prefix}part FOR VALUES FROM (2000) TO (9000) USING {am};
INSERT INTO {prefix}part SELECT * FROM hostile WHERE id <= 3000;
CREATE TABLE {prefix}sink (a int8, b text, c numeric) USING {am};
RESET doris.rows_to_heap;
INSERT INTO {prefix}w SELECT * FROM hostile WHERE id BETWEEN 100 AND 140;
DELETE FROM {prefix}w WHERE id % 41 = 0; UPDATE {prefix}w SET i4 = i4 + 1, s = 'updated' WHERE id % 43 = 0;
DELETE FROM {prefix}x WHERE id % 5 = 0;
ANALYZE {prefix}w; ANALYZE {prefix}x; ANALYZE {prefix}part;
"""
    return text


# --- expressions: (text, may raise an error, native) is more than is needed; `safe` forbids what may fail.

def pick(r, *choices):
    return r.choice(choices)


class Gen:
    """Expressions over the columns of table alias `t`."""

    def __init__(self, r, t="t", safe=False):
        self.r, self.t, self.safe, self.pg = r, t, safe, False

    def col(self, *names):
        return f"{self.t}.{self.r.choice(names)}"

    def foreign(self, text):
        """An expression that PostgreSQL evaluates."""
        self.pg = True
        return text

    def int_(self, depth=0):
        r = self.r
        kind = r.randrange(16) if depth < 2 else r.randrange(3)
        a = lambda: self.int_(depth + 1)
        if kind < 2:
            return self.col("id", "i2", "i4", "i4", "i8") if not self.safe else self.col("id", "id", "i2")
        if kind == 2:
            return pick(r, "0", "1", "-1", "7", "100", "NULL::int4", "3::int2", "5::int8")
        if kind < 6:
            op = r.choice("+-*") if self.safe else r.choice("+-*/%")
            if self.safe:
                return f"({self.col('id', 'i2')} {op} {pick(r, '1', '2', '3', '10')})"
            return f"({a()} {op} {a()})"
        if kind == 6:
            return f"abs({a()})" if not self.safe else f"abs({self.col('id')})"
        if kind == 7:
            return f"length({self.text(depth + 1)})"
        if kind == 8:
            return f"CASE WHEN {self.bool_(depth + 1)} THEN {a()} ELSE {a()} END"
        if kind == 9:
            return f"coalesce({a()}, {a()})"
        if kind == 10:
            return f"nullif({a()}, {pick(r, '0', '1', '5')})"
        if kind == 11:
            return f"{pick(r, 'greatest', 'least')}({a()}, {a()})"
        if kind == 12:
            return f"({self.col('d')} - '2020-03-01'::date)" if not self.safe else f"strpos({self.text(2)}, 'e')"
        if kind == 13 and not self.safe:
            return f"({pick(r, self.num(2), self.float_(2))})::{pick(r, 'int2', 'int4', 'int8')}"
        if kind == 14 and not self.safe:
            return f"({self.int_(2)})::{pick(r, 'int2', 'int4', 'int8')}"
        if kind == 15 and not self.safe:
            # CASE guards a division.
            x = self.col("i2", "i4", "i8")
            return f"CASE WHEN {x} <> 0 THEN {a()} / {x} ELSE 0 END"
        return f"(-{self.col('i2')})"

    def num(self, depth=0):
        r = self.r
        kind = r.randrange(12) if depth < 2 else r.randrange(2)
        a = lambda: self.num(depth + 1)
        if kind == 0:
            return self.col("n", "m", "n", "big", "nu", "nv")
        if kind == 1:
            return pick(r, "1.5", "0.00", "-2.125", "100", "NULL::numeric(6,2)", "0.1")
        if kind < 5:
            if self.safe:
                return f"({self.col('n', 'm')} {r.choice('+-*')} {self.col('n', 'i2')})"
            return f"({a()} {r.choice('+-*+-*/%')} {a()})"
        if kind == 5:
            return f"round({a()}, {pick(r, '0', '1', '2', '-1', '5')})"
        if kind == 6:
            return f"abs({a()})"
        if kind == 7:
            return f"CASE WHEN {self.bool_(depth + 1)} THEN {a()} ELSE {pick(r, '0', a())} END"
        if kind == 8:
            return f"coalesce({a()}, 0)"
        if kind == 9:
            return f"{pick(r, 'greatest', 'least')}({a()}, {a()})"
        if kind == 10 and not self.safe:
            return f"({pick(r, self.num(2), self.int_(2), self.float_(2))})::numeric({pick(r, '12,2', '6,1', '4,0', '30,8', '5,4')})"
        if kind == 11:
            return f"{pick(r, 'trunc', 'floor', 'ceil', '-')}({a()})"
        return f"({self.col('n')} * {self.col('i2')})"

    def float_(self, depth=0):
        r = self.r
        kind = r.randrange(9) if depth < 2 else r.randrange(2)
        a = lambda: self.float_(depth + 1)
        if kind == 0:
            return f"({self.col('f4', 'f8')} + 0)"
        if kind == 1:
            return pick(r, "2.5::float8", "'NaN'::float8", "'Infinity'::float4", "0.5::float4", "NULL::float8")
        if kind < 5:
            op = r.choice("+-*") if self.safe else r.choice("+-*/")
            return f"({a()} {op} {a()} + 0)"
        if kind == 5:
            return f"abs({a()})"
        if kind == 6:
            return f"({pick(r, self.int_(2), self.num(2))})::{pick(r, 'float4', 'float8')}"
        if kind == 7:
            return f"CASE WHEN {self.bool_(depth + 1)} THEN {a()} ELSE {a()} END"
        return f"({pick(r, 'greatest', 'least')}({a()}, {a()}) + 0)"

    def text(self, depth=0):
        r = self.r
        kind = r.randrange(16) if depth < 2 else r.randrange(2)
        a = lambda: self.text(depth + 1)
        if kind == 0:
            return self.col("s", "v", "s")
        if kind == 1:
            return pick(r, "'red'", "''", "'Ünï'", "NULL::text", "'a_b'", "' '")
        if kind == 2:
            return f"{pick(r, 'upper', 'lower')}({a()})"
        if kind in (3, 4):
            count = "" if r.random() < 0.4 else f", {pick(r, '0', '1', '3', '100', '2147483647') if self.safe else pick(r, '0', '2', '-1', '2147483647', self.t + '.i2')}"
            return f"substr({a()}, {pick(r, '1', '2', '0', '-3', '5', '2147483647', self.t + '.i2')}{count})"
        if kind == 5:
            return f"{pick(r, 'left', 'right')}({a()}, {pick(r, '0', '2', '-1', '-100', self.t + '.i2')})"
        if kind == 6:
            chars = pick(r, "", ", ' r'", ", 'dü'", ", ''")
            return f"{pick(r, 'btrim', 'ltrim', 'rtrim')}({a()}{chars})"
        if kind == 7:
            return f"({a()} || {a()})"
        if kind == 8:
            return f"CASE WHEN {self.bool_(depth + 1)} THEN {a()} ELSE {a()} END"
        if kind == 9:
            return f"coalesce({a()}, {a()})"
        if kind == 10:
            return f"nullif({a()}, {pick(r, repr('red'), repr(''))})"
        if kind == 11:
            return f"({self.col('p')})::text"
        if kind == 12:
            return f"{pick(r, 'greatest', 'least')}({self.t}.sc, {pick(r, repr('red'), repr(''), repr('Z'))} COLLATE \"C\")"
        if kind == 13:
            return self.foreign(f"replace({a()}, 'e', 'E')")
        if kind == 14:
            return self.foreign(f"({self.col('i4', 'n', 'd', 'bo', 'i8')})::text")
        return self.foreign(f"concat({a()}, {self.col('i4')}, '-')")

    def date(self, depth=0):
        r = self.r
        kind = r.randrange(6) if depth < 2 else r.randrange(2)
        if kind == 0:
            return self.col("d")
        if kind == 1:
            return pick(r, "'2020-06-01'::date", "'infinity'::date", "NULL::date", "'2021-03-14'::date")
        if kind == 2:
            return f"({self.date(depth + 1)} {r.choice('+-')} {pick(r, '1', '31', self.t + '.i2')})"
        if kind == 3:
            return f"({self.stamp(depth + 1)})::date"
        if kind == 4:
            return f"CASE WHEN {self.bool_(depth + 1)} THEN {self.date(depth + 1)} END"
        return f"coalesce({self.date(depth + 1)}, '2020-01-01')"

    def stamp(self, depth=0):
        r = self.r
        kind = r.randrange(6) if depth < 2 else r.randrange(2)
        unit = pick(r, "'month'", "'day'", "'hour'", "'week'", "'quarter'", "'year'", "'decade'", "'century'", "'minute'", "'milliseconds'")
        if kind == 0:
            return self.col("ts")
        if kind == 1:
            return pick(r, "'2021-03-05 02:30'::timestamp", "'infinity'::timestamp", "NULL::timestamp")
        if kind == 2:
            return f"date_trunc({unit}, {self.stamp(depth + 1)})"
        if kind == 3:
            return f"({self.stamp(depth + 1)} {r.choice('+-')} {pick(r, INTERVALS[0], *INTERVALS)})"
        if kind == 4:
            return f"({self.date(depth + 1)})::timestamp"
        return f"date_trunc({unit}, {self.date(depth + 1)}::timestamp)"

    def zoned(self, depth=0):
        r = self.r
        kind = r.randrange(6) if depth < 2 else r.randrange(2)
        unit = pick(r, "'month'", "'day'", "'hour'", "'week'", "'quarter'")
        if kind == 0:
            return self.col("tz")
        if kind == 1:
            return pick(r, "'2021-03-14 02:30 America/New_York'::timestamptz", "'2021-11-07 05:30+00'::timestamptz")
        if kind == 2:
            return f"date_trunc({unit}, {self.zoned(depth + 1)})"
        if kind == 3:
            return f"({self.zoned(depth + 1)} {r.choice('+-')} {pick(r, *INTERVALS)})"
        if kind == 4:
            return f"({self.stamp(depth + 1)})::timestamptz"
        return f"date_trunc({unit}, {self.zoned(depth + 1)}, 'Asia/Kolkata')"

    def bool_(self, depth=0):
        r = self.r
        kind = r.randrange(27)
        if depth >= 2 and kind in (0, 1, 2):
            kind = 20
        a = lambda: self.bool_(depth + 1)
        if kind == 0:
            return f"({a()} {pick(r, 'AND', 'OR')} {a()})"
        if kind == 1:
            return f"(NOT {a()})"
        if kind == 2:
            return f"({a()}) IS {pick(r, 'TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN', 'NOT UNKNOWN')}"
        op = pick(r, "=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
        if kind == 3:
            return f"{self.int_(depth + 1)} {op} {self.int_(depth + 1)}"
        if kind == 4:
            return f"{self.num(depth + 1)} {op} {pick(r, self.num(depth + 1), self.int_(2))}"
        if kind == 5:
            return f"{self.float_(depth + 1)} {op} {pick(r, self.float_(2), self.int_(2), self.num(2))}"
        if kind == 6:
            eq = pick(r, "=", "<>", "IS DISTINCT FROM")
            return f"{self.text(depth + 1)} {eq} {self.text(depth + 1)}"
        if kind == 7:
            return f"{self.t}.sc {op} {pick(r, repr('red'), repr('a'), repr(''), repr('😀'))}"
        if kind == 8:
            return f"{self.date(depth + 1)} {op} {pick(r, self.date(2), self.stamp(2))}"
        if kind == 9:
            return f"{self.stamp(depth + 1)} {op} {pick(r, self.stamp(2), self.date(2))}"
        if kind == 10:
            return f"{self.zoned(depth + 1)} {op} {pick(r, self.zoned(2), self.stamp(2), self.date(2))}"
        if kind == 11:
            return f"{self.col('iv')} {op} {pick(r, *INTERVALS)}"
        if kind == 12:
            return f"{self.col('p')} {op} {pick(r, repr('x'), repr('xy   '), repr(''), self.t + '.p', self.t + '.s', self.t + '.v')}"
        if kind == 13:
            return f"{self.col('y')} {op} {pick(r, repr(chr(92) + 'x0001'), repr(''), self.t + '.y')}"
        if kind == 14:
            return f"{self.col('u')} {op} {pick(r, repr('c4ca4238-a0b9-2382-0dcc-509a6f75849b'), self.t + '.u')}"
        if kind == 15:
            column = r.choice(["id", "i2", "i4", "i8", "n", "nu", "nv", "d", "s", "v", "p", "f8", "ts"])
            values = [LITERALS[column](r) for _ in range(r.randrange(1, 5))] + (["NULL"] if r.random() < 0.2 else [])
            return f"{self.t}.{column} {'NOT ' if r.random() < 0.4 else ''}IN ({', '.join(values)})"
        if kind in (16, 17):
            pattern = pick(r, "r%", "%e%", "_e%", "%", "", "a\\%b", "a\\_b", "%\\\\%", "%ï%", "R_D", "_", "__", "%%d", "%r%e%", "😀_", "%ß%", "i%", "\\a%")
            return f"{self.col('s', 'sc', 'v', 'p')} {pick(r, 'LIKE', 'NOT LIKE', 'ILIKE', 'NOT ILIKE')} '{pattern}'"
        if kind == 18:
            return self.foreign(f"{self.col('s', 'v')} {pick(r, '~', '!~', '~*')} '{pick(r, '^r', 'e+', '[[:alpha:]]d$', '^$', 'a.b', '(x|v1)')}'")
        if kind == 19:
            return f"{self.col(*COLUMNS)} IS {'NOT ' if r.random() < 0.5 else ''}NULL"
        if kind == 20:
            return pick(r, f"{self.t}.bo", f"({self.t}.bo IS NOT TRUE)", f"{self.t}.id % 3 = 1", f"{self.t}.bo = {self.t}.bo")
        if kind == 21:
            return f"{self.col('i4', 'n')} BETWEEN {pick(r, '', 'SYMMETRIC ')}{pick(r, '10', '-5')} AND {pick(r, '3', '20', self.t + '.i2')}"
        if kind == 22:
            field = pick(r, "year", "month", "day", "dow", "isodow", "week", "quarter", "doy", "epoch", "hour", "second", "century", "isoyear", "decade")
            source = self.col("ts", "ts", "tz") if field in ("hour", "second", "epoch") else self.col("d", "ts", "tz")
            return f"extract({field} FROM {source}) {pick(r, '=', '>', '<')} {pick(r, '3', '10', '2021', '18698.5')}"
        if kind == 23:
            return self.foreign(pick(r, f"{self.t}.j @> '{{\"a\": 3}}'", f"{self.t}.j ->> 'b' = 'x'", f"{self.t}.j ? 'c'",
                                     f"({self.t}.j -> 'a')::int > 5", f"{self.t}.ar @> ARRAY[3]", f"3 = ANY({self.t}.ar)",
                                     f"{self.t}.ar[1] = 2", f"{self.t}.j #>> '{{c,0}}' = '2'"))
        if kind == 25:
            return f"{self.col('nu', 'nv')} {op} {pick(r, '3', repr('NaN') + '::numeric', repr('Infinity') + '::numeric', '1e39', '-1e-30', self.num(2))}"
        if kind == 24:
            return f"({self.t}.i2, {self.t}.id) {pick(r, '=', '<', '>=')} (3, 500)"
        if kind == 25:
            locale = pick(r, "de-x-icu", "en-x-icu", "sv-x-icu", "C")
            return f'({self.text(depth + 1)}) COLLATE "{locale}" {op} ({self.text(2)}) COLLATE "{locale}"'
        return f"{self.col('t')} {op} {pick(r, repr('12:00'), repr('24:00'), repr('00:00:00.5'))}"

    def any_(self, depth=0):
        return self.r.choice([self.int_, self.num, self.float_, self.text, self.date, self.stamp, self.zoned, self.bool_])(depth)


INTERVALS = ["interval '1 mon'", "interval '30 days'", "interval '1 day'", "interval '24 hours'", "interval '-1 year 2 days'",
             "interval '00:00:00.000001'"]
LITERALS = {
    "id": lambda r: str(r.randrange(1, 6000)), "i2": lambda r: str(r.randrange(-1, 12)), "i4": lambda r: str(r.randrange(-52, 52)),
    "i8": lambda r: pick(r, "5", "-300", "9223372036854775807", "17"), "n": lambda r: pick(r, "1.5", "-2.00", "0", "3.333", "7"),
    "d": lambda r: pick(r, "'2020-06-01'", "'2021-12-31'", "'infinity'"), "s": lambda r: pick(r, "'red'", "''", "'straße'"),
    "v": lambda r: f"'v{r.randrange(45)}'", "p": lambda r: pick(r, "'x'", "'xy'", "''", "'zed  '"),
    "f8": lambda r: pick(r, "0", "1.125", "'NaN'", "'-Infinity'", "-0.0"), "ts": lambda r: pick(r, "'2021-03-05'", "'infinity'"),
    "nu": lambda r: pick(r, "1.5", "3.0000", "0", "'NaN'", "1e40"), "nv": lambda r: pick(r, "25.0", "-263", "'-Infinity'", "7.50", "1e-30"),
}
# Group keys whose shown value does not depend on which of equal values comes first.
KEYS = ["i2", "bo", "s", "v", "d", "p", "i4", "sc", "u", "y", "n", "nu", "t"]


def agg(g):
    r = g.r
    where = f" FILTER (WHERE {g.bool_(1)})" if r.random() < 0.25 else ""
    kind = r.randrange(12)
    if kind == 0:
        return f"count(*){where}"
    if kind == 1:
        return f"count(DISTINCT {pick(r, g.col('i2', 'i4', 's', 'sc', 'p', 'd', 'u', 'n', 'nu', 'nv', 'f8', 'bo', 'ts', 'y'), g.int_(1))}){where}"
    if kind in (2, 3):
        return f"{pick(r, 'sum', 'avg')}({pick(r, '', '', 'DISTINCT ')}{pick(r, g.int_(1), g.num(1), g.num(1))}){where}"
    if kind == 4:
        return f"{pick(r, 'sum', 'avg')}({g.col('f4', 'f8')} * 2){where}"
    if kind == 5:
        return f"bool_{pick(r, 'and', 'or')}({g.bool_(1)}){where}"
    if kind == 6:
        return f"bit_{pick(r, 'and', 'or')}({g.col('i2', 'i4', 'i8')}){where}"
    if kind in (7, 8):
        return f"{pick(r, 'min', 'max')}({pick(r, g.col('id', 'i2', 'i4', 'i8', 'n', 'm', 'big', 'nu', 'd', 'ts', 'tz', 'sc', 't'), g.int_(1), g.num(1), g.date(1), g.stamp(1))}){where}"
    if kind == 9:
        return f"({pick(r, 'min', 'max')}({g.col('f4', 'f8')}) + 0)"
    if kind == 10:
        fraction = pick(r, "0", "0.25", "0.5", "0.999", "1")
        direction = pick(r, "", " DESC")
        return pick(r, f"percentile_disc({fraction}) WITHIN GROUP (ORDER BY {g.col('i2', 'n', 'd', 'sc', 'ts')}{direction})",
                    f"percentile_cont({fraction}) WITHIN GROUP (ORDER BY {g.col('i2', 'i4')}{direction})",
                    f"mode() WITHIN GROUP (ORDER BY {g.col('i2', 'i4', 's', 'd')}{direction})")
    return collect(g, where)


def collect(g, where):
    """Aggregates that keep their input, in a total order or of equal values."""
    r = g.r
    column = g.col("i2", "s", "v", "n", "d", "sc", "bo", "id")
    order = f"{column}{pick(r, '', ' DESC', ' NULLS FIRST')}, {g.t}.id" if r.random() < 0.6 else f"{g.t}.id"
    if r.random() < 0.3:
        inner = f"DISTINCT {g.t}.sc ORDER BY {g.t}.sc{pick(r, '', ' DESC')}"
        return pick(r, f"array_agg({inner}){where}",
                    f"array_agg(DISTINCT {g.t}.i2){where}")
    if r.random() < 0.5:
        return f"string_agg({g.col('s', 'v', 'sc')}, ',' ORDER BY {order}){where}"
    return f"array_agg({column} ORDER BY {order}){where}"


def rows(r, limit=None):
    """A source of rows under the alias t; its conditions cannot fail."""
    g = Gen(r, "t", safe=True)
    table = pick(r, "{p}w", "{p}w", "{p}x", "{p}part")
    conditions = [g.bool_() for _ in range(r.randrange(0, 3))]
    if limit:
        conditions.append(f"t.id < {limit}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{table} t{where}", g.pg


JOIN_KEYS = [("i4", "i8"), ("i2", "i8"), ("i2", "i4"), ("f4", "f8"), ("i4", "n"), ("n", "m"), ("i4", "f8"), ("s", "v"), ("p", "p"),
             ("v", "p"), ("s", "p"), ("d", "ts"), ("ts", "tz"), ("iv", "iv"), ("u", "u"), ("y", "y"), ("bo", "bo"), ("sc", "s"),
             ("t", "t"), ("big", "m"), ("nu", "nv"), ("n", "nu"), ("nv", "i4"), ("id", "id"), ("id", "i8"), ("d", "d"), ("f8", "f8"), ("sc", "sc")]


def join(r):
    g = Gen(r, "a", safe=True)
    left, right = r.choice(JOIN_KEYS)
    if r.random() < 0.5:
        left, right = right, left
    collate = ' COLLATE "C"' if {left, right} == {"sc", "s"} else ""
    on = [f"a.{left} = b.{right}{collate}"]
    if r.random() < 0.3:
        on.append(f"a.id % 7 = b.id % {pick(r, '7', '5')}")
    if r.random() < 0.6:
        on.append(pick(r, "a.id < b.id", "a.n > b.n", "a.id <> b.id + 1", "(a.bo OR b.bo)", "a.d <= b.d", "coalesce(a.i2, 0) >= b.i2",
                       "a.bo", "b.n > 0", g.bool_(1)))
    r.shuffle(on)
    one = f"(SELECT * FROM {{p}}w WHERE id % {pick(r, '20', '7')} = 1) a"
    two = f"(SELECT * FROM {{p}}x WHERE {pick(r, 'true', 'id < 0', 'id % 4 = 1', 'i2 IS NOT NULL')}) b"
    if r.random() < 0.5:
        one, two = two[:-1] + "a", one[:-1] + "b"
    if r.random() < 0.3:
        word = pick(r, "EXISTS", "NOT EXISTS")
        return "", f"SELECT a.id, {g.any_(1)} FROM {one} WHERE {word} (SELECT 1 FROM {two} WHERE {' AND '.join(on)})", g.pg
    kind = pick(r, "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
    if kind == "FULL JOIN":
        on = on[:1] if f"a.{left}" in on[0] else [f"a.{left} = b.{right}{collate}"]
        if r.random() < 0.4 and left != right:
            on.append("a.i2 = b.i2")
    where = pick(r, "", "", " WHERE a.id IS NULL OR b.i2 IS NULL", " WHERE b.id IS NULL", " WHERE coalesce(a.n, 0) > coalesce(b.n, -1)")
    source = f"{one} {kind} {two} ON {' AND '.join(on)}{where}"
    if r.random() < 0.5:
        return "", f"SELECT count(*), sum(a.id), sum(b.id), min(a.n), max(b.d), count(DISTINCT a.id) FROM {source}", g.pg
    return "", f"SELECT a.id, b.id, {g.any_(1)} FROM {source}", g.pg


def select(r):
    g = Gen(r)
    where = f" WHERE {g.bool_()}" if r.random() < 0.6 else ""
    items = ", ".join(["t.id"] + [g.any_() for _ in range(r.randrange(1, 4))])
    return "", f"SELECT {items} FROM {pick(r, '{p}w', '{p}x')} t{where}", g.pg


def ordered(r):
    g = Gen(r, safe=True)
    origin, pg = rows(r)
    keys = ", ".join(f"{g.any_(2) if r.random() < 0.5 else g.col('n', 'nu', 'nv', 'd', 'f8', 'sc', 'ts', 'tz', 't', 'u', 'y', 'bo', 'i8')} {pick(r, '', 'DESC', 'NULLS FIRST', 'DESC NULLS LAST')}" for _ in range(r.randrange(1, 3)))
    limit = pick(r, "", f" LIMIT {r.randrange(0, 40)}", f" LIMIT {r.randrange(1, 40)} OFFSET {r.randrange(0, 3000)}")
    # Table w has some rows twice.
    more = "" if "{p}w" in origin else ", t.s"
    return "/*ordered*/", f"SELECT t.id{more} FROM {origin} ORDER BY {keys}, t.id{limit}", g.pg or pg


def grouped(r):
    g = Gen(r, safe=r.random() < 0.7)
    origin, pg = rows(r)
    keys = [f"t.{c}" for c in r.sample(KEYS, r.randrange(0, 3))]
    if r.random() < 0.2:
        keys.append(pick(r, "date_trunc('month', t.ts)", "t.id % 5", "upper(t.s)", "extract(year FROM t.d)", "t.d IS NULL", "t.iv IS NULL"))
    items = keys + [agg(g) for _ in range(r.randrange(1, 4))]
    having = f" HAVING {pick(r, 'count(*) > 3', 'sum(t.id) % 2 = 0', 'avg(t.n) > 0', 'max(t.d) IS NOT NULL')}" if r.random() < 0.3 else ""
    if not keys:
        return "", f"SELECT {', '.join(items)} FROM {origin}{having}", g.pg or pg
    names = ", ".join(keys)
    group = names
    if r.random() < 0.3:
        group = pick(r, f"ROLLUP ({names})", f"CUBE ({names})", f"GROUPING SETS (({keys[0]}), (), ({names}))", f"GROUPING SETS (({names}), ({names}))")
        items.append(f"grouping({names})")
    return "", f"SELECT {', '.join(items)} FROM {origin} GROUP BY {group}{having}", g.pg or pg


def window(r):
    g = Gen(r, safe=True)
    origin, pg = rows(r, 1500)
    items = []
    for _ in range(r.randrange(1, 4)):
        partition = f"PARTITION BY t.{r.choice(KEYS)} " if r.random() < 0.6 else ""
        key = r.choice(["i2", "id", "n", "d", "f8", "ts", "i4", "t", "tz"])
        unit = pick(r, "ROWS", "GROUPS", "RANGE", "RANGE")
        offsets = {"i2": "2", "id": "10", "n": "1.5", "d": "interval '3 days'", "f8": "0.5", "ts": "interval '2 hours'", "i4": "3",
                   "t": "interval '1 hour'", "tz": "interval '1 day'"}
        near = offsets[key] if unit == "RANGE" else pick(r, "0", "1", "3")
        far = "2.125" if near == "1.5" else near
        start = pick(r, "UNBOUNDED PRECEDING", f"{near} PRECEDING", "CURRENT ROW", f"{near} FOLLOWING")
        ends = {"U": ["CURRENT ROW", f"{far} FOLLOWING", "UNBOUNDED FOLLOWING", f"{far} PRECEDING"], "C": ["CURRENT ROW", f"{far} FOLLOWING", "UNBOUNDED FOLLOWING"]}
        end = r.choice(ends["U" if start.endswith("PRECEDING") else "C"] if not start.endswith(" FOLLOWING") else [f"{near} FOLLOWING", "UNBOUNDED FOLLOWING"])
        exclude = pick(r, "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS")
        order = f"t.{key}{pick(r, '', ' DESC', ' NULLS FIRST')}" + ("" if unit == "RANGE" else ", t.id, t.i4")
        frame = "" if r.random() < 0.3 else f" {unit} BETWEEN {start} AND {end}{exclude}"
        call = pick(r, "count(*)", f"sum(t.{r.choice(['id', 'i2', 'n', 'm'])})", f"avg(t.{r.choice(['id', 'n'])})", f"min(t.{r.choice(['id', 'd', 'n', 'ts', 'sc'])})",
                    f"max(t.{r.choice(['id', 'd', 'n', 'f4'])})", "bool_and(t.bo)", "bool_or(t.bo)", "bit_or(t.i2)", "count(t.s)",
                    "rank()", "dense_rank()", "percent_rank()", "cume_dist()", "max(t.id)",
                    f"string_agg(t.v, '')" if unit != "RANGE" else "count(t.p)", "stddev_samp(t.i2)")
        if call.startswith("max(t.f4)"):
            call = "max(t.f4 + 0)"
        where = f" FILTER (WHERE {g.bool_(2)})" if r.random() < 0.2 and "rank" not in call and "cume" not in call else ""
        items.append(f"{call}{where} OVER ({partition}ORDER BY {order}{frame})")
    return "", f"SELECT t.id, {', '.join(items)} FROM {origin}", g.pg or pg


def set_op(r):
    columns = r.sample([("i2", "i2"), ("s", "v"), ("d", "d"), ("i4", "i4"), ("p", "p"), ("n", "n"), ("bo", "bo"), ("i2", "i8"), ("u", "u"), ("v", "s")], r.randrange(1, 4))
    g, h = Gen(r, "a", True), Gen(r, "b", True)
    word = pick(r, "UNION", "INTERSECT", "EXCEPT") + pick(r, "", " ALL")
    left = f"SELECT {', '.join('a.' + x for x, _ in columns)} FROM {{p}}w a WHERE {g.bool_()}"
    right = f"SELECT {', '.join('b.' + y for _, y in columns)} FROM {{p}}x b WHERE {h.bool_()}"
    more = f" {pick(r, 'UNION', 'EXCEPT')} ({left.replace('{p}w', '{p}part')})" if r.random() < 0.2 else ""
    return "", f"({left}) {word} ({right}){more}", g.pg or h.pg


def subquery(r):
    """Subqueries of every kind, correlated and not."""
    g = Gen(r, "t", True)
    key = r.choice(["i2", "i4", "s", "v", "d", "bo", "n", "id"])
    small = pick(r, "{p}x", "{p}w")
    limit = pick(r, "t.id < 60", "t.id BETWEEN 100 AND 140")
    agg_ = pick(r, "count(*)", "max(u.n)", "sum(u.id)", "min(u.d)", "avg(u.n)", "bool_or(u.bo)", "count(DISTINCT u.s)")
    more = pick(r, "", " AND u.id > t.id", " AND u.id < 300", " AND u.i2 IS NOT NULL")
    where = f"u.{key} = t.{key}{more}"
    kind = r.randrange(9)
    if kind == 0:
        text = f"SELECT t.id, (SELECT {agg_} FROM {small} u WHERE {where}) FROM {{p}}w t WHERE {limit}"
    elif kind == 1:
        text = f"SELECT t.id FROM {{p}}w t WHERE t.id > (SELECT avg(u.id) FROM {{p}}x u WHERE {where}) AND {limit}"
    elif kind == 2:
        text = f"SELECT t.id, x.* FROM {{p}}x t, LATERAL (SELECT u.id, u.n FROM {{p}}w u WHERE {where} ORDER BY u.n NULLS FIRST, u.id LIMIT 3) x WHERE {limit}"
    elif kind == 3:
        text = f"SELECT k.x, l.* FROM (VALUES (1), (NULL), (3), (7), (1)) k(x), LATERAL (SELECT count(*), sum(u.n), max(u.d) FROM {{p}}w u WHERE u.i2 = k.x{' AND u.bo' if r.random() < 0.5 else ''}) l"
    elif kind == 4:
        text = f"SELECT t.id FROM {{p}}w t WHERE t.{key} {pick(r, '', 'NOT ')}IN (SELECT u.{key} FROM {{p}}x u WHERE {pick(r, 'u.id < 30', 'u.id < 0', 'u.' + key + ' IS NOT NULL', 'u.id > t.id')}) AND {limit}"
    elif kind == 5:
        op = pick(r, "= ANY", "<> ALL", "< ALL", "> ANY", ">= ALL")
        text = f"SELECT t.id FROM {{p}}w t WHERE t.id {op} (SELECT u.id FROM {{p}}x u WHERE {pick(r, 'u.id < 50', 'u.id < 0', 'u.i2 = t.i2')}) AND {limit}"
    elif kind == 6:
        text = f"WITH c AS MATERIALIZED (SELECT t.{key} AS k, {agg_.replace('u.', 't.')} AS a, count(*) AS n FROM {{p}}w t WHERE {g.bool_(1)} GROUP BY t.{key}) SELECT x.k, x.a, y.n FROM c x {pick(r, 'JOIN', 'LEFT JOIN')} c y ON x.k = y.k AND x.n >= y.n"
    elif kind == 7:
        text = f"SELECT t.{key}, count(*) FROM {{p}}w t WHERE EXISTS (SELECT 1 FROM {{p}}x u WHERE {where}) OR t.i2 = 3 GROUP BY t.{key} HAVING count(*) > (SELECT count(*) FROM {{p}}x u WHERE u.{key} = t.{key})"
    else:
        text = f"WITH RECURSIVE c(id, depth) AS (SELECT id, 1 FROM {{p}}x WHERE id < 5 UNION ALL SELECT u.id, c.depth + 1 FROM c JOIN {{p}}x u ON u.id = c.id * 2 + 1 WHERE c.depth < 6) SELECT c.*, (SELECT max(n) FROM {{p}}w u WHERE u.i2 = c.depth) FROM c"
    return "", text, True


def script(r):
    """Several statements in one transaction that is rolled back."""
    g = Gen(r, "t", True)
    condition = g.bool_()
    kind = r.randrange(10)
    begin, end = "BEGIN;", "ROLLBACK"
    if kind == 0:
        values = ["NULL", "3", "-1", "7", "100"]
        r.shuffle(values)
        mode = pick(r, "force_generic_plan", "force_custom_plan", "auto")
        body = f"SET LOCAL plan_cache_mode = {mode}; PREPARE hq(int, text, numeric) AS SELECT count(*), sum(t.i2 + $1), max(t.n * $3), count(*) FILTER (WHERE t.s = $2) FROM {{p}}w t WHERE t.i2 = $1 OR t.s = $2 OR t.n > $3;"
        body += "".join(f"EXECUTE hq({v}, {pick(r, 'NULL', repr('red'), repr(''))}, {pick(r, 'NULL', '1.5', '7')});" for v in values)
        body += "DEALLOCATE hq;"
    elif kind == 1:
        body = f"DECLARE c {pick(r, '', 'SCROLL ', 'NO SCROLL ', 'INSENSITIVE ')}CURSOR {pick(r, '', 'WITH HOLD ')}FOR SELECT t.id, t.n FROM {{p}}w t WHERE {condition} ORDER BY t.id, t.i4, t.n;"
        body += "FETCH 7 FROM c; DELETE FROM {p}w WHERE id % 3 = 0; INSERT INTO {p}w (id, n) SELECT 5, 1.25 FROM generate_series(1, 3000); FETCH 5 FROM c;"
        body += "SAVEPOINT a; UPDATE {p}w SET n = 0 WHERE id % 2 = 0; SELECT count(*), sum(n) FROM {p}w; ROLLBACK TO a; FETCH 5 FROM c; MOVE 100 FROM c; FETCH 5 FROM c; CLOSE c;"
    elif kind == 2:
        body = f"""DO $x$ DECLARE q record; total int8 := 0; bad int := 0; BEGIN
  FOR q IN SELECT t.id, t.i2, t.i4 FROM {{p}}w t WHERE {condition} AND t.id < 900 LOOP
    BEGIN total := total + q.id; DELETE FROM {{p}}x WHERE id = q.id; PERFORM 1 / (q.i2 - 4); total := total + (SELECT count(*) FROM {{p}}x WHERE id <= 20);
    EXCEPTION WHEN division_by_zero THEN bad := bad + 1; END; END LOOP;
  PERFORM set_config('hostile.total', total || ' ' || bad, true); END $x$;
SELECT length(current_setting('hostile.total')) > 0, CASE WHEN (SELECT count(*) FROM {{p}}x) >= 0 THEN split_part(current_setting('hostile.total'), ' ', 2) END; SELECT count(*) FROM {{p}}x;"""
    elif kind == 3:
        body = f"DELETE FROM {{p}}w t WHERE {condition}; SELECT count(*), sum(id), sum(n) FROM {{p}}w; INSERT INTO {{p}}w SELECT * FROM {{p}}x; UPDATE {{p}}w t SET n = n + 1 WHERE t.bo; SELECT t.i2, count(*), sum(t.n) FROM {{p}}w t GROUP BY t.i2;"
    elif kind == 4:
        body = f"INSERT INTO {{p}}sink SELECT t.i8, t.s, sum(t.n) FROM {{p}}w t WHERE {condition} GROUP BY t.i8, t.s; SELECT count(*), sum(a), count(b), sum(c) FROM {{p}}sink; CREATE TABLE {{p}}made AS SELECT t.d, count(*) AS n FROM {{p}}w t GROUP BY t.d; SELECT sum(n), max(d) FROM {{p}}made;"
    elif kind == 5:
        body = "CREATE TEMP TABLE target (id int, n numeric); INSERT INTO target SELECT g, g FROM generate_series(1, 50) g;"
        body += f"MERGE INTO target USING (SELECT t.id, max(t.n) AS n FROM {{p}}w t WHERE {condition} AND t.id < 90 GROUP BY t.id) s ON target.id = s.id WHEN MATCHED AND s.n IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n); SELECT count(*), sum(id), sum(n) FROM target; DROP TABLE target;"
    elif kind == 6:
        body = f"CREATE VIEW {{p}}view WITH (security_barrier) AS SELECT id, s, n, i2 FROM {{p}}w t WHERE {condition}; SELECT count(*), sum(n) FROM {{p}}view WHERE i2 > 2; SELECT s, count(*) FROM {{p}}view GROUP BY s;"
    elif kind == 7:
        body = "PREPARE hp(int, int) AS SELECT count(*), sum(id), max(n) FROM {p}part WHERE id BETWEEN $1 AND $2; SET LOCAL plan_cache_mode = force_generic_plan; EXECUTE hp(1, 500); EXECUTE hp(900, 2100); EXECUTE hp(NULL, 5); EXECUTE hp(8000, 9000); DEALLOCATE hp; SELECT t.id, (SELECT count(*) FROM {p}part p WHERE p.id < t.id * 20) FROM {p}x t WHERE t.id < 12;"
    elif kind == 8:
        body = f"WITH gone AS (DELETE FROM {{p}}w t WHERE {condition} RETURNING id, n) SELECT count(*), sum(n) FROM gone; SELECT count(*) FROM {{p}}w; SELECT id FROM {{p}}w WHERE id < 40 ORDER BY id FOR UPDATE;"
    else:
        body = f"DECLARE c CURSOR FOR SELECT t.i2, count(*), sum(t.n) FROM {{p}}w t WHERE {condition} GROUP BY t.i2 ORDER BY t.i2; DECLARE d CURSOR FOR SELECT id FROM {{p}}x WHERE bo ORDER BY id; FETCH 2 FROM c; FETCH 3 FROM d; SAVEPOINT s; SELECT 1/0; ROLLBACK TO s; FETCH 2 FROM d; FETCH ALL FROM c; CLOSE d;"
    return "/*script*/", f"{begin} {body} {end}", True


def query(r):
    make = r.choices([select, grouped, join, window, set_op, subquery, script, ordered], [5, 5, 5, 3, 1, 3, 3, 2])[0]
    mark, text, pg = make(r)
    return mark + ("/*pg*/" if pg else "") + text
