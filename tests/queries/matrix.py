# SPDX-License-Identifier: Apache-2.0
"""Every operator with every type: queries that must run natively, with the operators that each of them must show.

The tables are those of `hostile`. `queries(r)` gives pairs of a query and what is wanted of its plan: a set of names of
`plans.OPERATORS`, or None where PostgreSQL takes a part. Operators and types are gone through one by one, conditions
and the rest are chosen.
"""
from hostile import COLUMNS, FILL, Gen, pick, setup  # noqa: F401 (FILL and setup are what the runner asks of each kind)

# A literal that some rows have, for each column of a type that the engine computes with.
LITERALS = {
    "id": "700", "i2": "5", "i4": "-7", "i8": "17", "f4": "1.25::float4", "f8": "0.5::float8", "n": "1.50", "m": "2.307", "big": "3.0000000000",
    "nu": "3.00", "nv": "25.0", "d": "date '2020-06-01'", "t": "time '12:00'", "ts": "timestamp '2021-03-05'", "tz": "timestamptz '2021-03-14 12:00+00'",
    "iv": "interval '30 days'", "s": "'red'", "sc": "'green'", "v": "'v7'", "p": "'zed'::char(6)", "y": "'\\x0007'::bytea",
    "u": "'c4ca4238-a0b9-2382-0dcc-509a6f75849b'::uuid", "bo": "true",
}
CARRIED = ["j", "ar"]
# What stays with PostgreSQL: a CASE of character(n) has no length, and min and max of it are not native.
PADDED = ["p"]
# Of equal values that look different any may be shown: zeros of both signs, 1 mon and 30 days, and the scales of numerics.
HIDDEN = ["iv", "nv"]
SUMMED = ["id", "i2", "i4", "i8", "n", "m", "big", "nu", "nv"]
LEAST = ["id", "i2", "i4", "i8", "n", "m", "big", "nu", "d", "t", "ts", "tz", "s", "sc", "v", "p"]
JOINS = [
    ("Hash Join Inner", "SELECT count(*), sum(a.id), sum(b.id) FROM {one} JOIN {two} ON {on}"),
    ("Hash Join Left", "SELECT count(*), sum(a.id), sum(b.id) FROM {one} LEFT JOIN {two} ON {on}"),
    ("Hash Join Right", "SELECT count(*), sum(a.id), sum(b.id) FROM {two} LEFT JOIN {one} ON {on}"),
    ("Hash Join Full", "SELECT count(*), sum(a.id), sum(b.id) FROM {one} FULL JOIN {two} ON {key}"),
    ("Hash Join Semi", "SELECT count(*), sum(a.id) FROM {one} WHERE EXISTS (SELECT FROM {two} WHERE {on})"),
    ("Hash Join Anti", "SELECT count(*), sum(a.id) FROM {one} WHERE NOT EXISTS (SELECT FROM {two} WHERE {on})"),
    ("Hash Join BuildSemi", "SELECT count(*), sum(b.id) FROM {two} WHERE EXISTS (SELECT FROM {one} WHERE {on})"),
    ("Hash Join BuildAnti", "SELECT count(*), sum(b.id) FROM {two} WHERE NOT EXISTS (SELECT FROM {one} WHERE {on})"),
    ("Hash Join AntiNotIn", "SELECT count(*), sum(a.id) FROM {one} WHERE {notin}"),
]


def shown(t, column):
    """A column as it may be selected from a group."""
    return f"{t}.{column} + 0" if column in ("f4", "f8") else f"{t}.{column}"


def where(r):
    return pick(r, "t.id > 40", "t.id % 5 < 4", "t.id BETWEEN 20 AND 5900", "t.i2 IS NOT NULL")


def of_type(r, c):
    """Each operator on one column of a type that the engine knows."""
    literal, key, some = LITERALS[c], shown("t", c), where(r)
    op = pick(r, "=", "<>") if c in ("bo", "p") else pick(r, "=", "<>", "<", "<=", ">", ">=")
    yield f"SELECT count(*), sum(t.id), min(t.i4) FROM {{p}}w t WHERE t.{c} {op} {literal}", {"Scan with a filter", "Aggregate of all rows"}
    yield f"SELECT count(*), sum(t.id) FROM {{p}}w t WHERE t.{c} {pick(r, '', 'NOT ')}IN ({literal}, {literal}, NULL) OR t.{c} IS NULL", {"Scan with a filter"}
    yield f"SELECT count(*), sum(t.id) FROM {{p}}w t WHERE t.{c} {op} {pick(r, 'ANY', 'ALL')} (ARRAY[{literal}, {literal}{pick(r, '', ', NULL')}])", {"Scan with a filter"}
    yield f"SELECT count(*), sum(t.id) FROM {{p}}w t WHERE t.{c} IS {pick(r, '', 'NOT ')}DISTINCT FROM {literal}", {"Scan with a filter"}
    # Sorting for the groups would show one value or another.
    if c not in HIDDEN:
        yield f"SELECT coalesce({key}, {literal}), count(*), sum(t.i4) FROM {{p}}w t WHERE {some} GROUP BY 1", {"Aggregate by keys"}
        yield f"SELECT CASE WHEN t.id % 2 = 0 THEN {key} END, count(*) FROM {{p}}w t GROUP BY 1", None if c in PADDED else {"Aggregate by keys"}
        yield f"SELECT {key}, t.bo, count(*), sum(t.n), grouping({key}, t.bo) FROM {{p}}w t WHERE {some} GROUP BY {pick(r, 'ROLLUP', 'CUBE')} ({key}, t.bo)", {"Aggregate in grouping sets"}
        yield f"SELECT DISTINCT {key}, t.bo FROM {{p}}w t WHERE {some}", set()
        yield f"SELECT {key}, count(*) FROM {{p}}w t GROUP BY 1 HAVING count(*) > 3", {"Aggregate by keys", "Filter"}
        for word, operator in (("UNION", "Append"), ("INTERSECT", "Intersect"), ("EXCEPT", "Except")):
            more = pick(r, "", " ALL") if word != "UNION" else ""
            yield f"SELECT {key}, t.bo FROM {{p}}w t WHERE {some} {word}{more} SELECT {shown('u', c)}, u.bo FROM {{p}}x u", {operator}
    yield f"SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM {{p}}w t WHERE {some} GROUP BY {key}) x", {"Aggregate by keys"}
    yield f"SELECT t.bo, count(DISTINCT {key}) FROM {{p}}w t WHERE {some} GROUP BY t.bo", {"Aggregate of distinct values"}
    yield f"SELECT count(t.{c}) FILTER (WHERE t.{c} {op} {literal}), count(*) FROM {{p}}w t", {"Aggregate with a filter"}
    yield f"SELECT t.i2, count(*) FILTER (WHERE t.{c} = {literal} OR t.{c} IS NULL) FROM {{p}}w t GROUP BY t.i2", {"Aggregate with a filter"}
    order = f"t.{c}{pick(r, '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST')}"
    yield f"/*ordered*/SELECT t.{c}, t.id FROM {{p}}w t WHERE {some} ORDER BY {order}, t.id, t.i4", {"Sort"}
    yield f"/*ordered*/SELECT t.{c}, t.id FROM {{p}}w t WHERE {some} ORDER BY {order}, t.id, t.i4 LIMIT {r.randrange(1, 50)}", {"Top"}
    yield f"SELECT t.id, count(*) OVER (PARTITION BY t.{c}), rank() OVER (PARTITION BY t.bo ORDER BY {order}) FROM {{p}}w t WHERE t.id < 1500", {"Window", "Sort"}
    around = "OVER (ORDER BY t.id, t.i4)"
    yield f"SELECT t.id, lag(t.{c}) {around}, first_value(t.{c}) {around}, nth_value(t.{c}, 2) {around} FROM {{p}}w t WHERE t.id < 1500", {"Window"}
    for operator, text in JOINS:
        yield joined(r, c, operator, text)


def joined(r, c, operator, text):
    """A join by one column, with a condition on the side where there may be one."""
    on = f"a.{c} = b.{c} AND a.id % 7 = b.id % 7"
    key, wanted = on, {operator}
    # Without another condition, PostgreSQL may join with the different values of the other side.
    if operator not in ("Hash Join Full", "Hash Join AntiNotIn") and ("Semi" in operator or r.random() < 0.5):
        on += pick(r, " AND a.id < b.id + 5000", " AND coalesce(a.i4, 0) <> b.i2")
        wanted.add("Hash Join with a condition")
    large, small = "{p}w", "{p}x"
    nulls = pick(r, f"b.{c} IS NOT NULL", "b.id < 300", "b.id < 0")
    return text.format(one=f"{large} a", two=f"{small} b", on=on, key=key,
                       notin=f"a.{c} NOT IN (SELECT b.{c} FROM {small} b WHERE {nulls})"), wanted


def of_numbers(r, c):
    """What there is to compute of a number."""
    some = where(r)
    for group in ("", "t.i2", "t.s"):
        keys, by = (f"{group}, ", f" GROUP BY {group}") if group else ("", "")
        yield f"SELECT {keys}sum(t.{c}), avg(t.{c}), sum(DISTINCT t.{c}) FROM {{p}}w t WHERE {some}{by}", {"Aggregate of distinct values"}
    yield f"SELECT t.bo, variance(t.{c}), stddev_pop(t.{c}), var_samp(t.{c}) FROM {{p}}w t WHERE t.id > 210 GROUP BY t.bo", {"Aggregate by keys"}
    yield f"SELECT t.id, sum(t.{c}) {pick(r, OVER, OVER_ROWS, OVER_GROUPS)}, avg(t.{c}) {OVER} FROM {{p}}w t WHERE t.id < 1500", {"Window"}
    # Computing with numbers of 38 digits takes more than 38 of them.
    wanted = None if c == "big" else {"Aggregate by keys", "Scan with a filter"}
    yield f"SELECT t.bo, sum(t.{c} * 2 + t.i2), max(abs(t.{c} - 3)) FROM {{p}}w t WHERE t.{c} + 1 < 900 GROUP BY t.bo", wanted


OVER = "OVER (PARTITION BY t.bo ORDER BY t.id)"
OVER_ROWS = "OVER (PARTITION BY t.s ORDER BY t.id, t.i4 ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW)"
OVER_GROUPS = "OVER (ORDER BY t.id GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES)"


def of_ordered(r, c):
    """The ends of a type that has an order."""
    yield f"SELECT min(t.{c}), max(t.{c}) FROM {{p}}w t WHERE {where(r)}", None if c in PADDED else {"Aggregate of all rows"}
    yield f"SELECT t.i2, min(t.{c}), max(t.{c}) FROM {{p}}w t WHERE {where(r)} GROUP BY t.i2", None if c in PADDED else {"Aggregate by keys"}


def of_carried(r, c):
    """Types that the engine hands on."""
    some = where(r)
    yield f"SELECT count(t.{c}), count(*) FROM {{p}}w t WHERE {some}", {"Aggregate of all rows"}
    yield f"SELECT t.i2, count(t.{c}) FROM {{p}}w t WHERE t.{c} IS {pick(r, '', 'NOT ')}NULL GROUP BY t.i2", {"Scan with a filter"}
    yield f"/*ordered*/SELECT t.id, t.{c} FROM {{p}}w t WHERE {some} ORDER BY t.n, t.id, t.i4", {"Sort"}
    yield f"/*ordered*/SELECT t.id, t.{c} FROM {{p}}w t ORDER BY t.d, t.id, t.i4 LIMIT 30", {"Top"}
    yield f"SELECT a.id, a.{c}, b.{c} FROM {{p}}w a JOIN {{p}}x b ON a.id = b.id", {"Hash Join Inner"}
    yield f"SELECT a.id, b.{c} FROM {{p}}w a LEFT JOIN {{p}}x b ON a.id = b.id", {"Hash Join Left"}
    yield f"SELECT t.id, lag(t.{c}) OVER (ORDER BY t.id, t.i4) FROM {{p}}w t WHERE t.id < 1500", None
    yield f"SELECT id, {c} FROM {{p}}w t WHERE {some} UNION ALL SELECT id, {c} FROM {{p}}x", {"Append"}


def others(r):
    """Operators and functions that no type stands for."""
    some = where(r)
    yield "SELECT count(*) FROM (SELECT t.id FROM {p}w t LIMIT 70) x", {"Limit"}
    # Large enough on both sides to go to temporary files.
    for kind in ("Inner", "Left", "Full"):
        yield f"SELECT count(*), sum(a.id), sum(b.id) FROM {{p}}w a {kind.upper()} JOIN {{p}}w b ON a.n = b.n", {f"Hash Join {kind}"}
    yield f"SELECT count(*), sum(a.id), sum(b.id) FROM {{p}}x a LEFT JOIN {{p}}x b ON a.id < b.i2 AND {pick(r, 'a.n > b.n', 'a.d <> b.d', 'b.bo')}", None
    yield f"SELECT count(*), sum(a.id) FROM {{p}}x a WHERE EXISTS (SELECT FROM {{p}}x b WHERE a.id < b.i2 {pick(r, '', 'AND a.n > b.n')})", None
    yield f"SELECT count(*), sum(a.id) FROM {{p}}x a WHERE NOT EXISTS (SELECT FROM {{p}}x b WHERE a.id < b.i2 {pick(r, '', 'AND a.n > b.n')})", None
    yield "SELECT count(*), sum(a.id) FROM {p}x a JOIN {p}x b ON a.id < b.i2 AND a.n > b.n", {"Nested Loop Inner", "Nested Loop with a condition"}
    yield f"SELECT count(*) FROM {{p}}x a, {{p}}x b WHERE b.i2 = {pick(r, '1', '5')}", {"Nested Loop Inner"}
    yield f"SELECT DISTINCT t.s, t.i2 FROM {{p}}w t WHERE {some}", set()
    yield f"/*ordered*/SELECT DISTINCT ON (t.i2, t.s) t.i2, t.s, t.id FROM {{p}}w t WHERE {some} ORDER BY t.i2, t.s, t.id DESC", set()
    yield f"SELECT t.s, bool_and(t.bo), bool_or(t.bo), every(t.bo), bit_and(t.i2), bit_or(t.i4), bit_xor(t.i8) FROM {{p}}w t WHERE {some} GROUP BY t.s", {"Aggregate by keys"}
    yield f"SELECT t.bo, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.i4), percentile_disc(0.25) WITHIN GROUP (ORDER BY t.n), mode() WITHIN GROUP (ORDER BY t.d) FROM {{p}}w t WHERE {some} GROUP BY t.bo", {"Aggregate by keys"}
    yield f"SELECT t.i2, string_agg(t.s, ',' ORDER BY t.id, t.i4), array_agg(t.d ORDER BY t.n DESC, t.id, t.i4) FILTER (WHERE t.bo) FROM {{p}}w t WHERE {some} GROUP BY t.i2", {"Aggregate with a filter"}
    yield f"SELECT t.id, ntile(4) {OVER_ALL}, row_number() {OVER_ALL}, dense_rank() {OVER}, percent_rank() {OVER}, cume_dist() {OVER}, lead(t.d) {OVER_ALL}, last_value(t.n) {OVER_ALL}, bool_or(t.bo) {OVER}, min(t.ts) {OVER_ROWS}, max(t.n) {OVER_GROUPS} FROM {{p}}w t WHERE t.id BETWEEN 141 AND 1500", {"Window"}
    yield f"SELECT t.bo, count(*) FROM {{p}}part t WHERE t.id > {r.randrange(2000)} GROUP BY t.bo", {"Append"}
    yield f"SELECT sum(k), count(*) FROM (SELECT t.i2 AS k FROM {{p}}w t GROUP BY t.i2 HAVING sum(t.n) > 0 ORDER BY 1 LIMIT 5) x", {"Filter", "Aggregate by keys"}
    yield f"SELECT count(*) FROM {{p}}w t WHERE date_trunc('month', t.ts) > '2021-04-01' AND extract(month FROM t.d) = 3 AND t.ts + interval '1 day' < '2022-01-01'", {"Scan with a filter"}
    yield f"SELECT count(*), sum(t.id) FROM {{p}}w t WHERE t.sc {pick(r, 'LIKE', 'NOT LIKE', 'ILIKE')} {pick(r, 'ANY', 'ALL')} (ARRAY['%e%', '_a%', 'r%'{pick(r, '', ', NULL')}])", {"Scan with a filter"}
    yield f"SELECT substr(t.s, 2, 3) || '-' || length(t.v), count(*) FROM {{p}}w t WHERE t.s LIKE '%e%' OR t.sc LIKE 'r%' GROUP BY 1", {"Aggregate by keys"}
    yield "SELECT t.i2, sum(t.n) FROM {p}w t WHERE t.n > (SELECT avg(u.n) FROM {p}x u WHERE u.i2 = t.i2) GROUP BY t.i2", {"Aggregate by keys"}


OVER_ALL = "OVER (PARTITION BY t.bo ORDER BY t.id, t.i4)"


def queries(r):
    found = []
    for column in LITERALS:
        found += of_type(r, column)
    for column in SUMMED:
        found += of_numbers(r, column)
    for column in LEAST:
        found += of_ordered(r, column)
    for column in CARRIED:
        found += of_carried(r, column)
    found += others(r)
    uncovered = set(COLUMNS) - set(LITERALS) - set(CARRIED)
    assert not uncovered, uncovered
    return found
