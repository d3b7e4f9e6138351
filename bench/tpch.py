# SPDX-License-Identifier: Apache-2.0
"""TPC-H on heap tables, doris tables and DuckDB's native file: loading, size, the 22 queries, equal answers.

Engines take turns query by query and run by run, so that a busy machine slows all of them. Times are the
client's, from sending the statement to having all rows, planning included; the first run of each is not counted.
Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import sys
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402
from engines import DuckDB, Postgres, load, loading_table, measure, query_table  # noqa: E402

QUERIES = Path(__file__).parent / "tpch"
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]


def query_text(number, scale):
    text = (QUERIES / f"q{number:02}.sql").read_text()
    return text.replace("0.0001", f"{Decimal('0.0001') / Decimal(str(scale)):f}") if number == 11 else text


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
    ddl = (QUERIES / "schema.sql").read_text().replace(" USING :am", "")
    engines = []
    for name in options.engines.split(","):
        if name == "duckdb":
            engines.append(DuckDB(options.data.parent / f"sf{options.scale}.duckdb", ddl))
        else:
            engines.append(Postgres(name, "tpch", ddl, options.limit))
    seconds, rows = load(engines, TABLES, options.data)
    loading = loading_table(engines, list(reversed(TABLES)), seconds, rows)
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
