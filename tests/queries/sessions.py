# SPDX-License-Identifier: Apache-2.0
"""What sessions do around queries: prepared statements that become generic, cursors, loops, own changes, mixed tables.

The tables of `hostile`, and beside them a heap table, a list- and a hash-partitioned table, one partition of each a heap.
Markers as there.
"""
import hostile
from hostile import Gen, pick

FILL = hostile.FILL
KEYS = ["i2", "i4", "s", "v", "d", "bo", "n", "id"]
SUMS = ["count(*)", "sum(t.id)", "sum(t.n)", "avg(t.n)", "max(t.d)", "min(t.ts)", "count(DISTINCT t.s)", "sum(t.i2) FILTER (WHERE t.bo)", "max(t.sc)", "bit_or(t.i4)"]


def setup(prefix, am, bulk):
    p = prefix
    text = f"DROP TABLE IF EXISTS {p}y, {p}list, {p}hash CASCADE;" + hostile.setup(prefix, am, bulk)
    text += f"""{bulk}
CREATE TABLE {p}y (id int PRIMARY KEY, i2 int2, s text, d date, n numeric) USING heap;
INSERT INTO {p}y SELECT id, i2, s, d, nu FROM hostile WHERE id <= 700; CREATE INDEX ON {p}y (i2);
CREATE TABLE {p}list (id int, i2 int2, s text, n numeric(10,2), d date) PARTITION BY LIST (i2);
CREATE TABLE {p}list1 PARTITION OF {p}list FOR VALUES IN (0, 1, 2) USING {am};
CREATE TABLE {p}list2 PARTITION OF {p}list FOR VALUES IN (4, 5, 6, 7) USING {am};
CREATE TABLE {p}list3 PARTITION OF {p}list DEFAULT USING heap;
INSERT INTO {p}list SELECT id, i2, s, n, d FROM hostile WHERE id <= 4000;
CREATE TABLE {p}hash (id int, i2 int2, s text, n numeric(10,2), d date) PARTITION BY HASH (id);
CREATE TABLE {p}hash1 PARTITION OF {p}hash FOR VALUES WITH (MODULUS 3, REMAINDER 0) USING {am};
CREATE TABLE {p}hash2 PARTITION OF {p}hash FOR VALUES WITH (MODULUS 3, REMAINDER 1) USING {am};
CREATE TABLE {p}hash3 PARTITION OF {p}hash FOR VALUES WITH (MODULUS 3, REMAINDER 2) USING heap;
INSERT INTO {p}hash SELECT id, i2, s, n, d FROM hostile WHERE id <= 4000;
RESET doris.rows_to_heap; DELETE FROM {p}list WHERE id % 37 = 0; ANALYZE {p}y; ANALYZE {p}list; ANALYZE {p}hash;
"""
    return text


def sums(r, t="t"):
    return ", ".join(r.sample(SUMS, r.randrange(2, 5))).replace("t.", f"{t}.")


def values(r, kind):
    """A parameter's value."""
    return {"int": pick(r, "NULL", "0", "1", "5", "7", "40", "700", "-3", "3000"), "text": pick(r, "NULL", "'red'", "''", "'12'", "'v7'", "'straße'"),
            "numeric": pick(r, "NULL", "0", "1.5", "-2.00", "7", "'NaN'"), "date": pick(r, "NULL", "'2020-06-01'", "'infinity'", "'2021-01-15'"),
            "int[]": pick(r, "NULL", "'{}'", "'{1,5,NULL}'", "'{2}'", "'{7,8,9,10,300}'")}[kind]


def statement(r):
    """A query with parameters of the types that it returns beside it."""
    g = Gen(r, "t", safe=True)
    key = r.choice(KEYS)
    compare = {"i2": "int", "i4": "int", "id": "int", "s": "text", "v": "text", "d": "date", "n": "numeric"}.get(key)
    kind = r.randrange(9)
    if kind == 0 and compare:
        return (compare, "int"), f"SELECT {sums(r)} FROM {{p}}w t WHERE t.{key} {pick(r, '=', '>', '<=', 'IS DISTINCT FROM', 'IS NOT DISTINCT FROM')} $1 AND t.id > coalesce($2, 0)"
    if kind == 1:
        return ("int", "int[]"), f"SELECT t.i2, {sums(r)} FROM {{p}}list t WHERE t.i2 = $1 OR t.i2 = ANY($2) GROUP BY t.i2".replace("t.ts", "t.d").replace("t.sc", "t.s COLLATE \"C\"").replace("t.i4", "t.i2").replace("t.bo", "t.id > 9")
    if kind == 2:
        return ("int", "int"), f"SELECT count(*), sum(t.id), max(t.n) FROM {{p}}{pick(r, 'hash', 'part')} t WHERE t.id = $1 OR t.id BETWEEN $2 AND $2 + 20"
    if kind == 3:
        return ("text", "numeric"), f"SELECT count(*), sum(a.id), sum(b.n * $2) FROM {{p}}w a JOIN {{p}}x b ON a.i4 = b.i4 AND b.n > $2 WHERE a.s = $1 OR a.v LIKE $1 OR {Gen(r, 'a', True).bool_(2)}"
    if kind == 4:
        return ("int", "int"), f"SELECT t.id, (SELECT count(*) FROM {{p}}x u WHERE u.i2 = t.i2 AND u.id > $1), t.n FROM {{p}}w t WHERE t.id BETWEEN 141 AND 190 ORDER BY t.id OFFSET abs($1 % 7) LIMIT abs($2 % 30)"
    if kind == 5:
        return ("date", "int"), f"SELECT date_trunc('month', t.ts), count(*), sum(t.n + $2) FROM {{p}}w t WHERE t.d + $2 % 1000 > $1 OR t.ts > $1 GROUP BY 1"
    if kind == 6:
        return ("int", "text"), f"SELECT t.id, sum(t.i2 + $1) OVER (PARTITION BY t.s ORDER BY t.id ROWS 3 PRECEDING), lag(t.s, 1, $2) OVER (ORDER BY t.id) FROM {{p}}w t WHERE t.id BETWEEN 200 AND 420 AND t.s IS DISTINCT FROM $2"
    if kind == 7:
        return ("int[]", "int"), f"SELECT count(*), sum(t.id) FROM {{p}}w t WHERE t.i2 <> ALL ($1) AND t.id NOT IN (SELECT u.id FROM {{p}}x u WHERE u.i2 = $2)"
    return ("int", "numeric"), f"SELECT y.s, count(*), sum(t.n + $2) FROM {{p}}y y JOIN {{p}}w t ON t.id = y.id WHERE y.i2 = $1 OR {g.bool_(2)} GROUP BY y.s"


def prepared(r):
    """Executed seven times: from the sixth on the plan is generic."""
    types, text = statement(r)
    mode = pick(r, "", "", "SET LOCAL plan_cache_mode = force_generic_plan;")
    change = pick(r, "", "DELETE FROM {p}w WHERE id % 5 = 1;", "INSERT INTO {p}x SELECT * FROM {p}w WHERE id < 200;", "ANALYZE {p}w;", "SET LOCAL timezone = 'Asia/Tokyo';",
                  "ALTER TABLE {p}w ADD COLUMN extra int DEFAULT 4;", "SAVEPOINT s; DELETE FROM {p}w; ROLLBACK TO s;", "SET LOCAL enable_hashjoin = off;", "DROP TABLE {p}list2;")
    calls = [f"EXECUTE sp({', '.join(values(r, kind) for kind in types)});" for _ in range(7)]
    calls.insert(r.randrange(1, 7), change)
    return f"{mode} PREPARE sp({', '.join(types)}) AS {text}; {''.join(calls)} DEALLOCATE sp;"


def cursor(r):
    """One or two cursors that are read in pieces, while their tables change."""
    g = Gen(r, "t", safe=True)
    texts = [f"SELECT t.id, t.n, t.s FROM {{p}}w t WHERE (t.id < 100 OR t.id > 140) AND {g.bool_(1)} ORDER BY t.id",
             f"SELECT t.i2, t.s, count(*), sum(t.n) FROM {{p}}w t GROUP BY t.i2, t.s ORDER BY t.i2, t.s COLLATE \"C\"",
             "SELECT t.id, u.n FROM {p}x t JOIN {p}x u ON t.id = u.id + 1 ORDER BY t.id",
             "SELECT t.id, row_number() OVER (ORDER BY t.id) FROM {p}x t ORDER BY t.id DESC",
             "SELECT t.id, t.n FROM {p}hash t ORDER BY t.id",
             "SELECT y.id, t.n FROM {p}y y LEFT JOIN {p}x t ON t.id = y.id ORDER BY y.id"]
    text = ""
    scroll = [r.random() < 0.3 for _ in range(2)]
    hold = pick(r, "", "", "WITH HOLD ")
    for name, back in zip("cd", scroll):
        text += f"DECLARE {name} {'SCROLL ' if back else pick(r, '', 'NO SCROLL ')}CURSOR {hold}FOR {r.choice(texts)};"
    for _ in range(r.randrange(4, 9)):
        at = r.randrange(2)
        forward = pick(r, "FETCH 3 FROM", "FETCH 40 FROM", "MOVE 5 FROM", "MOVE FORWARD 1000 FROM", "FETCH NEXT FROM", "FETCH FORWARD ALL FROM", "MOVE ALL IN")
        backward = pick(r, "FETCH PRIOR FROM", "FETCH BACKWARD 4 FROM", "FETCH ABSOLUTE 7 FROM", "MOVE ABSOLUTE 0 FROM", "FETCH FIRST FROM", "FETCH LAST FROM", "FETCH RELATIVE -2 FROM")
        text += f"{backward if scroll[at] and r.random() < 0.5 else forward} {'cd'[at]};"
        if r.random() < 0.4:
            text += pick(r, "DELETE FROM {p}w WHERE id % 7 = 2;", "UPDATE {p}x SET n = n + 1, s = 'later' WHERE id % 3 = 0;", "INSERT INTO {p}x SELECT * FROM {p}w WHERE id < 300;",
                         "SAVEPOINT s; DELETE FROM {p}x; FETCH 2 FROM c; ROLLBACK TO s;", "SAVEPOINT s; SELECT 1/0; ROLLBACK TO s;", "SAVEPOINT s; FETCH 2 FROM d; RELEASE s;",
                         "SELECT count(*), sum(n) FROM {p}x;", "INSERT INTO {p}hash SELECT id + 5000, i2, s, n, d FROM {p}hash WHERE id < 50;")
    return text + "CLOSE c; FETCH 1 FROM d; CLOSE d;"


def loop(r):
    """PL/pgSQL: loops over the engine's rows with statements inside, some of which fail."""
    g = Gen(r, "t", safe=True)
    outer = pick(r, f"SELECT t.id, t.i2, t.i4, t.s FROM {{p}}w t WHERE t.id BETWEEN 150 AND 260 AND {g.bool_(1)} ORDER BY t.id",
                 "SELECT t.i2::int AS id, t.i2, max(t.i4) AS i4, max(t.v) AS s FROM {p}w t GROUP BY t.i2 ORDER BY t.i2",
                 "SELECT t.id, t.i2, t.i4, t.s FROM {p}x t JOIN {p}y y ON y.id = t.id WHERE t.id < 80 ORDER BY t.id")
    inner = pick(r, "SELECT count(*) INTO n FROM {p}x u WHERE u.i2 = q.i2 AND u.id > q.id", "SELECT sum(u.id) INTO n FROM {p}w u WHERE u.s = q.s AND u.i2 IS NOT DISTINCT FROM q.i2",
                 "SELECT max(u.id) INTO n FROM {p}list u WHERE u.i2 = q.i2", "SELECT count(*) INTO n FROM {p}hash u WHERE u.id = q.id", "SELECT count(*) INTO STRICT n FROM {p}part u WHERE u.id BETWEEN q.id AND q.id + 900")
    change = pick(r, "DELETE FROM {p}x WHERE id = q.id", "UPDATE {p}x SET i2 = i2 WHERE id = q.id", "INSERT INTO {p}sink VALUES (q.id, q.s, n)", "INSERT INTO {p}sink SELECT u.id, u.s, u.n FROM {p}x u WHERE u.id = q.id")
    fail = pick(r, "PERFORM 1 / (q.id % 3)", "PERFORM 100 / count(*) FROM {p}x u WHERE u.id = q.id", "PERFORM (q.s || 'x')::int", "PERFORM sum(u.i4 / (u.id - q.id)) FROM {p}x u WHERE u.id < 40", "PERFORM u.i4 + 2147483647 FROM {p}x u WHERE u.id = q.id")
    report = "SELECT current_setting('q.total'); SELECT count(*), sum(id), sum(n) FROM {p}x; SELECT count(*), sum(a), count(b), sum(c) FROM {p}sink;"
    body = f"BEGIN {inner}; total := total + coalesce(n, 0); {change}; {fail}; kept := kept + 1; EXCEPTION WHEN data_exception THEN bad := bad + 1; END;"
    declare = "DECLARE q record; n numeric; total numeric := 0; bad int := 0; kept int := 0;"
    end = "PERFORM set_config('q.total', total || ' ' || bad || ' ' || kept, true); END $x$;"
    if r.random() < 0.5:
        return f"DO $x$ {declare} BEGIN FOR q IN {outer} LOOP {body} {pick(r, '', 'EXIT WHEN kept > 9;', 'CONTINUE WHEN bad > 3;')} END LOOP; {end} {report}"
    move = pick(r, "", "MOVE 2 FROM c;", "MOVE FORWARD 3 FROM c;")
    return f"DO $x$ {declare[:-1]}; c refcursor; BEGIN OPEN c NO SCROLL FOR {outer}; LOOP FETCH c INTO q; EXIT WHEN NOT FOUND; {body} {move} END LOOP; CLOSE c; {end} {report}"


def changes(r):
    """A transaction's own changes, some taken back, and what queries see of them."""
    g = Gen(r, "t", safe=True)
    probe = f"SELECT t.i2, {sums(r)} FROM {{p}}w t WHERE {g.bool_(1)} GROUP BY t.i2;"
    whole = "SELECT count(*), sum(id), sum(n), min(d), max(ts), count(s) FROM {p}w;"
    steps = ["DELETE FROM {p}w WHERE id % 3 = 0;", "UPDATE {p}w SET n = n + 1, s = 'new' WHERE id % 4 = 1;", "INSERT INTO {p}w SELECT * FROM {p}x;",
             "INSERT INTO {p}w SELECT t.* FROM {p}w t WHERE t.id < 2500;", "DELETE FROM {p}w USING {p}x u WHERE u.id = {p}w.id;", "UPDATE {p}w SET n = u.n, d = u.d FROM (SELECT id, max(n) AS n, min(d) AS d FROM {p}x GROUP BY id) u WHERE u.id = {p}w.id + 1;",
             "TRUNCATE {p}w; INSERT INTO {p}w SELECT * FROM {p}x;", "DELETE FROM {p}w WHERE id IN (SELECT id FROM {p}y WHERE i2 = 5);", "UPDATE {p}w SET i2 = (SELECT max(u.i2) FROM {p}x u WHERE u.id = {p}w.id) WHERE id < 300;",
             "WITH gone AS (DELETE FROM {p}w WHERE id < 50 RETURNING *) INSERT INTO {p}x SELECT * FROM gone;", "MERGE INTO {p}w t USING (SELECT id, max(n) AS n FROM {p}x GROUP BY id) u ON t.id = u.id AND t.i2 = 3 WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND u.n > 5 THEN INSERT (id, n) VALUES (u.id, u.n);"]
    text, open_ = "", 0
    for _ in range(r.randrange(3, 7)):
        choice = r.random()
        if choice < 0.25:
            open_ += 1
            text += f"SAVEPOINT s{open_};"
        elif choice < 0.45 and open_:
            text += f"{pick(r, 'ROLLBACK TO', 'ROLLBACK TO', 'RELEASE')} s{open_};"
            open_ -= 1
        text += r.choice(steps) + pick(r, probe, whole, probe + whole)
    return text


def written(r):
    """UPDATE ... FROM, DELETE ... USING, MERGE and parts in WITH over aggregated, joined and plain sources, and what the table holds then."""
    g = Gen(r, "t", safe=True)
    few = pick(r, "t.id < 2000", "t.i2 = 3", "t.id % 3 = 1", g.bool_(1), g.bool_(2))

    def source():
        some = g.bool_(1)
        return pick(r, f"SELECT t.id, sum(t.n) AS n, count(*) AS c FROM {{p}}w t WHERE {some} GROUP BY t.id",
                    f"SELECT t.i2 AS id, sum(t.n) AS n, count(DISTINCT t.s) AS c FROM {{p}}{pick(r, 'w', 'x', 'y', 'list')} t WHERE t.id > 30 GROUP BY t.i2",
                    f"SELECT t.id + 1 AS id, max(y.n) AS n, count(*) AS c FROM {{p}}x t JOIN {{p}}y y ON y.i2 = t.i2 WHERE {some} GROUP BY t.id",
                    "SELECT DISTINCT t.id, 1.5 AS n, 2 AS c FROM {p}hash t WHERE t.id < 3000",
                    "SELECT id, n, i2 AS c FROM {p}y WHERE n <> 3", "SELECT id, n, c FROM (SELECT id, max(n) AS n, row_number() OVER (ORDER BY id) AS c FROM {p}w GROUP BY id) w WHERE c % 4 > 0",
                    "SELECT id, count(*) AS n, 7 AS c FROM {p}w WHERE id % 2 = 0 GROUP BY id UNION ALL SELECT id, sum(i2), 8 FROM {p}x WHERE id % 2 = 1 GROUP BY id")

    def step():
        return pick(r, f"UPDATE {{p}}w t SET n = u.n, s = 'n' || u.c FROM ({source()}) u WHERE u.id = t.id AND {few};",
                    f"UPDATE {{p}}w t SET n = (SELECT {pick(r, 'sum', 'count', 'max')}(u.n) FROM ({source()}) u), s = 'all' WHERE {few};",
                    f"UPDATE {{p}}x t SET i2 = (SELECT count(*) % 100 FROM ({source()}) u WHERE u.id = t.id) WHERE t.id < 200 AND {few};",
                    f"DELETE FROM {{p}}w t USING ({source()}) u WHERE u.id = t.id AND u.c % 2 = 1 AND {few};",
                    f"DELETE FROM {{p}}w t WHERE t.id {pick(r, 'IN', 'NOT IN')} (SELECT u.id FROM ({source()}) u WHERE u.id IS NOT NULL) AND {few};",
                    f"MERGE INTO {{p}}w t USING ({source()}) u ON u.id = t.id AND {few} WHEN MATCHED AND u.c % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = u.n, s = coalesce(t.s, '') || u.c "
                    "WHEN NOT MATCHED AND u.id < 500 THEN INSERT (id, n) VALUES (u.id, u.n);",
                    f"MERGE INTO {{p}}{pick(r, 'hash', 'list')} t USING ({source()}) u ON u.id = t.id WHEN MATCHED THEN {pick(r, 'DELETE', 'UPDATE SET n = u.c')};",
                    f"WITH c AS (UPDATE {{p}}w t SET n = u.c FROM ({source()}) u WHERE u.id = t.id RETURNING t.i2, t.n) SELECT i2, count(*), sum(n), (SELECT count(*) FROM {{p}}w) FROM c GROUP BY i2;",
                    f"WITH c AS (INSERT INTO {{p}}x SELECT t.* FROM {{p}}w t WHERE {few} RETURNING id, n) SELECT count(*), sum(n), (SELECT count(*) FROM {{p}}x), (SELECT sum(n) FROM {{p}}w) FROM c;",
                    f"WITH gone AS (DELETE FROM {{p}}w t WHERE {few} RETURNING t.id, t.n) UPDATE {{p}}x t SET n = g.n FROM (SELECT id, count(*) AS n FROM gone GROUP BY id) g WHERE g.id = t.id;")

    probe = "".join(f"SELECT count(*), sum(id), sum(n), sum(i2), count(s) FROM {{p}}{table};" for table in ("w", "x", "list", "hash"))
    return "".join(step() + pick(r, "", probe) for _ in range(r.randrange(1, 4))) + probe


def made(r):
    """Tables and views made from queries."""
    g = Gen(r, "t", safe=True)
    text = pick(r, f"SELECT t.i2, t.s, count(*) AS c, sum(t.n) AS n FROM {{p}}w t WHERE {g.bool_()} GROUP BY t.i2, t.s",
                "SELECT t.id, t.n, sum(t.n) OVER (PARTITION BY t.i2 ORDER BY t.id, t.i4) AS c, t.s, t.i2 FROM {p}w t WHERE t.id < 3000",
                "SELECT t.i2, t.s, t.id AS c, t.n FROM {p}w t EXCEPT SELECT u.i2, u.s, u.id, u.n FROM {p}x u",
                "SELECT y.i2, t.s, t.id AS c, t.n FROM {p}w t RIGHT JOIN {p}y y ON y.id = t.id",
                "SELECT DISTINCT t.i2, t.s, t.i4 AS c, round(t.n) AS n FROM {p}w t", "SELECT i2, s, id AS c, n FROM {p}list UNION ALL SELECT i2, s, id, n FROM {p}hash")
    probe = "SELECT i2, count(*), sum(c), sum(n), count(s) FROM {p}made GROUP BY i2;"
    kind = pick(r, "CREATE TABLE {p}made USING {am} AS", "CREATE TEMP TABLE {p}made USING {am} AS", "CREATE MATERIALIZED VIEW {p}made USING {am} AS", "CREATE VIEW {p}made AS")
    more = ""
    if "TABLE" in kind:
        more = f"INSERT INTO {{p}}made SELECT * FROM {{p}}made WHERE i2 = 5; {probe} INSERT INTO {{p}}made {text}; {probe} UPDATE {{p}}made SET c = c + 1 WHERE i2 > 3; {probe}"
    elif "MATERIALIZED" in kind:
        more = f"DELETE FROM {{p}}w WHERE id % 3 = 1; REFRESH MATERIALIZED VIEW {{p}}made; {probe}"
    return f"{kind} {text}; {probe} {more}"


def mixed(r):
    """Queries over tables of both kinds, functions, VALUES and common table expressions."""
    g = Gen(r, "t", safe=True)
    key = pick(r, "i2", "s", "d", "id")
    some = g.bool_(1)
    few = pick(r, "t.id BETWEEN 150 AND 230", "t.id < 60", "t.id IN (SELECT id FROM {p}y WHERE i2 = 3)")
    kind = r.randrange(12)
    if kind == 0:
        return f"SELECT y.{key}, count(*), sum(t.n), max(y.n) FROM {{p}}y y {pick(r, 'JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN')} {{p}}w t ON y.{key} = t.{key} AND y.id % 9 = t.id % 9 GROUP BY y.{key}"
    if kind == 1:
        return f"SELECT v.a, count(t.id), sum(t.n) FROM (VALUES (1, 'red'), (5, ''), (NULL, NULL), (7, '12')) v(a, b) LEFT JOIN {{p}}w t ON t.i2 = v.a AND (t.s = v.b OR {some}) GROUP BY v.a"
    if kind == 2:
        return f"SELECT g, count(t.id), min(t.n) FROM generate_series(1, 60, 7) g LEFT JOIN {{p}}x t ON t.id % 60 = g AND {some} GROUP BY g"
    if kind == 3:
        return f"WITH c AS {pick(r, 'MATERIALIZED ', 'NOT MATERIALIZED ', '')}(SELECT t.i2, t.s, sum(t.n) AS n, count(*) AS k FROM {{p}}w t WHERE {some} GROUP BY t.i2, t.s) SELECT c.i2, sum(c.n), max(e.k) FROM c JOIN c e ON e.s = c.s AND e.k >= c.k GROUP BY c.i2"
    if kind == 4:
        return f"WITH RECURSIVE c(id, n, depth) AS (SELECT id, n, 1 FROM {{p}}x WHERE id < 8 UNION {pick(r, '', 'ALL ')}SELECT u.id, u.n, c.depth + 1 FROM c JOIN {{p}}w u ON u.id = c.id + {pick(r, '3', '41')} WHERE c.depth < 7) SELECT depth, count(*), sum(n), sum(id) FROM c GROUP BY depth"
    if kind == 5:
        order = pick(r, "u.n DESC NULLS LAST, u.id", "u.id DESC", "u.d, u.id")
        return f"SELECT t.id, l.id, l.n, l.place FROM {{p}}x t {pick(r, 'CROSS JOIN LATERAL', 'LEFT JOIN LATERAL')} (SELECT u.id, u.n, row_number() OVER (ORDER BY {order}) AS place FROM {{p}}{pick(r, 'x', 'list', 'y')} u WHERE u.{key} = t.{key} ORDER BY {order} LIMIT 3) lON WHERE {few}"
    if kind == 6:
        return f"SELECT t.id FROM {{p}}w t WHERE t.{key} {pick(r, '= ANY', '<> ALL')} (SELECT u.{key} FROM {{p}}y u WHERE u.i2 = t.i2 AND u.id < 200) AND {few}"
    if kind == 7:
        return f"SELECT t.i2, (SELECT string_agg(u.s, ',' ORDER BY u.id) FROM {{p}}x u WHERE u.i2 = t.i2 AND u.id < 90), array(SELECT u.id FROM {{p}}x u WHERE u.i2 = t.i2 ORDER BY u.id LIMIT 4), EXISTS (SELECT FROM {{p}}y y WHERE y.i2 = t.i2 AND y.n > 12) FROM {{p}}w t WHERE {some} GROUP BY t.i2"
    if kind == 8:
        return f"SELECT t.i2, count(*), sum(p.n) FROM {{p}}x t JOIN {{p}}{pick(r, 'list p ON p.i2 = t.i2 AND p.id = t.id', 'hash p ON p.id = t.id', 'part p ON p.id = t.id * 5')} WHERE {some} GROUP BY t.i2"
    if kind == 9:
        return f"SELECT count(*), sum(p.id) FROM {{p}}{pick(r, 'list p WHERE p.i2', 'hash p WHERE p.id', 'part p WHERE p.id')} {pick(r, '=', '<', '>=')} (SELECT {pick(r, 'min', 'max', 'avg')}(u.i2)::int FROM {{p}}y u WHERE u.id {pick(r, '< 0', '> 30')})"
    if kind == 10:
        return f"SELECT t.s, count(*), sum(x.n) FROM {{p}}w t CROSS JOIN LATERAL (SELECT t.n * y.n AS n FROM {{p}}y y WHERE y.id = t.id UNION ALL SELECT t.n) x WHERE {some} GROUP BY t.s"
    return f"SELECT y.i2, percentile_disc(0.5) WITHIN GROUP (ORDER BY t.n), count(DISTINCT t.s), grouping(y.i2) FROM {{p}}y y JOIN {{p}}w t USING (id) WHERE {some} GROUP BY {pick(r, 'ROLLUP (y.i2)', 'GROUPING SETS ((y.i2), ())')}"


def query(r):
    make = r.choices([prepared, cursor, loop, changes, written, made, mixed], [4, 3, 3, 2, 3, 2, 8])[0]
    text = make(r)
    if make is mixed:
        return "/*pg*/" + text.replace("lON", "l ON true" if "LEFT JOIN LATERAL" in text else "l")
    return f"/*script*/BEGIN; {text} ROLLBACK"
