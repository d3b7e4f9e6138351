# SPDX-License-Identifier: Apache-2.0
"""Few rows and all rows: look-ups by key through the engine's path, and SELECT * handed to the client.

Results stay in libpq's memory, so that what the client does with them takes no part. Times are medians: of the client's wall
clock, and of all processors by all threads of the backend. Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import re
import statistics
import sys
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402

TABLES = {
    "narrow": ("id bigint, a int, b numeric(12,2), c text", "i, i % 7, i / 3.0, 'row ' || i"),
    "wide": (
        "id bigint, a1 int, a2 int, a3 bigint, n1 numeric(12,2), n2 numeric(15,4), f1 float8, f2 float8,"
        " d1 date, t1 timestamp, s1 text, s2 text, s3 varchar(20), b1 boolean, u1 text, u2 text",
        "i, i % 7, i % 1000, i * 7, i / 3.0, i / 7.0, i / 11.0, sqrt(i), date '2020-01-01' + i % 1000,"
        " timestamp '2020-01-01' + i * interval '1 second', 'value ' || i % 100, md5(i::text), 'x' || i % 5, i % 2 = 0,"
        " 'a longer text of some fifty characters, row ' || i, NULLIF('n' || i % 10, 'n3')"),
}
ENGINES = ("heap", "doris")
LOOKUPS = 200


class Session:
    def __init__(self):
        self.connection = psycopg.connect(dbname="postgres", autocommit=True, prepare_threshold=None)
        self.tasks = Path(f"/proc/{self.connection.info.backend_pid}/task")

    def execute(self, sql):
        return self.connection.execute(sql)

    def processor(self):
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self.tasks.iterdir()) / 1e9

    def timed(self, sql):
        """Seconds of the wall and of processors, and the number of rows."""
        before, start = self.processor(), time.perf_counter()
        result = self.connection.pgconn.exec_(sql.encode())
        seconds, processors = time.perf_counter() - start, self.processor() - before
        if result.error_message:
            sys.exit(result.error_message.decode())
        return seconds, processors, result.ntuples


def create(session, rows):
    session.execute("CREATE EXTENSION IF NOT EXISTS pg_doris")
    session.execute("DROP SCHEMA IF EXISTS rows CASCADE")
    session.execute("CREATE SCHEMA rows")
    session.execute("SET search_path = rows, public")
    for name, (columns, values) in TABLES.items():
        for am in ENGINES:
            session.execute(f"CREATE TABLE {name}_{am} ({columns}) USING {am}")
            session.execute(f"INSERT INTO {name}_{am} SELECT {values} FROM generate_series(1, {rows}) i")
            session.execute(f"VACUUM ANALYZE {name}_{am}")
    for am in ENGINES:
        session.execute(f"CREATE TABLE keyed_{am} (id bigint PRIMARY KEY, a int, b numeric(12,2), c text) USING {am}")
        session.execute(f"INSERT INTO keyed_{am} SELECT * FROM narrow_{am} ORDER BY id")
        session.execute(f"VACUUM ANALYZE keyed_{am}")


def in_turns(session, statements, runs):
    """The medians of wall and processor seconds of each statement."""
    times = {name: [] for name in statements}
    for turn in range(runs + 1):
        for name, sql in statements.items():
            seconds = session.timed(sql)
            if turn > 0:
                times[name].append(seconds)
    return {name: [statistics.median(column) for column in zip(*values)] for name, values in times.items()}


def handed_out(session, rows, runs):
    out = []
    for name, (columns, _) in TABLES.items():
        medians = in_turns(session, {am: f"SELECT * FROM {name}_{am}" for am in ENGINES}, runs)
        heap, doris = medians["heap"], medians["doris"]
        per_row = lambda seconds: f"{1e9 * seconds / rows:,.0f}"
        out.append([f"SELECT * of {len(re.sub('[(].*?[)]', '', columns).split(','))} columns", per_row(heap[0]), per_row(doris[0]), f"{doris[0] / heap[0]:.2f}",
                    per_row(heap[1]), per_row(doris[1]), f"{doris[1] / heap[1]:.2f}"])
    return report.table(["rows handed to the client", "heap ns a row", "doris ns a row", "doris / heap", "heap processor ns", "doris processor ns", "doris / heap"], out)


def planning_ms(session, statement):
    times = [session.execute(f"EXPLAIN (SUMMARY, FORMAT JSON) {statement}").fetchone()[0][0]["Planning Time"] for _ in range(51)]
    return statistics.median(times)


def look_ups(session, rows):
    """Look-ups of single rows: to plan one, and the time at the server of a prepared one."""
    out = []
    for what, table in (("by primary key", "keyed_{}"), ("without an index, through the engine", "narrow_{}")):
        cells = {}
        for am in ENGINES:
            name = table.format(am)
            session.execute(f"PREPARE one(bigint) AS SELECT * FROM {name} WHERE id = $1")
            session.execute("SET plan_cache_mode = force_generic_plan")
            lookups = 20 if what.startswith("without") and am == "heap" else LOOKUPS
            times = [session.timed(f"EXECUTE one({1 + (7919 * turn) % rows})") for turn in range(lookups + 10)][10:]
            if any(found != 1 for _, _, found in times):
                sys.exit(f"{name}: a key without its row")
            cells[am] = [statistics.median(column) for column in zip(*times)]
            session.execute("RESET plan_cache_mode")
            session.execute("DEALLOCATE one")
        planning = [planning_ms(session, f"SELECT * FROM {table.format(am)} WHERE id = 4711") for am in ENGINES]
        out.append([what, *(f"{ms:.3f}" for ms in planning), *(f"{1000 * cells[am][1]:.3f}" for am in ENGINES), *(f"{1000 * cells[am][0]:.3f}" for am in ENGINES)])
    return report.table(["one row", "heap planning ms", "doris planning ms", "heap ms at the server", "doris ms at the server", "heap ms for the client", "doris ms for the client"], out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    session = Session()
    create(session, options.rows)
    version = "PostgreSQL " + session.execute("SHOW server_version").fetchone()[0].split()[0]
    text = "\n".join([
        report.stamp(f"ROWS={options.rows} RUNS={options.runs} make bench BENCH=rows", version, "bench/postgresql.conf"),
        f"{options.rows:,} rows; look-ups are prepared statements with generic plans, and at the server take the processor time of the backend.",
        "", handed_out(session, options.rows, options.runs), look_ups(session, options.rows)])
    session.execute("DROP SCHEMA rows CASCADE")
    if options.no_report:
        print(text)
    else:
        report.write_section("rows", "Few rows and all rows", text)


if __name__ == "__main__":
    main()
