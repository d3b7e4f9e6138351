#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cancelling: every operator of the engine stops soon after it is asked to, and leaves nothing behind.

usage: cancel.py [--rows 3000000] [--limit-ms 100] [--short]

Needs a running server (PGHOST, PGPORT, PGUSER from `scripts/server.sh env`) with pg_doris installed. Each query is
cancelled three times, at different moments; the median of the times until its session answers again counts. Also waits
out the ten seconds after which PostgreSQL's own timers interrupt a session that does not want to be cancelled (not so
`--short`).
"""
import argparse
import statistics
import subprocess
import sys
import time

QUERIES = {
    "scan": "SELECT count(*) FROM cancelled WHERE s LIKE '%x%y%z%' AND v % 7 = 3",
    "aggregation": "SELECT count(*) FROM (SELECT id, s, sum(v) FROM cancelled GROUP BY id, s) x",
    "count(DISTINCT)": "SELECT count(DISTINCT v), count(DISTINCT s), count(DISTINCT id) FROM cancelled",
    "join": "SELECT count(*) FROM cancelled a JOIN cancelled b ON a.id = b.v JOIN cancelled c ON b.id = c.v",
    "join with many matches": "SELECT count(*) FROM cancelled a JOIN cancelled b ON a.k = b.k WHERE a.v < b.v",
    "nested loop": "SELECT count(*) FROM cancelled a JOIN cancelled b ON a.v < b.id - 5",
    "sort": "SELECT count(*) FROM (SELECT * FROM cancelled ORDER BY s COLLATE \"C\", v, id OFFSET 10) x",
    "window": "SELECT max(r) FROM (SELECT sum(v) OVER (PARTITION BY k ORDER BY v, id ROWS BETWEEN 500 PRECEDING AND CURRENT ROW) AS r FROM cancelled) x",
    "window's extremes": "SELECT max(r) FROM (SELECT max(v) OVER (ORDER BY id ROWS BETWEEN 5000 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS r FROM cancelled) x",
    "set operation": "SELECT count(*) FROM (SELECT id, s FROM cancelled EXCEPT SELECT v, s FROM cancelled) x",
    "ordered set": "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY v), mode() WITHIN GROUP (ORDER BY id) FROM cancelled",
    "grouping sets": "SELECT count(*) FROM (SELECT k, s, v, count(*) FROM cancelled GROUP BY CUBE (k, s, v)) x",
    "external function": "SELECT count(*) FROM cancelled WHERE md5(s || id) < md5(s || v) AND md5(s || k) < 'f'",
    "external aggregate argument": "SELECT k, sum(length(md5(s || v))) FROM cancelled GROUP BY k",
    "spilled merge": "SELECT count(*) FROM (SELECT v, count(DISTINCT s), string_agg(s, ',') FROM cancelled GROUP BY v) x",
    "COPY": "COPY (SELECT a.id, b.s FROM cancelled a JOIN cancelled b ON a.k = b.k) TO PROGRAM 'cat > /dev/null'",
    "INSERT": "INSERT INTO cancelled SELECT a.id, a.k, b.v, b.s FROM cancelled a JOIN cancelled b ON a.k = b.k",
    "CREATE TABLE AS": "CREATE TABLE cancelled_copy USING doris AS SELECT a.id, b.s FROM cancelled a JOIN cancelled b ON a.k = b.k ORDER BY 2",
    "subplan": "SELECT count(*) FROM cancelled a JOIN generate_series(1, 3000000) g ON a.v = g",
}


def psql(text):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-d", "postgres"], input="SET client_min_messages = warning;" + text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.strip()


class Session:
    def __init__(self):
        self.process = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", "-d", "postgres"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)

    def send(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def line(self):
        return self.process.stdout.readline().strip()


def cancelled(query, settings, delay, canceller):
    """Milliseconds from the request to the answer; None when the query was over before."""
    session = Session()
    session.send(settings + "SELECT pg_backend_pid();")
    pid = session.line()
    session.send(query + ";")
    time.sleep(delay)
    start = time.perf_counter()
    canceller.send(f"SELECT pg_cancel_backend({pid});")
    answer = session.line()
    took = (time.perf_counter() - start) * 1000
    canceller.line()
    # The session works as before.
    if "canceling" in answer:
        session.send("SELECT count(*) FROM cancelled WHERE id < 10;")
        if session.line() != "10":
            took = 1e9
    session.process.stdin.close()
    session.process.wait()
    return took if "canceling" in answer else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--limit-ms", type=float, default=100)
    parser.add_argument("--short", action="store_true", help="each query is cancelled once")
    args = parser.parse_args()
    problem = psql(f"CREATE EXTENSION IF NOT EXISTS pg_doris; DROP TABLE IF EXISTS cancelled; CREATE TABLE cancelled USING doris AS SELECT g::int8 AS id, "
                   f"(g % 500)::int4 AS k, (g * 7919::int8) % {args.rows} AS v, 's' || g % 100003 AS s FROM generate_series(0, {args.rows} - 1) g; ANALYZE cancelled;")
    if problem:
        sys.exit("not ok - set up: " + problem)
    canceller = Session()
    delays = (0.1,) if args.short else (0.05, 0.15, 0.3)
    bad = 0
    for name, query in QUERIES.items():
        for memory in ("1GB", "4MB"):
            settings = f"SET doris.work_mem = '{memory}'; SET doris.threads = 2;"
            took = [t for t in (cancelled(query, settings, delay, canceller) for delay in delays) if t is not None]
            if not took:
                print(f"# {name} with {memory}: over before it could be cancelled")
                continue
            fine = statistics.median(took) <= args.limit_ms
            bad += not fine
            print(f"{'ok' if fine else 'not ok'} - {name} with {memory} is cancelled in {', '.join(f'{t:.0f}' for t in took)} ms", flush=True)
    left = psql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%cancelled%'")
    if left != "0":
        bad += 1
        print(f"not ok - {left} sessions still work")
    if args.short:
        psql("DROP TABLE cancelled")
        sys.exit(1 if bad else 0)
    # A timer of the session's own, ten seconds after its last statement but one, is no reason to stop.
    session = Session()
    session.send("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1); SELECT count(*) FROM cancelled WHERE id < 10;")
    session.line()
    start = time.time()
    session.send(f"SET statement_timeout = '14s'; {QUERIES['nested loop']};")
    answer = session.line()
    fine = "statement timeout" in answer and time.time() - start > 13
    bad += not fine
    print(f"{'ok' if fine else 'not ok'} - a long query goes on until its timeout: {answer}")
    psql("DROP TABLE cancelled")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
