#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Roll-ups and distinct counts: an aggregate-key table beside a plain table of its rows and a duplicate-key table of
the events, and bitmap_union_count and hll over groups beside DuckDB's distinct counts.

    bench/aggregate.py            with the variables that scripts/server.sh env prints
"""
import argparse
import statistics
import time

import duckdb
import psycopg

import report
from engines import THREADS

def best(run, times):
    """The median of some runs, in milliseconds, after one that does not count."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def rollup(sql, rows, keys, runs):
    """Rows for the report: loading, then queries before and after compaction."""
    sql("DROP TABLE IF EXISTS events, folded, ready")
    sql("CREATE TABLE events (i bigint, k bigint, v bigint, hits bigint) USING doris WITH (duplicate_key = 'i')")
    sql("CREATE TABLE folded (k bigint, v bigint, hits bigint) USING doris WITH (aggregate_key = 'k', sum = 'hits', max = 'v')")
    sql("CREATE TABLE ready (k bigint, v bigint, hits bigint) USING doris WITH (duplicate_key = 'k')")
    measured = []
    parts = 10
    for table, columns in (("events", "x, (x * 7919) % {k}, x % 1000, 1"), ("folded", "(x * 7919) % {k}, x % 1000, 1")):
        start = time.perf_counter()
        for part in range(parts):
            first, last = rows * part // parts + 1, rows * (part + 1) // parts
            sql(f"INSERT INTO {table} SELECT {columns.format(k=keys)} FROM generate_series({first}::bigint, {last}) x")
        seconds = time.perf_counter() - start
        measured.append((f"loading {rows:,} events in {parts} parts into {table}", f"{rows / seconds:,.0f} rows/s"))
    sql("INSERT INTO ready SELECT k, max(v), sum(hits) FROM events GROUP BY k")
    assert sql("SELECT count(*), sum(v), sum(hits) FROM folded") == sql("SELECT count(*), sum(v), sum(hits) FROM ready")
    queries = {
        "sum of all": ("SELECT sum(hits), max(v) FROM {}", "SELECT sum(hits), max(v) FROM events"),
        "the ten largest": ("SELECT k, hits FROM {} ORDER BY hits DESC, k LIMIT 10",
                            "SELECT k, sum(hits) FROM events GROUP BY k ORDER BY 2 DESC, k LIMIT 10"),
        "a hundred groups": ("SELECT k % 100, sum(hits) FROM {} GROUP BY 1 ORDER BY 1", "SELECT k % 100, sum(hits) FROM events GROUP BY 1 ORDER BY 1"),
    }
    for when in ("before compaction", "after compaction"):
        if when.startswith("after"):
            sql("CALL doris.compact('folded')")
        for name, (of_rows, of_events) in queries.items():
            taken = {table: best(lambda: sql(of_rows.format(table)), runs) for table in ("folded", "ready")}
            taken["events"] = best(lambda: sql(of_events), runs)
            assert sql(of_rows.format("folded")) == sql(of_rows.format("ready"))
            measured.append((f"{name}, {when}: folded, a table of {keys:,} rows, the events",
                             " / ".join(f"{taken[t]:.1f} ms" for t in ("folded", "ready", "events"))))
    return measured


def distinct(sql, rows, users, runs):
    """Rows for the report: distinct counts in 100 groups, here and in DuckDB."""
    sql("DROP TABLE IF EXISTS visits")
    sql("CREATE TABLE visits (g integer, u bigint) USING doris")
    made = "SELECT {x} % 100 AS g, ({x} * 104729) % {users} AS u"
    sql("INSERT INTO visits SELECT (x % 100)::int, (x * 104729) % {} FROM generate_series(1::bigint, {}) x".format(users, rows))
    duck = duckdb.connect()
    duck.execute(f"SET threads = {THREADS}")
    duck.execute(f"CREATE TABLE visits AS {made.format(x='x', users=users)} FROM range(1, {rows + 1}) r(x)")
    exact = "SELECT g, {} FROM visits GROUP BY g ORDER BY g"
    ask = lambda text: duck.execute(text).fetchall()
    pairs = [
        ("bitmap_union_count(to_bitmap(u))", "count(DISTINCT u)", True),
        ("hll_union_agg(hll_hash(u))", "approx_count_distinct(u)", False),
        ("ndv(u)", "approx_count_distinct(u)", False),
    ]
    measured = []
    truth = dict(ask(exact.format("count(DISTINCT u)")))
    for ours, theirs, same in pairs:
        answer = {int(g): int(n) for g, n in sql(exact.format("doris." + ours.replace("(to_bitmap", "(doris.to_bitmap").replace("(hll_hash", "(doris.hll_hash")))}
        off = max(abs(answer[g] - truth[g]) / truth[g] for g in truth)
        assert off == 0 if same else off < 0.05, f"{ours} is off by {off}"
        text = "doris." + ours.replace("(to_bitmap", "(doris.to_bitmap").replace("(hll_hash", "(doris.hll_hash")
        here = best(lambda: sql(exact.format(text)), runs)
        there = best(lambda: ask(exact.format(theirs)), runs)
        measured.append((f"{ours}, DuckDB's {theirs}", f"{here:.0f} ms / {there:.0f} ms"))
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=1_000_003)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-report", action="store_true", help="print only")
    args = parser.parse_args()
    connection = psycopg.connect(dbname="postgres", autocommit=True)

    def sql(text):
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else None
    sql("CREATE EXTENSION IF NOT EXISTS pg_doris")
    sql("SET doris.rows_to_heap = 2048")
    sql("ALTER DATABASE postgres SET doris.compaction = off")
    measured = rollup(sql, args.rows, args.keys, args.runs) + distinct(sql, args.rows, args.users, args.runs)
    sql("ALTER DATABASE postgres RESET doris.compaction")
    sql("DROP TABLE events, folded, ready, visits")
    if args.no_report:
        print(report.table(["what", "measured"], measured))
        return
    version = sql("SHOW server_version")[0][0].split()[0]
    text = report.stamp(f"ROWS={args.rows} make bench BENCH=aggregate", f"PostgreSQL {version}", f"DuckDB {duckdb.__version__} with {THREADS} threads",
                        "bench/postgresql.conf") + "\n"
    text += f"Medians of {args.runs} runs after a first; compaction off but where it is named.\n\n"
    text += report.table(["what", "measured"], measured)
    report.write_section("aggregate", "Roll-ups and distinct counts", text)


if __name__ == "__main__":
    main()
