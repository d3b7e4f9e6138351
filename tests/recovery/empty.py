# SPDX-License-Identifier: Apache-2.0
"""What many empty tables cost: nothing in the background, and no more than heap tables elsewhere."""
import os
import time

from compaction import start
from harness import check, run, scenario

TABLES = 10_000
# As many heap tables are enough to compare with.
HEAPS = 2_500
MAKE = """DO $$ BEGIN FOR i IN {first} .. {last} LOOP
  EXECUTE format('CREATE TABLE {schema}.t%s (id int, note text) USING {am}', i); END LOOP; END $$"""


def make(cluster, schema, am, tables):
    begun = time.monotonic()
    with cluster.session() as session:
        session.query(f"CREATE SCHEMA {schema}")
        for first in range(1, tables + 1, 500):
            session.query(MAKE.format(schema=schema, am=am, first=first, last=first + 499))
    return time.monotonic() - begun


def background(cluster):
    """Processor seconds and private kB of the processes that no client has, by what they are."""
    found = {}
    for pid, kind in cluster.query("SELECT pid, backend_type FROM pg_stat_activity WHERE backend_type ~ 'doris|autovacuum'"):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                ticks = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
            with open(f"/proc/{pid}/statm", encoding="utf-8") as file:
                pages = file.read().split()
        except FileNotFoundError:
            continue
        seconds, kb = found.get(kind, (0, 0))
        found[kind] = (seconds + ticks / os.sysconf("SC_CLK_TCK"), kb + (int(pages[1]) - int(pages[2])) * 4)
    return found


def idle(cluster, seconds):
    """What the background takes in some time."""
    before = background(cluster)
    time.sleep(seconds)
    after = background(cluster)
    return {kind: round(after[kind][0] - before.get(kind, (0, 0))[0], 2) for kind in after}, sum(kb for _, kb in after.values())


def dump(cluster, schema, tables):
    begun = time.monotonic()
    text = run(cluster.bin / "pg_dump", "-h", cluster.socket, "-p", cluster.port, "-U", "postgres", "-n", schema, "-s", "postgres")
    check(text.count("CREATE TABLE") == tables, "a dump lacks tables")
    return time.monotonic() - begun


@scenario
def ten_thousand_empty_tables_cost_nothing(options, directory):
    cluster = start(directory, options, "max_locks_per_transaction = 400\ndoris.compaction_naptime = 1\nautovacuum_naptime = 1s")
    sizes = {"heap": HEAPS, options.am: TABLES}
    made = {am: make(cluster, f"in_{am}", am, tables) for am, tables in sizes.items()}
    print("# made in " + ", ".join(f"{seconds:.1f} s: {sizes[am]} {am} tables" for am, seconds in made.items()), flush=True)
    # Statistics and caches of the time before are gone, as is autovacuum's look at new tables.
    cluster.stop()
    cluster.start()
    cluster.query("SELECT 1")
    time.sleep(2)
    took, kb = idle(cluster, 6)
    ours = sum(seconds for kind, seconds in took.items() if "doris" in kind)
    print(f"# in 6 s: {took}, {kb} kB", flush=True)
    check(ours <= 0.1, f"background processes took {ours} s of processor time")
    dumped = {am: dump(cluster, f"in_{am}", tables) for am, tables in sizes.items()}
    print("# dumped in " + ", ".join(f"{seconds:.1f} s: {sizes[am]} {am} tables" for am, seconds in dumped.items()), flush=True)
    check(dumped[options.am] <= 1.5 * TABLES / HEAPS * dumped["heap"] + 1, f"a dump takes longer: {dumped}")
    with cluster.session() as session:
        session.query("SET doris.compaction = on")
        session.query(f"INSERT INTO in_{options.am}.t5000 SELECT g, 'x' FROM generate_series(1, 200000) g")
        check(session.value(f"SELECT count(*) FROM in_{options.am}.t5000") == "200000", "rows are missing")
        begun = time.monotonic()
        session.query("SELECT count(*) FROM doris.compactions")
        check(time.monotonic() - begun < 1, "a view over compactions is slow")
