# SPDX-License-Identifier: Apache-2.0
"""Whether TPC-H's join orders are good ones: each query as it is planned, against up to 20 other orders forced on it.

Orders are forced in two ways, which take turns. One writes the tables of each FROM as a random tree of CROSS JOINs, without
products of unconnected tables, and sets join_collapse_limit to 1: PostgreSQL must take it as it is, however dear it thinks
it. The other has PostgreSQL's genetic search stop at its first random guesses, which also moves outer joins, semi joins and
subqueries that have become joins. Only orders whose plans differ count.

Every order runs a few times beside the query as planned, and is stopped when it takes three times as long. Those that seem
to be the fastest run again, in turns with the query as planned, and only these runs are reported: the best of twenty
noisy times would be too good. Started by bench/run.sh, with PGHOST and the rest set.
"""
import argparse
import random
import re
import statistics
import sys
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parent))
import report  # noqa: E402
from engines import Postgres, differences, geometric_mean, load  # noqa: E402
from tpch import QUERIES, TABLES, query_text  # noqa: E402

ORDERS = 20
TRIES = 150
BAR = 1.3
FINALISTS = 3
PREFIXES = {"region": "r", "nation": "n", "supplier": "s", "customer": "c", "part": "p", "partsupp": "ps", "orders": "o", "lineitem": "l"}
ITEM = rf"(?:{'|'.join(PREFIXES)})\b(?: [a-z]\w*)?"
COLUMN = r"(?:(\w+)\.)?([a-z]+)_\w+"


class Clock:
    """Seconds of a wall clock, or of all processors by all threads of a backend."""

    def __init__(self, connection, kind):
        self.tasks = Path(f"/proc/{connection.info.backend_pid}/task")
        self.kind = kind

    def read(self):
        if self.kind == "wall":
            return time.perf_counter()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self.tasks.iterdir()) / 1e9


# --- orders -----------------------------------------------------------------------------------------------

def connections(items, text):
    """Pairs of items of a FROM that an equality connects, also by way of others."""
    tables = {item.split()[-1]: item.split()[0] for item in items}

    def owner(qualifier, prefix):
        if qualifier:
            return qualifier if qualifier in tables else None
        return next((name for name, table in tables.items() if PREFIXES[table] == prefix), None)

    same = []
    for match in re.finditer(rf"{COLUMN} = {COLUMN}", text):
        one, other = match.group(0).split(" = ")
        names = owner(match.group(1), match.group(2)), owner(match.group(3), match.group(4))
        columns = {(name, column.split(".")[-1]) for name, column in zip(names, (one, other)) if name}
        if len(columns) == 2:
            joined = [known for known in same if known & columns]
            same = [known for known in same if not known & columns] + [columns.union(*joined)]
    return {(a, b) for group in same for a, _ in group for b, _ in group if a != b}


def tree(items, connected, choice):
    """The items as a random tree of joins; None if they are not all connected."""
    clumps = [({item.split()[-1]}, item) for item in items]
    while len(clumps) > 1:
        pairs = [(a, b) for a in range(len(clumps)) for b in range(len(clumps))
                 if a != b and any((x, y) in connected for x in clumps[a][0] for y in clumps[b][0])]
        if not pairs:
            return None
        a, b = choice.choice(pairs)
        joined = clumps[a][0] | clumps[b][0], f"({clumps[a][1]} CROSS JOIN {clumps[b][1]})"
        clumps = [clump for number, clump in enumerate(clumps) if number not in (a, b)] + [joined]
    return clumps[0][1]


def rewritten(text, choice):
    """A query with every list of tables in a FROM as a tree; None where there is none of three or more."""
    found = False

    def replace(match):
        nonlocal found
        items = re.split(r",\s*", match.group(1))
        joined = tree(items, connections(items, text), choice) if len(items) > 2 else None
        found = found or joined is not None
        return f"FROM {joined}" if joined else match.group(0)

    result = re.sub(rf"FROM ({ITEM}(?:,\s*{ITEM})+)", replace, text)
    return result if found else None


def ways(text, seed):
    """Endless statements that force orders, with the settings that they need."""
    choice = random.Random(seed)
    while True:
        forced = rewritten(text, choice)
        if forced:
            yield forced, {"join_collapse_limit": 1}
        guess = {"geqo_threshold": 2, "geqo_pool_size": 2, "geqo_generations": 1, "geqo_seed": round(choice.random(), 6)}
        yield text, guess


class Session:
    """The engine under test, with settings that come and go."""

    def __init__(self, engine, kind):
        self.engine, self.connection = engine, engine.connection
        self.clock = Clock(engine.connection, kind)

    def apply(self, settings):
        for name, value in settings.items():
            self.connection.execute(f"SET {name} = {value}")

    def reset(self, settings):
        for name in settings:
            self.connection.execute(f"RESET {name}")

    def plan(self, text, settings):
        self.apply(settings)
        rows = self.connection.execute("EXPLAIN (COSTS OFF) " + text).fetchall()
        self.reset(settings)
        return "\n".join(row[0] for row in rows)

    def run(self, text, settings, limit):
        """Seconds by the clock and rows; None if it takes longer than the limit in seconds of the wall."""
        self.apply(settings)
        self.connection.execute(f"SET statement_timeout = {max(1, round(limit * 1000))}")
        try:
            start = self.clock.read()
            rows = self.connection.execute(text).fetchall()
            return self.clock.read() - start, rows
        except psycopg.errors.QueryCanceled:
            return None, None
        finally:
            self.connection.execute("RESET statement_timeout")
            self.reset(settings)


def orders(session, text, seed):
    """Statements and settings for up to ORDERS plans that differ from each other and from the query's own."""
    known, found = {session.plan(text, {})}, []
    for number, (forced, settings) in enumerate(ways(text, seed)):
        if len(found) == ORDERS or number == TRIES:
            return found
        plan = session.plan(forced, settings)
        if plan not in known:
            known.add(plan)
            found.append((forced, settings, plan))


# --- measuring --------------------------------------------------------------------------------------------

def measure(session, text, runs, seed):
    """How many orders were forced, seconds as planned, of the fastest order, its plan, and what was wrong."""
    for _ in range(2):
        start = time.perf_counter()
        _, expected = session.run(text, {}, 600)
        limit = 3 * (time.perf_counter() - start) + 0.05
    forced, wrong, times = orders(session, text, seed), [], {}
    for number, (statement, settings, _) in enumerate(forced):
        pairs = []
        for turn in range(4):
            seconds, rows = session.run(statement, settings, limit)
            if seconds is None:
                break
            if turn == 0:
                found = differences(None, expected, rows)
                wrong += [f"an order gives {found}"] if found else []
                continue
            pairs.append((session.run(text, {}, 600)[0], seconds))
        else:
            times[number] = statistics.median(own / other for own, other in pairs)
    best = (None, None, None)
    for number in sorted(times, key=times.get, reverse=True)[:FINALISTS]:
        statement, settings, plan = forced[number]
        pairs = [(session.run(text, {}, 600)[0], session.run(statement, settings, 600)[0]) for _ in range(runs)]
        own, other = (statistics.median(column) for column in zip(*pairs))
        if best[0] is None or own / other > best[0] / best[1]:
            best = own, other, plan
    return len(forced), *best, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queries", default=",".join(map(str, range(1, 23))))
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="processor: for a machine that is not quiet")
    parser.add_argument("--loaded", action="store_true", help="take the tables of an earlier run")
    parser.add_argument("--plans", type=Path, help="write the plans of orders above the bar into this directory")
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    engine = Postgres("doris", "orders", (QUERIES / "schema.sql").read_text().replace(" USING :am", ""), 600)
    # A prepared statement would keep its first plan.
    engine.connection.prepare_threshold = None
    if not options.loaded:
        load([engine], TABLES, options.data)
    session, rows, wrong, ratios = Session(engine, options.clock), [], [], []
    for number in map(int, options.queries.split(",")):
        text = query_text(number, options.scale)
        count, own, best, plan, found = measure(session, text, options.runs, options.seed)
        wrong += [f"Q{number}: {difference}" for difference in found]
        if own is None:
            rows.append([f"Q{number}", count, "", "", ""])
            continue
        ratios.append(own / best)
        rows.append([f"Q{number}", count, f"{1000 * own:,.1f}", f"{1000 * best:,.1f}", f"{own / best:.2f}"])
        print(*rows[-1], flush=True)
        if options.plans and own / best > BAR:
            options.plans.mkdir(parents=True, exist_ok=True)
            (options.plans / f"q{number:02}.txt").write_text(f"{session.plan(text, {})}\n\n{plan}\n")
    rows.append(["geometric mean", "", "", "", f"{geometric_mean(ratios):.2f}"])
    clock = "Times are the client's" if options.clock == "wall" else "Times are of all processors"
    text = "\n".join([
        report.stamp(f"SCALE={options.scale} make bench BENCH=orders", engine.version(), "bench/postgresql.conf"),
        f"Seed {options.seed}. {clock}, medians of {options.runs} in turns; no order should be over {BAR} times faster than the planner's own. Answers: "
        + ("all equal." if not wrong else "**different**: " + "; ".join(wrong)),
        "", report.table(["query", "other orders", "as planned ms", "fastest order ms", "times faster"], rows)])
    if options.no_report:
        print(text)
    else:
        report.write_section(f"orders sf{options.scale}", f"Join orders of TPC-H, scale factor {options.scale}", text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
