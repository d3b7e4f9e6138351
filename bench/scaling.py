# SPDX-License-Identifier: Apache-2.0
"""What a second thread brings: scans, aggregations and joins over lineitem and orders with one and two threads, in doris
and in DuckDB.

Both engines take turns with both numbers of threads, so that a busy machine slows all of them. Times are the client's,
medians after a first run that is not counted. Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402
from engines import DuckDB, Postgres, differences, geometric_mean, load  # noqa: E402

SCHEMA = Path(__file__).parent / "tpch" / "schema.sql"
TABLES = ["orders", "lineitem"]
THREADS = (1, 2)
QUERIES = {
    "scan: sum of a product": "SELECT sum(l_extendedprice * l_discount) FROM lineitem",
    "scan: filters on three columns": "SELECT count(*), sum(l_extendedprice) FROM lineitem WHERE l_shipdate >= '1994-01-01'"
    " AND l_shipdate < '1996-01-01' AND l_discount BETWEEN 0.03 AND 0.07 AND l_quantity < 30",
    "scan: text with LIKE": "SELECT count(*) FROM lineitem WHERE l_comment LIKE '%special%'",
    "aggregation: six groups": "SELECT l_returnflag, l_linestatus, l_linenumber % 2, sum(l_quantity), sum(l_extendedprice * (1 - l_discount)), avg(l_tax), count(*)"
    " FROM lineitem GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "aggregation: 200,000 groups": "SELECT count(*), max(q) FROM (SELECT l_partkey, sum(l_quantity) AS q FROM lineitem GROUP BY l_partkey) g",
    "aggregation: 1,500,000 groups": "SELECT count(*), max(q) FROM (SELECT l_orderkey, sum(l_quantity) AS q FROM lineitem GROUP BY l_orderkey) g",
    "join: all orders with their lines": "SELECT count(*), sum(o_totalprice - l_extendedprice) FROM orders JOIN lineitem ON l_orderkey = o_orderkey",
    "join: some orders, grouped": "SELECT o_orderpriority, count(*), sum(l_quantity) FROM orders JOIN lineitem ON l_orderkey = o_orderkey"
    " WHERE o_orderdate >= '1995-01-01' GROUP BY o_orderpriority ORDER BY o_orderpriority",
    "join: lines against a semi-join": "SELECT count(*) FROM lineitem WHERE l_orderkey IN (SELECT o_orderkey FROM orders WHERE o_totalprice > 200000)",
}


def set_threads(engine, threads):
    statement = f"SET threads = {threads}" if engine.name == "duckdb" else f"SET doris.threads = {threads}"
    engine.connection.execute(statement)


def measure(engines, runs):
    """medians[query][engine][threads] in seconds, and wrong answers."""
    medians, wrong = {}, []
    for name, sql in QUERIES.items():
        times, answers = {(engine.name, threads): [] for engine in engines for threads in THREADS}, {}
        for turn in range(runs + 1):
            for engine in engines:
                for threads in THREADS:
                    set_threads(engine, threads)
                    seconds, answers[engine.name, threads] = engine.run(sql)
                    if seconds is None:
                        sys.exit(f"{name}: {engine.name} took longer than the limit")
                    if turn > 0:
                        times[engine.name, threads].append(seconds)
        expected = answers[engines[-1].name, THREADS[0]]
        for (engine, threads), rows in answers.items():
            if found := differences(name, expected, rows):
                wrong.append(f"{name}: {engine} with {threads} threads: {found}")
        medians[name] = {engine.name: {threads: statistics.median(times[engine.name, threads]) for threads in THREADS} for engine in engines}
        print(name, medians[name], flush=True)
    return medians, wrong


def scaling_table(medians):
    gain = lambda times: times[THREADS[0]] / times[THREADS[1]]
    rows = [[name] + [f"{1000 * times[engine][threads]:,.1f}" for engine in ("doris", "duckdb") for threads in THREADS]
            + [f"{gain(times['doris']):.2f}", f"{gain(times['duckdb']):.2f}"] for name, times in medians.items()]
    means = [f"{geometric_mean([gain(times[engine]) for times in medians.values()]):.2f}" for engine in ("doris", "duckdb")]
    rows.append(["geometric mean", "", "", "", ""] + means)
    return report.table(["query", "doris, 1 thread ms", "2 threads ms", "duckdb, 1 thread ms", "2 threads ms", "doris, times faster", "duckdb, times faster"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=int, default=600, help="seconds for one query on PostgreSQL")
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    # The statements of the two tables only.
    ddl = ";\n".join(statement for statement in SCHEMA.read_text().replace(" USING :am", "").split(";")
                     if any(f"CREATE TABLE {table} " in statement for table in TABLES)) + ";"
    engines = [Postgres("doris", "scaling", ddl, options.limit), DuckDB(options.data.parent / f"scaling{options.scale}.duckdb", ddl)]
    load(engines, TABLES, options.data)
    medians, wrong = measure(engines, options.runs)
    table = scaling_table(medians)
    if options.no_report:
        print(table, *wrong, sep="\n")
        return 1 if wrong else 0
    text = "\n".join([
        report.stamp(f"SCALE={options.scale} RUNS={options.runs} make bench BENCH=scaling", engines[0].version(),
                     engines[1].version().replace(" with 2 threads", ""), "bench/postgresql.conf"),
        "lineitem and orders of TPC-H, without indexes, default options. Answers: " + ("all equal." if not wrong else "**different**: " + "; ".join(wrong)),
        "", table])
    report.write_section("scaling", "One thread and two", text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
