# SPDX-License-Identifier: Apache-2.0
"""The engines that benchmarks compare, how their times are taken, and whether they answer alike."""
import math
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import psycopg

import report

THREADS = 2
RELATIVE_ERROR = 1e-9


def statements(text):
    """The statements of a file, without its comments."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


class Postgres:
    """Tables of one access method, in a schema of its own."""

    def __init__(self, am, benchmark, ddl, timeout_seconds):
        self.name = self.am = am
        self.schema = f"{benchmark}_{am}"
        self.ddl = ddl
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
        for statement in statements(self.ddl):
            self.connection.execute(f"{statement} USING {self.am}")

    def load(self, table, file):
        self.connection.execute("CHECKPOINT")
        start = time.perf_counter()
        with self.connection.cursor() as cursor, open(file, "rb") as data:
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
                while block := data.read(1 << 20):
                    copy.write(block)
            rows = cursor.rowcount
        return rows, time.perf_counter() - start

    def finish_load(self, tables):
        for table in tables:
            self.connection.execute(f"VACUUM ANALYZE {table}")
        self.connection.execute("CHECKPOINT")

    def size(self, table):
        return self.connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()[0]

    def total(self, tables):
        return sum(map(self.size, tables))

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

    def __init__(self, file, ddl):
        self.file = Path(file)
        self.ddl = ddl
        for old in (self.file, Path(str(file) + ".wal")):
            old.unlink(missing_ok=True)
        self.connection = duckdb.connect(str(self.file), config={"threads": THREADS})

    def version(self):
        return f"DuckDB {duckdb.__version__} with {THREADS} threads"

    def create(self):
        for statement in statements(self.ddl):
            self.connection.execute(statement)

    def load(self, table, file):
        start = time.perf_counter()
        self.connection.execute(f"COPY {table} FROM '{file}' (FORMAT csv, HEADER, ALLOW_QUOTED_NULLS false)")
        seconds = time.perf_counter() - start
        return self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0], seconds

    def finish_load(self, _):
        self.connection.execute("CHECKPOINT")

    def size(self, table):
        """Of a table: its blocks; the file holds all tables."""
        block = self.connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()[0]
        blocks = self.connection.execute(
            f"SELECT count(DISTINCT block) FROM (SELECT block_id AS block FROM pragma_storage_info('{table}') WHERE persistent"
            f" UNION ALL SELECT unnest(additional_block_ids) FROM pragma_storage_info('{table}') WHERE persistent)").fetchone()[0]
        return blocks * block

    def total(self, _):
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


def differences(_, expected, rows):
    """Nothing, or what is different, in words."""
    if len(expected) != len(rows):
        return f"{len(rows)} rows, not {len(expected)}"
    for number, (one, other) in enumerate(zip(sorted(expected, key=sort_key), sorted(rows, key=sort_key))):
        if len(one) != len(other) or not all(map(same_value, one, other)):
            return f"row {number}: {other}, not {one}"
    return ""


# --- measuring --------------------------------------------------------------------------------------------

def load(engines, tables, data):
    """seconds[engine][table], rows[table]"""
    seconds, rows = {engine.name: {} for engine in engines}, {}
    for engine in engines:
        engine.create()
    for table in tables:
        for engine in engines:
            count, seconds[engine.name][table] = engine.load(table, data / f"{table}.csv")
            if rows.setdefault(table, count) != count:
                sys.exit(f"{engine.name}: {count} rows in {table}, not {rows[table]}")
            print(f"{engine.name}: {table}: {count / seconds[engine.name][table]:,.0f} rows/s", flush=True)
    for engine in engines:
        engine.finish_load(tables)
    return seconds, rows


def measure(engines, queries, runs, difference=differences):
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
            if found := difference(name, expected, rows):
                wrong.append(f"{name}: {engine_name} differs from {oracle}: {found}")
        print(name, {key: value[name] and round(value[name], 3) for key, value in medians.items()}, flush=True)
    return medians, wrong


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values)) if values else float("nan")


def ratios(medians, engine, other):
    return {name: seconds / medians[other][name] for name, seconds in medians[engine].items()
            if seconds is not None and medians[other].get(name) is not None}


# --- the report -------------------------------------------------------------------------------------------

def loading_table(engines, tables, seconds, rows):
    out = []
    for table in tables:
        out.append([table, f"{rows[table]:,}"] + [f"{rows[table] / seconds[engine.name][table]:,.0f}" for engine in engines]
                   + [report.mebibytes(engine.size(table)) for engine in engines])
    out.append(["all tables", f"{sum(rows.values()):,}"]
               + [f"{sum(rows.values()) / sum(seconds[engine.name].values()):,.0f}" for engine in engines]
               + [report.mebibytes(engine.total(rows)) for engine in engines])
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
