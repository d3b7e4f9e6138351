# SPDX-License-Identifier: Apache-2.0
"""A system without memory, as scenarios of the recovery suite: sessions whose address space has a bound (`ulimit -v`) below
what doris.work_mem and doris.load_memory would let them have. What they cannot do fails, or spills; the server goes on.

The bounds are swept, so that allocations fail at many different places.
"""
import re
from pathlib import Path

from harness import Cluster, Refused, check, run, scenario, server_owned, until

# A statement that finds no memory, spills more than the test lets it, makes more than a value may hold, or takes longer.
EXPECTED = ("53200", "53400", "54000", "57014")
ROWS = 300_000

QUERIES = {
    "a join with many partners": "SELECT count(*), count(DISTINCT a.s || b.s) FROM small a JOIN small b ON a.id % 10 = b.id % 10",
    "a sort of wide texts": "SELECT count(*), max(s), max(id) FROM (SELECT s, id FROM wide ORDER BY s, id OFFSET 0) x",
    "a sort of numbers with wide texts beside them": "SELECT count(*), max(s) FROM (SELECT s, id FROM wide ORDER BY id % 1000, id DESC OFFSET 0) x",
    "a sort of many rows": "SELECT count(*), max(v) FROM (SELECT w.v, n.id FROM wide w, few n ORDER BY w.v, n.id OFFSET 0) x",
}
# These take a run with more rounds.
MORE_QUERIES = {
    "a window over one partition": "SELECT max(length(l)), max(total) FROM (SELECT lag(s, 7) OVER (ORDER BY id) AS l, sum(v) OVER (ORDER BY id) AS total FROM wide) x",
    "a window over some partitions": "SELECT max(r), max(length(s)) FROM (SELECT s, rank() OVER (PARTITION BY id % 3 ORDER BY v) AS r FROM wide) x",
    "texts and arrays collected": "SELECT length(string_agg(s, ',' ORDER BY id)), cardinality(array_agg(s)) FROM wide",
    "a join of wide rows": "SELECT count(*), max(length(a.s || b.s)) FROM wide a JOIN wide b ON a.id = b.other",
    "groups by wide texts": "SELECT count(*), max(n) FROM (SELECT s, count(*) AS n, max(id) FROM wide GROUP BY s) x",
    "different texts": "SELECT count(*) FROM (SELECT s FROM wide EXCEPT SELECT s || 'x' FROM wide) x",
    "long texts made of short ones": "SELECT sum(length(replace(s, 'a', repeat('b', 300)))) FROM wide",
    "long texts that are sorted": "SELECT max(length(t)) FROM (SELECT rpad(s, 4000, s) AS t FROM wide WHERE id <= 40000 ORDER BY 1 OFFSET 0) x",
    "blocks of large values": "SELECT count(*), max(length(s)), min(s) < max(s) FROM large",
}


def start(directory, options):
    cluster = Cluster(directory / "primary", options.port)
    cluster.init("\n".join([
        "doris.work_mem = '2GB'", "doris.load_memory = '1GB'", "hash_mem_multiplier = 1000", "temp_file_limit = '256MB'",
        "doris.compaction = off", "jit = off", *options.set])).start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    cluster.query("CREATE TABLE small_heap USING heap AS SELECT g AS id, md5(g::text) AS s FROM generate_series(1, 15001) g")
    cluster.query(f"CREATE TABLE small USING {options.am} AS SELECT * FROM small_heap")
    cluster.query(f"CREATE TABLE wide USING {options.am} AS SELECT g AS id, (g * 7919::bigint) % 100003 AS v, "
                  f"(g * 31) % {ROWS} AS other, repeat(md5(g::text), 10) AS s FROM generate_series(1, {ROWS}) g")
    cluster.query(f"CREATE TABLE few USING {options.am} AS SELECT generate_series(1, 20) AS id")
    cluster.query(f"CREATE TABLE large USING {options.am} AS SELECT g AS id, repeat(md5(g::text), 10000) AS s "
                  "FROM generate_series(1, 800) g")
    cluster.query("ANALYZE")
    return cluster


def attempt(cluster, more_kb, statement, before="", seconds=10):
    """What comes of a statement where the process may have so much more address space than at its start."""
    with cluster.session() as session:
        session.query(f"SET statement_timeout = '{seconds}s'; SET doris.threads = 2; {before}")
        pid = int(session.value("SELECT pg_backend_pid()"))
        has_kb = int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
        run("prlimit", "--pid", pid, f"--as={(has_kb + more_kb) * 1024}")
        try:
            session.query(statement)
            outcome = "answered"
        except Refused as refused:
            outcome = refused.state
            check(outcome in EXPECTED, f"{statement}: {refused}")
        check(session.value("SELECT count(*) FROM small") == "15001", "a session that lacked memory is of no more use")
    return outcome


def goes_on(cluster, server):
    check(cluster.pid() == server and not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")


def bounds(options, first_kb, last_kb):
    """Bounds from one to the other; more of them in a longer run."""
    steps = max(2, 3 * options.rounds)
    return [int(first_kb * (last_kb / first_kb) ** (step / (steps - 1))) for step in range(steps)]


@scenario
def memory_that_the_system_has_not_fails_a_query_and_no_more(options, directory):
    cluster = start(directory, options)
    server = cluster.pid()
    queries = QUERIES | (MORE_QUERIES if options.rounds > 2 else {})
    for what, query in queries.items():
        outcomes = [attempt(cluster, more_kb, query) for more_kb in bounds(options, 90_000, 900_000)]
        print(f"# {what}: {' '.join(outcomes)}")
        goes_on(cluster, server)
    cluster.stop()


@scenario
def memory_that_the_system_has_not_fails_a_load_and_no_more(options, directory):
    cluster = start(directory, options)
    server = cluster.pid()
    files = server_owned(directory / "files")
    for name, rows in (("large", "SELECT id, s FROM large"), ("wide", "SELECT id, s FROM wide")):
        cluster.query(f"COPY ({rows}) TO '{files / name}'")
    cluster.query(f"CREATE TABLE target (id int, s text) USING {options.am}")
    keyed = "WITH (unique_key = 'id')" if options.am == "doris" else ""
    cluster.query(f"CREATE TABLE keyed (id int PRIMARY KEY, s text) USING {options.am} {keyed}")
    loads = {
        "COPY of large rows": f"COPY target FROM '{files / 'large'}'",
        "COPY of many rows": f"COPY target FROM '{files / 'wide'}'",
        "COPY into a table with a key": f"COPY keyed FROM '{files / 'wide'}'",
        "INSERT of a query's rows": "INSERT INTO target SELECT id, s || s FROM wide ORDER BY s",
    }
    if options.rounds > 2:
        loads["rows that are updated"] = "UPDATE target SET s = s || 'x'"
        loads["rows that are compacted"] = "CALL doris.compact('target')"
    for what, load in loads.items():
        cluster.query("TRUNCATE target; TRUNCATE keyed")
        if what.startswith("rows"):
            cluster.query("SET doris.enable_bulk_load = off; INSERT INTO target SELECT id, s FROM wide WHERE id <= 100000")
        before = cluster.value("SELECT count(*) FROM target")
        outcomes = []
        for more_kb in bounds(options, 80_000, 900_000):
            outcomes.append(attempt(cluster, more_kb, load, seconds=30))
            rows = cluster.value("SELECT count(*) FROM target")
            check(outcomes[-1] == "answered" or rows == before, f"{what}: {rows} rows, where {before} were before")
            before = rows
            cluster.query("DELETE FROM keyed")
        print(f"# {what}: {' '.join(outcomes)}")
        goes_on(cluster, server)
    cluster.stop()


@scenario
def memory_of_a_session_can_be_written_to_the_log(options, directory):
    cluster = start(directory, options)
    with cluster.session() as session:
        pid = session.value("SELECT pg_backend_pid()")
        session.query("SET cursor_tuple_fraction = 1; BEGIN")
        session.query("DECLARE c CURSOR FOR SELECT id, count(*), max(v) FROM wide GROUP BY id; MOVE 1 IN c")
        cluster.query(f"SELECT pg_log_backend_memory_contexts({pid})")
        figures = r"pg_doris queries: (\d+) total in \d+ blocks; \d+ free \(\d+ chunks\); (\d+) used"
        until(lambda: re.search("Grand total", cluster.log.read_text()), "the session's answer")
        found = re.search(figures, cluster.log.read_text())
        check(options.am != "doris" or (found and int(found[2]) > 4 << 20), f"other figures: {found}")
        check(session.value("FETCH 1 FROM c") != "", "the cursor's next row")
    cluster.stop()
