#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Aggregation, join, sort and DISTINCT of many rows with little memory: they go to temporary files.

usage: spill.py [--rows 20000000] [--work-mem 64MB] [--limit-mb 300] [--report]

Needs a running server on this machine (PGHOST, PGPORT, PGUSER from `scripts/server.sh env`). Each query runs in a session
of its own, whose private memory (RssAnon) is looked at every 20 ms; answers are checked against arithmetic. With
--report the section of docs/benchmarks.md is written; bench/run.sh does so.
"""
import argparse
import subprocess
import sys
import threading
import time

import report

QUERIES = {
    # Every row a group: id runs from 1, k has one value for four rows.
    "aggregation": ("SELECT count(*), sum(n) FROM (SELECT k, count(*) AS n FROM spill GROUP BY k) g", "{groups}|{rows}"),
    "wide aggregation": ("SELECT count(*), sum(n) FROM (SELECT id, s, count(*) AS n, max(v) FROM spill GROUP BY id, s) g", "{rows}|{rows}"),
    "join": ("SELECT count(*), sum(b.v - a.v) FROM spill a JOIN spill b ON a.id = b.id", "{rows}|0"),
    "left join": ("SELECT count(*), count(b.id) FROM spill a LEFT JOIN spill b ON a.id = b.id * 2", "{rows}|{half}"),
    "sort": ("SELECT count(*), sum(CASE WHEN v < p THEN 1 ELSE 0 END) FROM (SELECT v, lag(v) OVER (ORDER BY v) AS p FROM (SELECT v FROM spill ORDER BY v OFFSET 0) x) y", None),
    "plain sort": ("SELECT md5(string_agg(v::text, ',')) IS NOT NULL FROM (SELECT v FROM (SELECT v, s, id FROM spill ORDER BY v, s, id OFFSET {rows} - 1000) z) y", "t"),
    "distinct": ("SELECT count(*) FROM (SELECT DISTINCT v, s FROM spill) d", "{rows}"),
    "count(DISTINCT)": ("SELECT count(DISTINCT v), count(DISTINCT k) FROM spill", "{rows}|{groups}"),
}


def psql(text):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-d", "postgres", "-v", "ON_ERROR_STOP=1"], input="SET client_min_messages = warning;" + text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.strip()


def private_kb(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def run(query, settings):
    """The answer, the time, and the most private memory in kB."""
    session = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", "-d", "postgres"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, bufsize=1)
    session.stdin.write(f"{settings}SELECT pg_backend_pid();\n")
    session.stdin.flush()
    pid = int(session.stdout.readline())
    peak, stop = [private_kb(pid)], threading.Event()

    def watch():
        while not stop.wait(0.02):
            peak[0] = max(peak[0], private_kb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.time()
    answer, _ = session.communicate(query + ";\n")
    stop.set()
    watcher.join()
    return answer.strip(), time.time() - start, peak[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--work-mem", default="64MB")
    parser.add_argument("--limit-mb", type=int, default=300)
    parser.add_argument("--queries", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    numbers = {"rows": args.rows, "half": args.rows // 2, "groups": (args.rows + 3) // 4}
    if psql("SELECT count(*) FROM pg_class WHERE relname = 'spill'") != "1" or psql("SELECT count(*) FROM spill") != str(args.rows):
        problem = psql(f"DROP TABLE IF EXISTS spill; CREATE TABLE spill USING doris AS SELECT g::int8 AS id, (g / 4)::int4 AS k, "
                       f"(g * 7919::int8) % {args.rows} AS v, 's' || g % 1000 AS s FROM generate_series(0, {args.rows} - 1) g; ANALYZE spill;")
        if problem:
            sys.exit("not ok - set up: " + problem)
    bad, measured = 0, []
    for name, (query, expected) in QUERIES.items():
        if args.queries and name not in args.queries.split(","):
            continue
        answer, seconds, peak = run(query.format(**numbers), f"SET doris.work_mem = '{args.work_mem}'; SET work_mem = '32MB';")
        fine = (expected is None or answer == expected.format(**numbers)) and "ERROR" not in answer and peak <= args.limit_mb * 1024
        bad += not fine
        measured.append((name, f"{seconds:.1f}", peak // 1024, "right" if fine else f"**{answer[:100]}**"))
        print(f"{'ok' if fine else 'not ok'} - {name}: {seconds:.1f} s, {peak // 1024} MB of private memory: {answer[:100]}", flush=True)
    if not args.keep:
        psql("DROP TABLE spill")
    if args.report:
        version = psql("SHOW server_version").split()[0]
        text = report.stamp(f"ROWS={args.rows} make bench BENCH=spill", f"PostgreSQL {version}", "bench/postgresql.conf")
        text += f"\n{args.rows:,} rows; `doris.work_mem` = {args.work_mem}; the bound on private memory is {args.limit_mb} MB.\n\n"
        text += report.table(["query", "seconds", "MB of private memory", "answer"], measured)
        report.write_section(f"spill {args.rows}", f"Little memory, {args.rows:,} rows", text)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
