# SPDX-License-Identifier: Apache-2.0
"""What ran of a query, as EXPLAIN tells it: which operators, natively or not, what was spilled, and why the rest was not."""
import collections
import re

# Each of them must have run natively somewhere in `matrix`.
OPERATORS = [
    "Scan", "Scan with a filter", "Filter", "Project", "Hash Join Inner", "Hash Join Left", "Hash Join Right", "Hash Join Full",
    "Hash Join Semi", "Hash Join Anti", "Hash Join AntiNotIn", "Hash Join BuildSemi", "Hash Join BuildAnti", "Hash Join with a condition",
    "Nested Loop Inner", "Nested Loop with a condition", "Aggregate of all rows", "Aggregate by keys", "Aggregate in grouping sets", "Aggregate of distinct values",
    "Aggregate with a filter", "Sort", "Top", "Limit", "Append", "Intersect", "Except", "Distinct", "Window",
]
# Those that go to temporary files when memory is short.
SPILLING = ["Aggregate", "Hash Join", "Sort", "Distinct", "Window", "Intersect", "Except"]
Ran = collections.namedtuple("Ran", "part whole native operators spilled reasons lines")


def operators_of(lines):
    """The operators of the `Engine` lines of a plan, by the names of OPERATORS."""
    found, last = set(), ""
    for line in lines:
        line = re.sub(r" \((rows|cpu)=.*", "", line.strip())
        if line.startswith(("Sort Key", "Group Key", "Probe Key", "Build Key", "Partition Key", "Order Key", "Output:", "Argument:", "Fold:")):
            continue
        if line.startswith("Condition:"):
            found.add("Hash Join with a condition" if last == "Hash Join" else "Nested Loop with a condition")
        elif line.startswith("Distinct Argument:"):
            found.add("Aggregate of distinct values")
        elif line.startswith("Argument Filter:"):
            found.add("Aggregate with a filter")
        elif line.startswith("Filter: ") and last == "Scan":
            found.add("Scan with a filter")
        elif match := re.match(r"(Hash Join|Nested Loop) (\w+)", line):
            last = match[1]
            found.add(f"{last} {match[2]}")
        elif match := re.match(r"Aggregate: (\d+) keys( in)?", line):
            last = "Aggregate"
            found.add("Aggregate in grouping sets" if match[2] else "Aggregate of all rows" if match[1] == "0" else "Aggregate by keys")
        elif match := re.match(r"(Scan|Filter|Project|Window|Sort|Top|Limit|Distinct|Append|Intersect|Except|Values)\b", line):
            # The condition of a filter follows it, in a line that looks alike.
            last = match[1]
            found.add(last)
    return found


def spilled_of(lines):
    """The operators that wrote temporary files."""
    matches = (re.match(r" *(Hash Join|Aggregate|Sort|Distinct|Window|Intersect|Except)\b.*spilled=", line) for line in lines)
    return {match[1] for match in matches if match}


def by_postgres(plan):
    """Whether PostgreSQL evaluates anything of a custom scan."""
    return any("[postgres]" in line or "PostgreSQL: " in line or "Evaluated by PostgreSQL" in line for line in plan)


def read_plan(text):
    """What the lines that EXPLAIN (ANALYZE, VERBOSE) printed say, debug messages among them."""
    plan = [line for line in text if "not vectorised: " not in line and "DEBUG" not in line]
    reasons = [line.split("not vectorised: ")[1] for line in text if "not vectorised: " in line]
    engine = [line.split("Engine: ", 1)[1] for line in plan if "Engine: " in line]
    gone = any("PostgreSQL's plan ran instead" in line for line in plan)
    part = any("DorisVectorized" in line for line in plan) and not gone
    whole = part and "DorisVectorized" in plan[0]
    native = whole and not by_postgres(plan) and not any("Scan subplan" in line for line in plan)
    if gone:
        reasons.append("PostgreSQL's plan ran instead")
    return Ran(part, whole, native, operators_of(engine), spilled_of(engine), reasons, plan)


def explained(queries, psql, settings=""):
    """What ran of each query. Queries that fail are explained without being run."""
    text = f"SET client_min_messages = debug1; SET statement_timeout = '60s'; {settings}"
    for i, query in enumerate(queries):
        text += f"\n\\echo ==={i}\nEXPLAIN (ANALYZE, VERBOSE, COSTS OFF) {query};\n\\if :ERROR\n\\echo ==={i}\nEXPLAIN (VERBOSE, COSTS OFF) {query};\n\\endif"
    plans = {}
    for part in ("\n" + psql(text)).split("\n===")[1:]:
        number, *lines = part.splitlines()
        plans[int(number)] = lines
    return [read_plan(plans.get(i) or [""]) for i in range(len(queries))]
