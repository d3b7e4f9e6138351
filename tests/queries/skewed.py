# SPDX-License-Identifier: Apache-2.0
"""Queries over keys of which few have most of the rows: groups, partitions of windows and matches of joins that do not fit into
the memory that the runner leaves, beside thousands of small ones.
"""
from hostile import pick

ROWS, FEW = 6_000, 150
FILL = f"""
CREATE TEMP TABLE source_skewed AS SELECT g AS id,
  CASE WHEN g % 10 < 7 THEN 0 WHEN g % 10 = 7 THEN g % 3 WHEN g % 97 = 0 THEN NULL ELSE g END AS k,
  (CASE WHEN g % 8 < 6 THEN 'often' WHEN g % 11 = 0 THEN NULL ELSE 'rare ' || g % 2500 END) AS t,
  CASE WHEN g % 20 < 19 THEN 7 ELSE g % 13 END::int8 AS c,
  CASE WHEN g % 2 = 0 THEN (g * 31 % 1009) / 100.0 ELSE 1.50 END::numeric(10,2) AS n,
  CASE WHEN g % 5 = 0 THEN NULL ELSE (g * 7919::int8 % 5003)::numeric / 8 END AS nv,
  'a value of some length ' || g * 7919::int8 % 9973 AS s, date '2024-01-01' + g % 700 AS d, (g * 37 % 1000) / 8.0::float8 AS f
  FROM generate_series(1, {ROWS}) g;
"""
COLUMNS = "id int, k int, t text, c int8, n numeric(10,2), nv numeric, s text, d date, f float8"
KEYS = ["t.k", "t.t", "t.c", "t.k, t.t", "t.c, t.t", "t.k % 2", "coalesce(t.k, 0)"]


def setup(prefix, am, bulk):
    text = f"DROP TABLE IF EXISTS {prefix}big, {prefix}small CASCADE; {bulk}"
    for table, where in (("big", "true"), ("small", f"id <= {FEW}")):
        text += f"CREATE TABLE {prefix}{table} ({COLUMNS}) USING {am}; INSERT INTO {prefix}{table} SELECT * FROM source_skewed WHERE {where} AND id % 3 <> 1;"
        text += f"INSERT INTO {prefix}{table} SELECT * FROM source_skewed WHERE {where} AND id % 3 = 1; DELETE FROM {prefix}{table} WHERE id % 53 = 0; ANALYZE {prefix}{table};"
    return text + "RESET doris.rows_to_heap;"


def aggregate(r):
    return pick(r, "count(*)", "sum(t.n)", "sum(t.nv)", "min(t.s)", "max(t.s)", "count(DISTINCT t.s)", "count(DISTINCT t.id)", "sum(DISTINCT t.c)", "avg(t.nv)",
                "count(DISTINCT t.d)", "length(string_agg(t.s, ',' ORDER BY t.id))", "string_agg(DISTINCT t.t, ',')", "length(string_agg(DISTINCT t.s, '' ORDER BY t.s DESC))",
                "percentile_disc(0.5) WITHIN GROUP (ORDER BY t.s)", "percentile_disc(0.9) WITHIN GROUP (ORDER BY t.n)", "percentile_cont(0.3) WITHIN GROUP (ORDER BY t.f)",
                "mode() WITHIN GROUP (ORDER BY t.d)", "(array_agg(t.id ORDER BY t.n DESC, t.id))[1:3]", "stddev(t.n)", "bool_or(t.d > '2025-11-01')", "count(*) FILTER (WHERE t.n > 3)", "sum(t.id) FILTER (WHERE t.id % 3 = 0)")


def window(r):
    partition = pick(r, "PARTITION BY t.k", "PARTITION BY t.t", "PARTITION BY t.c", "PARTITION BY t.k, t.c", "")
    order = pick(r, "t.id", "t.n, t.id", "t.s DESC, t.id", "t.d, t.id")
    frame = pick(r, "", "", " ROWS BETWEEN 5 PRECEDING AND 2 FOLLOWING", " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING")
    call = pick(r, "row_number()", "rank()", "sum(t.n)", "count(t.nv)", "lag(t.s, 3)", "lead(t.n)", "first_value(t.s)", "last_value(t.d)", "ntile(7)", "max(t.n)", "min(t.id)", "avg(t.c)")
    return f"{call} OVER ({partition} ORDER BY {order}{frame})"


def join(r):
    on = pick(r, "t.k = u.k", "t.t = u.t", "t.k = u.k AND t.t = u.t", "t.c = u.c AND t.k = u.k", "t.k = u.k AND t.n < u.n", "t.t = u.t AND t.id + u.id > 5000")
    kind = r.randrange(4)
    if kind == 0:
        kind = "FULL JOIN" if "<" not in on and ">" not in on else "LEFT JOIN"
        return f"SELECT count(*), sum(t.id), sum(u.id), min(t.s), max(u.s) FROM {{p}}big t {kind} {{p}}small u ON {on}"
    if kind == 1:
        return f"SELECT t.k, count(*), sum(u.n), count(DISTINCT u.s) FROM {{p}}big t {pick(r, 'JOIN', 'LEFT JOIN', 'RIGHT JOIN')} {{p}}small u ON {on} GROUP BY t.k"
    word = pick(r, "", "NOT ")
    if kind == 2:
        return f"SELECT count(*), sum(t.id), sum(t.n) FROM {{p}}big t WHERE {word}EXISTS (SELECT 1 FROM {{p}}small u WHERE {on})"
    return f"SELECT count(*), sum(t.id), max(t.s) FROM {{p}}small t WHERE t.k {word}IN (SELECT u.k FROM {{p}}big u WHERE u.n > {r.randrange(11)}{pick(r, '', ' AND u.k IS NOT NULL')})"


def query(r):
    kind = r.choices(range(5), [6, 3, 3, 1, 1])[0]
    where = pick(r, "", "", " WHERE t.n > 2", " WHERE t.id % 7 <> 2", " WHERE t.t = 'often' OR t.k > 100")
    if kind == 0:
        keys = r.choice(KEYS)
        group = pick(r, keys, keys, keys, f"ROLLUP ({keys})", f"GROUPING SETS (({keys}), (t.c), ())" if "t.c" not in keys else keys)
        having = pick(r, "", "", " HAVING count(*) > 2")
        return f"SELECT {keys}, {', '.join(aggregate(r) for _ in range(r.randrange(1, 4)))} FROM {{p}}big t{where} GROUP BY {group}{having}"
    if kind == 1:
        return f"SELECT t.id, {', '.join(window(r) for _ in range(r.randrange(1, 3)))} FROM {{p}}big t{where}"
    if kind == 2:
        return join(r)
    if kind == 3:
        columns = pick(r, "k", "t", "c, t", "k, n", "s")
        return f"SELECT {columns} FROM {{p}}big t{where} {pick(r, 'UNION', 'INTERSECT', 'EXCEPT', 'INTERSECT ALL', 'EXCEPT ALL', 'UNION ALL')} SELECT {columns} FROM {{p}}small"
    return f"/*ordered*/ SELECT t.t, t.k, t.s, t.id FROM {{p}}big t{where} ORDER BY t.t, t.k{pick(r, '', ' DESC')}, t.id{pick(r, '', ' LIMIT 50', ' LIMIT 300 OFFSET 3000')}"
