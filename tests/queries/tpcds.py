#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TPC-DS: the 99 queries on doris tables and on heap twins must give the same rows.

usage: tpcds.py [--scale 0.1] [--queries 1,2,...] [--reload] [--timeout SECONDS]

Data and queries come from DuckDB's extension tpcds (the packages of requirements.txt) when the test runs; nothing of them is kept in the repository. Needs a running server
(PGHOST, PGPORT, PGUSER from `scripts/server.sh env`) with pg_doris installed. Prints each query that differs, the
queries that were not vectorised from the top with the reasons, the time of both sides, and one `ok`/`not ok` line.
"""
import argparse
import collections
import glob
import math
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time

import duckdb

TYPES = {"INTEGER": "int", "BIGINT": "bigint", "VARCHAR": "text", "DATE": "date", "DOUBLE": "float8", "TIME": "time"}


def connect(scale):
    """DuckDB with the data in it."""
    pattern = os.path.join(sysconfig.get_paths()["purelib"], "duckdb_extension_tpcds", "**", "tpcds.duckdb_extension")
    found = glob.glob(pattern, recursive=True)
    if not found:
        sys.exit("not ok - no package duckdb-extension-tpcds")
    duck = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    duck.execute(f"LOAD '{found[0]}'")
    duck.execute(f"CALL dsdgen(sf={scale})")
    return duck


def psql(text, timeout=None):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-d", "postgres"], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=timeout)
    return done.stdout


def load(duck, scale):
    """The tables under both access methods, in schemas of their own."""
    tables = [row[0] for row in duck.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for schema, am in (("ds_heap", "heap"), ("ds_doris", "doris")):
            text = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_doris;"
            text += f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema};"
            text += f"SET default_table_access_method = {am}; SET doris.rows_to_heap = 0;"
            for table in tables:
                columns = []
                for name, kind in duck.execute(f"SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index").fetchall():
                    columns.append(f"{name} {TYPES.get(kind, kind.replace('DECIMAL', 'numeric'))}")
                text += f"CREATE TABLE {table} ({', '.join(columns)});"
                path = os.path.join(folder, table + ".csv")
                if not os.path.exists(path):
                    duck.execute(f"COPY {table} TO '{path}' (FORMAT csv, HEADER false, NULLSTR '@')")
                text += f"\n\\copy {table} FROM '{path}' (FORMAT csv, NULL '@')\n"
            text += f"ANALYZE; COMMENT ON SCHEMA {schema} IS 'scale {scale}';"
            problems = [line for line in psql(text).splitlines() if "ERROR" in line]
            if problems:
                sys.exit("not ok - set up: " + "; ".join(problems))


def translated(query):
    """DuckDB's dialect as PostgreSQL's."""
    query = query.strip().rstrip(";")
    # Names of aliases that only an expression of ORDER BY refers to are no columns for PostgreSQL.
    if "lochierarchy" in query and re.search(r"CASE\s+WHEN lochierarchy", query, re.I):
        at = re.search(r"\bORDER BY\b(?!.*\bORDER BY\b)", query, re.I | re.S).start()
        query = f"SELECT * FROM ({query[:at]}) answer {query[at:]}"
    return query


def value(text):
    try:
        number = float(text)
    except ValueError:
        return text
    return number


def close(a, b):
    """The same value, or the same but for the order in which floats were added."""
    if a == b:
        return True
    x, y = value(a), value(b)
    return isinstance(x, float) and isinstance(y, float) and math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9)


def same(want, have):
    if want == have:
        return True
    # Rows of equal sort keys come in any order.
    want, have = sorted(want), sorted(have)
    return len(want) == len(have) and all(
        len(w.split("\x1f")) == len(h.split("\x1f")) and all(map(close, w.split("\x1f"), h.split("\x1f"))) for w, h in zip(want, have))


def answer(query, schema, settings, timeout):
    start = time.time()
    text = f"SET search_path = {schema}; SET statement_timeout = '{timeout}s'; {settings}\n{query};"
    return psql(text).splitlines(), time.time() - start


def explain(query):
    text = psql(f"SET search_path = ds_doris; SET client_min_messages = debug1; EXPLAIN (COSTS OFF) {query};").splitlines()
    plan = [line for line in text if "DEBUG" not in line]
    why = [line.split("not vectorised: ")[1] for line in text if "not vectorised: " in line]
    return plan, why


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--queries", default="")
    parser.add_argument("--reload", action="store_true")
    parser.add_argument("--timeout", type=int, default=60)
    args = parser.parse_args()
    loaded = psql("SELECT obj_description('ds_doris'::regnamespace)").strip() == f"scale {args.scale}"
    duck = connect(args.scale if args.reload or not loaded else 0)
    if args.reload or not loaded:
        load(duck, args.scale)
    queries = dict(duck.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall())
    wanted = [int(n) for n in args.queries.split(",") if n] or sorted(queries)
    bad, skipped, part, whole = 0, [], 0, 0
    reasons, spent = collections.Counter(), [0.0, 0.0]
    for number in wanted:
        query = translated(queries[number])
        want, heap_time = answer(query, "ds_heap", "", args.timeout)
        if any("ERROR" in line for line in want):
            skipped.append(number)
            print(f"query {number} on a heap: {[line for line in want if 'ERROR' in line][0][:200]}", flush=True)
            have, _ = answer(query, "ds_doris", "", args.timeout)
            if "statement timeout" not in " ".join(want) or not have:
                bad += "statement timeout" not in " ".join(want)
            continue
        for settings in ("SET doris.threads = 2;", "SET doris.threads = 2; SET doris.work_mem = '1MB'; SET doris.batch_rows = 100;"):
            have, doris_time = answer(query, "ds_doris", settings, args.timeout * 3)
            if not same(want, have):
                bad += 1
                print(f"query {number} differs with {settings} {len(want)} rows on a heap, {len(have)} here")
                print(f"  heap  {[x for x in sorted(want) if x not in have][:3]}\n  doris {[x for x in sorted(have) if x not in want][:3]}", flush=True)
            if "work_mem" not in settings:
                spent = [spent[0] + heap_time, spent[1] + doris_time]
                plan, why = explain(query)
                on_top = bool(plan) and "DorisVectorized" in plan[0]
                whole += on_top
                part += any("DorisVectorized" in line for line in plan)
                reasons.update(set(why))
                print(f"query {number}: {len(want)} rows, heap {heap_time:.2f} s, doris {doris_time:.2f} s, "
                      f"{'vectorised from the top' if on_top else 'top: ' + plan[0] + '; ' + '; '.join(dict.fromkeys(why))}", flush=True)
    print(f"{whole} of {len(wanted)} vectorised from the top, {part} in part; heap {spent[0]:.1f} s, doris {spent[1]:.1f} s")
    for reason, count in reasons.most_common():
        print(f"  {count:4} {reason}")
    if skipped:
        print(f"no answer from the heap: {skipped}")
    print(f"{'not ok' if bad else 'ok'} - TPC-DS at scale factor {args.scale} answers as on a heap")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
