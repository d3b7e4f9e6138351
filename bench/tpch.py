# SPDX-License-Identifier: Apache-2.0
"""TPC-H on heap tables, doris tables and DuckDB's native file: loading, size, the 22 queries, equal answers.

Engines take turns query by query and run by run, so that a busy machine slows all of them. Times are the
client's, from sending the statement to having all rows, planning included; the first run of each is not counted.
Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import math
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import psycopg

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402

QUERIES = Path(__file__).parent / "tpch"
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
THREADS = 2
RELATIVE_ERROR = 1e-9


class Postgres:
    """Tables of one access method, in a schema of its own."""

    def __init__(self, am, timeout_seconds):
        self.name = self.am = am
        self.schema = f"tpch_{am}"
        self.timeout = timeout_seconds
        self.connection = psycopg.connect(dbname="postgres", autocommit=True)
        if am == "doris":
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_doris")
        self.connection.execute(f"SET search_path = {self.schema}, public")

    def version(self):
        return "PostgreSQL " + self.connection.execute("SHOW server_version").fetchone()[0].split()[0]

    def create(self):
        self.connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
        self.connection.execute(f"CREATE SCHEMA {self.schema}")
        for statement in (QUERIES / "schema.sql").read_text().replace(":am", self.am).split(";"):
            if statement.strip():
                self.connection.execute(statement)

    def load(self, table, file):
        self.connection.execute("CHECKPOINT")
        start = time.perf_counter()
        with self.connection.cursor() as cursor, open(file, "rb") as data:
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
                while block := data.read(1 << 20):
                    copy.write(block)
            rows = cursor.rowcount
        return rows, time.perf_counter() - start

    def finish_load(self):
        for table in TABLES:
            self.connection.execute(f"VACUUM ANALYZE {table}")
        self.connection.execute("CHECKPOINT")

    def size(self, table):
        return self.connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()[0]

    def run(self, sql):
        """Seconds and rows; None if it takes longer than the limit."""
        self.connection.execute(f"SET statement_timeout = '{self.timeout}s'")
        start = time.perf_counter()
        try:
            rows = self.connection.execute(sql).fetchall()
        except psycopg.errors.QueryCanceled:
            return None, None
        return time.perf_counter() - start, rows


class DuckDB:
    name = "duckdb"

    def __init__(self, file):
        self.file = Path(file)
        for old in (self.file, Path(str(file) + ".wal")):
            old.unlink(missing_ok=True)
        self.connection = duckdb.connect(str(self.file), config={"threads": THREADS})

    def version(self):
        return f"DuckDB {duckdb.__version__} with {THREADS} threads"

    def create(self):
        for statement in (QUERIES / "schema.sql").read_text().replace(" USING :am", "").split(";"):
            if statement.strip():
                self.connection.execute(statement)

    def load(self, table, file):
        start = time.perf_counter()
        self.connection.execute(f"COPY {table} FROM '{file}' (FORMAT csv, HEADER)")
        seconds = time.perf_counter() - start
        return self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0], seconds

    def finish_load(self):
        self.connection.execute("CHECKPOINT")

    def size(self, table):
        """Of a table: its blocks; the file holds all tables."""
        block = self.connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()[0]
        blocks = self.connection.execute(
            f"SELECT count(DISTINCT block) FROM (SELECT block_id AS block FROM pragma_storage_info('{table}') WHERE persistent"
            f" UNION ALL SELECT unnest(additional_block_ids) FROM pragma_storage_info('{table}') WHERE persistent)").fetchone()[0]
        return blocks * block

    def total(self):
        return self.file.stat().st_size

    def run(self, sql):
        start = time.perf_counter()
        rows = self.connection.execute(sql).fetchall()
        return time.perf_counter() - start, rows


# --- answers ----------------------------------------------------------------------------------------------

def same_value(one, other):
    """Exact, but for what DuckDB gives as double where PostgreSQL gives numeric (averages and quotients)."""
    if isinstance(one, str) and isinstance(other, str):
        return one.rstrip() == other.rstrip()  # char(n): one pads, the other does not
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(float(one), float(other), rel_tol=RELATIVE_ERROR)
    if isinstance(one, (int, Decimal)) and isinstance(other, (int, Decimal)):
        return Decimal(one) == Decimal(other)
    return one == other


def sort_key(row):
    return tuple(f"{float(value):.4f}" if isinstance(value, (int, float, Decimal)) else str(value).rstrip() for value in row)


def differences(expected, rows):
    """Nothing, or what is different, in words."""
    if len(expected) != len(rows):
        return f"{len(rows)} rows, not {len(expected)}"
    for number, (one, other) in enumerate(zip(sorted(expected, key=sort_key), sorted(rows, key=sort_key))):
        if len(one) != len(other) or not all(map(same_value, one, other)):
            return f"row {number}: {other}, not {one}"
    return ""


# --- measuring --------------------------------------------------------------------------------------------

def load(engines, data):
    """seconds[engine][table], rows[table]"""
    seconds, rows = {engine.name: {} for engine in engines}, {}
    for engine in engines:
        engine.create()
    for table in TABLES:
        for engine in engines:
            count, seconds[engine.name][table] = engine.load(table, data / f"{table}.csv")
            if rows.setdefault(table, count) != count:
                sys.exit(f"{engine.name}: {count} rows in {table}, not {rows[table]}")
            print(f"{engine.name}: {table}: {count / seconds[engine.name][table]:,.0f} rows/s", flush=True)
    for engine in engines:
        engine.finish_load()
    return seconds, rows


def query_text(number, scale):
    text = (QUERIES / f"q{number:02}.sql").read_text()
    return text.replace("0.0001", f"{Decimal('0.0001') / Decimal(str(scale)):f}") if number == 11 else text


def measure(engines, queries, runs):
    """Takes turns; medians[engine][query] (None: over the limit), and wrong answers."""
    medians, wrong = {engine.name: {} for engine in engines}, []
    for name, sql in queries.items():
        times, answers = {engine.name: [] for engine in engines}, {}
        for turn in range(runs + 1):
            for engine in engines:
                if engine.name in answers and answers[engine.name] is None:
                    continue
                # What takes long is not repeated as often: its noise is small.
                if len(times[engine.name]) > 1 and times[engine.name][-1] > 30:
                    continue
                seconds, answers[engine.name] = engine.run(sql)
                if turn > 0 or (seconds or 0) > 30:
                    times[engine.name].append(seconds)
        for engine in engines:
            taken = [seconds for seconds in times[engine.name] if seconds is not None]
            medians[engine.name][name] = statistics.median(taken) if taken and answers[engine.name] is not None else None
        known = [(engine.name, answers[engine.name]) for engine in engines if answers[engine.name] is not None]
        oracle, expected = known[-1]  # DuckDB, where it takes part
        for engine_name, rows in known[:-1]:
            if difference := differences(expected, rows):
                wrong.append(f"{name}: {engine_name} differs from {oracle}: {difference}")
        print(name, {key: value[name] and round(value[name], 3) for key, value in medians.items()}, flush=True)
    return medians, wrong


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values)) if values else float("nan")


def ratios(medians, engine, other):
    return {name: seconds / medians[other][name] for name, seconds in medians[engine].items()
            if seconds is not None and medians[other].get(name) is not None}


# --- the report -------------------------------------------------------------------------------------------

def loading_table(engines, seconds, rows):
    out = []
    for table in reversed(TABLES[2:]):
        out.append([table, f"{rows[table]:,}"] + [f"{rows[table] / seconds[engine.name][table]:,.0f}" for engine in engines]
                   + [report.mebibytes(engine.size(table)) for engine in engines])
    out.append(["all tables", f"{sum(rows.values()):,}"]
               + [f"{sum(rows.values()) / sum(seconds[engine.name].values()):,.0f}" for engine in engines]
               + [report.mebibytes(engine.total() if isinstance(engine, DuckDB) else sum(map(engine.size, TABLES))) for engine in engines])
    names = [engine.name for engine in engines]
    return report.table(["table", "rows"] + [f"{name} rows/s" for name in names] + [f"{name} size" for name in names], out)


def query_table(engines, medians, baselines):
    names = [engine.name for engine in engines]
    pairs = [("doris", base) for base in baselines] if "doris" in names else [(names[0], names[-1])]
    pairs = [(one, other) for one, other in pairs if one != other]
    out = []
    for query in medians[names[0]]:
        cells = [f"{medians[name][query] * 1000:,.1f}" if medians[name][query] is not None else "over the limit" for name in names]
        for one, other in pairs:
            ratio = ratios(medians, one, other).get(query)
            cells.append(f"{ratio:.2f}" if ratio else "")
        out.append([query] + cells)
    out.append(["geometric mean"] + [f"{1000 * geometric_mean([s for s in medians[name].values() if s is not None]):,.1f}" for name in names]
               + [f"{geometric_mean(list(ratios(medians, one, other).values())):.2f}" for one, other in pairs])
    return report.table(["query"] + [f"{name} ms" for name in names] + [f"{one} / {other}" for one, other in pairs], out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=int, default=600, help="seconds for one query on PostgreSQL")
    parser.add_argument("--queries", default=",".join(map(str, range(1, 23))))
    parser.add_argument("--engines", default="heap,doris,duckdb")
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    engines = []
    for name in options.engines.split(","):
        if name == "duckdb":
            engines.append(DuckDB(options.data.parent / f"sf{options.scale}.duckdb"))
        else:
            engines.append(Postgres(name, options.limit))
    seconds, rows = load(engines, options.data)
    loading = loading_table(engines, seconds, rows)
    print(loading)
    numbers = [int(number) for number in options.queries.split(",") if number]
    queries = {"sum of one column": "SELECT sum(l_quantity) FROM lineitem"}
    scans, wrong_scans = measure(engines, queries, options.runs)
    medians, wrong = measure(engines, {f"Q{number}": query_text(number, options.scale) for number in numbers}, options.runs)
    baselines = [engine.name for engine in engines if engine.name != "doris"]
    wrong += wrong_scans
    command = f"SCALE={options.scale} RUNS={options.runs} make bench BENCH=tpch"
    versions = {engine.version(): None for engine in engines}
    text = "\n".join([
        report.stamp(command, *versions, "bench/postgresql.conf"),
        "Tables have no indexes and default options. Answers: "
        + ("all equal." if not wrong else "**different**: " + "; ".join(wrong)),
        "", loading, query_table(engines, scans, baselines), query_table(engines, medians, baselines)])
    if not options.no_report:
        report.write_section(f"tpch sf{options.scale}", f"TPC-H, scale factor {options.scale}", text)
    else:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
