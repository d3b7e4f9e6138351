# SPDX-License-Identifier: Apache-2.0
"""ClickBench: a seeded stand-in for its table hits (105 columns), and the 43 queries, on heap, doris and DuckDB.

The rows are made by DuckDB from a seed, in runs of one site and day as in the original: visits of several rows, few
frequent and many rare values, mostly empty search phrases. So times compare engines, not with published results.
Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import re
import sys
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402
from engines import DuckDB, Postgres, differences, load, loading_table, measure, query_table, statements  # noqa: E402

HERE = Path(__file__).parent / "clickbench"
COLUMNS = [line.split(" ", 2) for line in (HERE / "columns.txt").read_text().splitlines() if not line.startswith("#")]
assert len(COLUMNS) == 105

# Where ORDER BY leaves rows tied at the LIMIT, only the ordering column can be compared; -1: only the number of rows.
ORDERED_BY = {9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 1, 15: 2, 16: 1, 17: 2, 18: -1, 19: 3, 22: 2, 23: 3, 24: 4, 25: -1,
              28: 1, 29: 1, 31: 2, 32: 2, 33: 2, 34: 1, 35: 2, 36: 4, 37: 1, 38: 1, 39: 1, 40: 5, 41: 2, 42: 2}

# Words are three syllables, chosen by a number; a sentence is words whose numbers follow from the first.
MACROS = """
CREATE MACRO syllable(n) AS (['ba', 'ko', 'ri', 'mu', 'ste', 'la', 'no', 'vi', 'ger', 'da', 'pol', 'shi', 'e', 'tan', 'ur', 'zo'])
  [1 + (n % 16)::INT];
CREATE MACRO word(n) AS syllable(hash(n) >> 3) || syllable(hash(n) >> 17) || syllable(hash(n) >> 31);
CREATE MACRO words(n, count) AS array_to_string([word(n), word(n * 3 + 1), word(n % 97), word(n * 7 + 2), word(n % 53), word(n * 11 + 3)]
  [1:count], ' ')
"""

# Of a row's visit (six rows) and run (a thousand rows of one site and day).
VISIT = """
SELECT i, site, counter, person, moment, page, search,
       CASE person WHEN 123 THEN 435090932899640449 ELSE (hash(person, 7) >> 1)::BIGINT END AS person_id
FROM (
  SELECT i,
         CASE WHEN u(900, i // 1000) < 0.01 THEN 62 ELSE 1 + pick(901, 6000, 5, i // 1000) END AS counter,
         1 + counter % 4000 AS site,
         pick(902, {people}, 1.5, i // 6) AS person,
         TIMESTAMP '2013-07-01' + to_seconds(pick(903, 2592000, 1, i // 1000) + i % 1000 * 5 + pick(904, 5, 1)) AS moment,
         pick(905, 2000, 2) AS page,
         CASE WHEN u(906, i // 6) < 0.13 THEN words(pick(907, 30000, 2, i // 6), 1 + pick(908, 5, 1, i // 6)) ELSE '' END AS search
  FROM range({first}, {last}) AS numbers(i))
"""
CHUNK_ROWS = 500_000


def expand(sql, seed):
    """h(k), u(k) and pick(k, n, skew), which depend on the row or on what is named last, as DuckDB's SQL."""
    number = r"(\d+)"
    value = r"([^,()]+(?:\([^()]*\))?)"
    sql = re.sub(rf"\bpick\({number}, {value}, {number[:-1]}\.?\d*)(?:, ([^()]+?))?\)",
                 lambda m: f"floor({m[2]} * pow(uniform({m[4] or 'i'}, {seed}, {m[1]}), {m[3]}))::BIGINT", sql)
    sql = re.sub(rf"\bu\({number}(?:, ([^()]+?))?\)", lambda m: f"uniform({m[2] or 'i'}, {seed}, {m[1]})", sql)
    return re.sub(rf"\bh\({number}\)", lambda m: f"hash(i, {seed}, {m[1]})", sql)


def generate(file, rows, seed):
    """hits as CSV with a header line, in pieces that fit in memory."""
    partial = file.with_suffix(".partial")
    connection = duckdb.connect()
    connection.execute("CREATE MACRO uniform(row, seed, k) AS (hash(row, seed, k) >> 11) / 9007199254740992.0")
    for statement in statements(MACROS):
        connection.execute(statement)
    selected = ", ".join(f"({expand(sql, seed)})::{'INTEGER' if kind == 'smallint' else kind} AS {name}" for name, kind, sql in COLUMNS)
    with open(partial, "wb") as out:
        for first in range(0, rows, CHUNK_ROWS):
            inner = expand(VISIT.format(first=first, last=min(first + CHUNK_ROWS, rows), people=max(rows // 15, 1000)), seed)
            piece = partial.with_suffix(".piece")
            connection.execute(f"COPY (SELECT {selected} FROM ({inner})) TO '{piece}' (FORMAT csv, HEADER {first == 0})")
            out.write(piece.read_bytes())
            piece.unlink()
    partial.rename(file)


def difference(name, expected, rows):
    number = int(name[1:])
    if number == 20:
        expected, rows = sorted(expected), sorted(rows)
    column = ORDERED_BY.get(number)
    if column is None:
        return differences(name, expected, rows)
    if column == -1:
        return "" if len(expected) == len(rows) else f"{len(rows)} rows, not {len(expected)}"
    return differences(name, [(row[column],) for row in expected], [(row[column],) for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=int, default=600, help="seconds for one query on PostgreSQL")
    parser.add_argument("--engines", default="heap,doris,duckdb")
    parser.add_argument("--queries", default=",".join(map(str, range(1, 44))))
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    data = options.directory / f"rows{options.rows}-seed{options.seed}"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "hits.csv").exists():
        print(f"generating {options.rows:,} rows", flush=True)
        generate(data / "hits.csv", options.rows, options.seed)
    ddl = "CREATE TABLE hits (" + ", ".join(f"{name} {kind} NOT NULL" for name, kind, _ in COLUMNS) + ")"
    engines = [DuckDB(data / "hits.duckdb", ddl) if name == "duckdb" else Postgres(name, "clickbench", ddl, options.limit)
               for name in options.engines.split(",")]
    seconds, rows = load(engines, ["hits"], data)
    loading = loading_table(engines, ["hits"], seconds, rows)
    queries = {f"Q{number}": sql for number, sql in enumerate(statements((HERE / "queries.sql").read_text()), 1)
               if str(number) in options.queries.split(",")}
    medians, wrong = measure(engines, queries, options.runs, difference)
    baselines = [engine.name for engine in engines if engine.name != "doris"]
    text = "\n".join([
        report.stamp(f"ROWS={options.rows} SEED={options.seed} RUNS={options.runs} make bench BENCH=clickbench",
                     *{engine.version(): None for engine in engines}, "bench/postgresql.conf"),
        "Made-up rows (bench/clickbench.py); no indexes, default options. Answers: "
        + ("all equal." if not wrong else "**different**: " + "; ".join(wrong)),
        "", loading, query_table(engines, medians, baselines)])
    if options.no_report:
        print(text)
    else:
        report.write_section(f"clickbench {options.rows} {options.seed}", f"ClickBench, {options.rows:,} rows", text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
