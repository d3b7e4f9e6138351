# SPDX-License-Identifier: Apache-2.0
"""What other extensions see of vectorised queries, and a server that has not loaded the library."""
from compaction import Background, start
from harness import Cluster, Refused, Skipped, check, scenario, until


@scenario
def statements_and_plans_are_seen(options, directory):
    """pg_stat_statements counts vectorised queries, their rows and buffers; auto_explain logs what ran where."""
    cluster = Cluster(directory / "primary", options.port)
    cluster.init("shared_preload_libraries = 'pg_stat_statements, auto_explain, pg_doris'\n"
                 "auto_explain.log_min_duration = 0\nauto_explain.log_analyze = on\nauto_explain.log_format = json\n", preload=False)
    if not any(cluster.bin.parent.rglob("pg_stat_statements.so")):
        raise Skipped("pg_stat_statements is not installed")
    cluster.start()
    options.clusters.append(cluster)
    with cluster.session() as session:
        session.query("CREATE EXTENSION pg_stat_statements")
        session.query("CREATE EXTENSION pg_doris")
        session.query("CREATE TABLE t USING doris AS SELECT g AS id, g % 10 AS k FROM generate_series(1, 100000) g")
        session.query("SELECT pg_stat_statements_reset()")
        for limit in (10, 20, 30):
            session.query(f"SELECT k, count(*) FROM t WHERE id > {limit} GROUP BY k ORDER BY k")
        seen = session.query("SELECT calls, rows, shared_blks_hit + shared_blks_read > 0, total_exec_time > 0 FROM pg_stat_statements "
                             "WHERE query LIKE 'SELECT k, count(*) FROM t WHERE id > $1%'")
        check(seen == [["3", "30", "t", "t"]], f"pg_stat_statements shows {seen}")
    log = cluster.log
    until(lambda: log.read_text(errors="replace").count('"Custom Plan Provider": "DorisVectorized"') >= 3,
          "auto_explain's plans")
    check('"Engine"' in log.read_text(errors="replace"), "auto_explain tells nothing of the engine")


@scenario
def a_library_that_is_not_preloaded_says_so(options, directory):
    """Columnar tables on a server that has not loaded the library: one error with the way out, and nothing half done."""
    cluster = Cluster(directory / "primary", options.port)
    cluster.init(preload=False).start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    for statement in ("CREATE TABLE t (a int) USING doris", "CREATE TABLE t USING doris AS SELECT 1 AS a"):
        try:
            cluster.query(statement)
        except Refused as error:
            check(error.state == "55000" and "shared_preload_libraries" in str(error), f"the error does not tell the way out: {error}")
        else:
            check(False, f"{statement} was done without the library")
    check(cluster.value("SELECT count(*) FROM pg_class WHERE relname = 't'") == "0", "a table was left behind")
    cluster.query("DROP EXTENSION pg_doris")
    # A server that was set up right and is started without the library later.
    cluster.stop()
    cluster.configure("shared_preload_libraries = 'pg_doris'")
    cluster.start()
    cluster.query("CREATE EXTENSION pg_doris")
    cluster.query("CREATE TABLE t USING doris AS SELECT g AS id FROM generate_series(1, 10000) g")
    cluster.stop()
    cluster.configure("shared_preload_libraries = ''")
    cluster.start()
    for statement in ("SELECT count(*) FROM t", "INSERT INTO t VALUES (1)", "CREATE TABLE u (a int) USING doris"):
        try:
            found = cluster.query(statement)
        except Refused as error:
            check("shared_preload_libraries" in str(error), f"the error does not name the setting: {error}")
        else:
            check(False, f"{statement} gave {found} without the library")
    cluster.stop()
    cluster.configure("shared_preload_libraries = 'pg_doris'")
    cluster.start()
    check(cluster.value("SELECT count(*) FROM t") == "10000", "rows were lost")


GATE = """CREATE FUNCTION gate(x int, at int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$ BEGIN IF x = at THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN x; END $$"""
# A command that stops at row 35,000 of 50,000, 20,000 of them in the row store; the view of its progress, and what that must say meanwhile.
PROGRESS = [
    ("CREATE INDEX t_gate ON t (gate(id, 35000))", "create_index", "command = 'CREATE INDEX' AND phase LIKE 'building index%' AND blocks_total > 0 AND blocks_done > 0 AND blocks_done <= blocks_total"),
    ("CREATE INDEX CONCURRENTLY t_gate ON t (gate(id, 35000))", "create_index", "command = 'CREATE INDEX CONCURRENTLY' AND blocks_total > 0 AND blocks_done BETWEEN 1 AND blocks_total"),
    ("COPY c (id) FROM PROGRAM 'seq 1 50000'", "copy", "command = 'COPY FROM' AND type = 'PROGRAM' AND bytes_processed > 0 AND tuples_processed BETWEEN 1 AND 50000"),
    ("COPY (SELECT gate(id, 35000) FROM t) TO PROGRAM 'cat > /dev/null'", "copy", "command = 'COPY TO' AND type = 'PROGRAM' AND tuples_processed < 50000"),
]


def waiter(cluster):
    """Process, and type and name of the wait, of the session that a gate or a named point holds."""
    return cluster.query("SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'")


@scenario
def commands_that_are_held_show_what_they_wait_for_and_how_far_they_are(options, directory):
    cluster = start(directory, options, "doris.compaction = off\nautovacuum = off")
    cluster.query(GATE)
    cluster.query("CREATE TABLE t (id int, v int) USING doris; SET doris.rows_to_heap = 100000; INSERT INTO t SELECT g, g % 97 FROM generate_series(1, 20000) g")
    cluster.query("SET doris.rows_to_heap = 0; INSERT INTO t SELECT g, g % 97 FROM generate_series(20001, 50000) g")
    cluster.query("CREATE TABLE c (id int, gated int GENERATED ALWAYS AS (gate(id, 35000)) STORED) USING doris")
    for statement, view, wanted in PROGRESS:
        with cluster.session() as holder:
            holder.query("SELECT pg_advisory_lock(4711)")
            command = Background(cluster, statement)
            until(lambda: waiter(cluster) or command.error, f"{statement} at its gate")
            check(not command.error, f"{statement}: {command.error}")
            rows = cluster.query(f"SELECT ({wanted}), p FROM pg_stat_progress_{view} p WHERE pid = {waiter(cluster)[0][0]}")
            holder.query("SELECT pg_advisory_unlock(4711)")
        error = command.join()
        check(error is None, f"{statement}: {error}")
        check([row[0] for row in rows] == ["t"], f"{statement} shows {rows}")
        check(cluster.query(f"SELECT * FROM pg_stat_progress_{view}") == [], f"{statement} is over, and shows progress")
        cluster.query("DROP INDEX IF EXISTS t_gate")
    check(cluster.query("SELECT count(*), sum(id), sum(gated) FROM c") == [["50000", "1250025000", "1250025000"]], "COPY lost rows")


@scenario
def a_paused_compaction_shows_what_it_waits_for_and_how_far_it_is(options, directory):
    cluster = start(directory, options, "doris.compaction = off\nautovacuum = off")
    cluster.query("CREATE TABLE t (id int PRIMARY KEY, v int) USING doris")

    def fill():
        for first in (1, 20001):
            cluster.query(f"SET doris.rows_to_heap = {100000 if first == 1 else 0}; INSERT INTO t SELECT g, g % 97 FROM generate_series({first}, {first + 19999}) g")

    # Rows of the row store, then two segments.
    stages = [("written", "flush"), ("indexed", "flush"), ("written", "full"), ("indexed", "full"), ("published", "full")]
    for point, kind in stages:
        cluster.query("TRUNCATE t")
        fill()
        if kind == "full":
            # Two segments are left, and nothing in the row store.
            cluster.query("CALL doris.compact('t')")
            cluster.query("SET doris.rows_to_heap = 0; INSERT INTO t SELECT g, 0 FROM generate_series(50001, 70000) g")
        with cluster.session() as holder:
            holder.query("SELECT pg_advisory_lock(4711)")
            compaction = Background(cluster, f"SET doris.debug_pause = '{point}'", "CALL doris.compact('t')")
            until(lambda: waiter(cluster), f"a compaction at {point}")
            seen = cluster.query("SELECT \"table\", state, duration >= '0', input_rows > 0 OR input_segments >= 0, error FROM doris.compactions WHERE state = 'running'")
            check(seen == [["t", "running", "t", "t", ""]], f"at {point} of {kind}, doris.compactions shows {seen}")
            check(cluster.value("SELECT kind FROM doris.compactions WHERE state = 'running'") in (kind, "base", "cumulative"), "another kind")
            holder.query("SELECT pg_advisory_unlock(4711)")
        check(compaction.join() is None, f"the compaction at {point} failed")
        check(cluster.query("SELECT count(*) FROM doris.compactions WHERE state = 'running'") == [["0"]], "a compaction that is over is shown as running")
        last = cluster.query("SELECT state, input_rows > 0, output_rows > 0, output_segments, output_bytes > 0 FROM doris.compactions ORDER BY started DESC LIMIT 1")
        check(last == [["done", "t", "t", "1", "t"]], f"the last compaction is shown as {last}")
    extension_waits(cluster)


def extension_waits(cluster):
    """Waits of our own: by name from PostgreSQL 17 on, as `Extension` before."""
    named = int(cluster.value("SHOW server_version_num")) >= 170000

    def waits(name):
        return cluster.value(f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND wait_event = '{name if named else 'Extension'}' AND state = 'active'") != "0"

    # A merge whose rows an open transaction has marked waits for a second, then gives up.
    cluster.query("CREATE TABLE m (id int PRIMARY KEY, v int) USING doris")
    for first in (1, 20001):
        cluster.query(f"SET doris.rows_to_heap = 0; INSERT INTO m SELECT g, 0 FROM generate_series({first}, {first + 19999}) g")
    with cluster.session() as holder, cluster.session() as writer:
        holder.query("SELECT pg_advisory_lock(4711)")
        compaction = Background(cluster, "SET doris.debug_pause = 'indexed'", "CALL doris.compact('m')")
        until(lambda: waiter(cluster), "a compaction that is paused")
        writer.query("BEGIN; UPDATE m SET v = 1 WHERE id = 5")
        holder.query("SELECT pg_advisory_unlock(4711)")
        until(lambda: waits("DorisMarks"), "a compaction that waits for marks", 5)
        writer.query("COMMIT")
        check(compaction.join() is None, "the compaction failed")
    check(cluster.query("SELECT count(*), sum(v) FROM m") == [["40000", "1"]], "the table differs")
    # A load that waits for compaction, which does not come.
    cluster.query("CREATE TABLE l (id int) USING doris")
    cluster.query("ALTER SYSTEM SET doris.max_versions = 2; ")
    for setting in ("doris.compaction = on", "doris.max_versions_wait = '3s'", "doris.compaction_naptime = 3600", "doris.compaction_min_segments = 1000"):
        cluster.query(f"ALTER SYSTEM SET {setting}")
    cluster.query("SELECT pg_reload_conf()")
    until(lambda: cluster.value("SHOW doris.max_versions") == "2", "the new settings")
    for _ in range(2):
        cluster.query("SET doris.rows_to_heap = 0; INSERT INTO l SELECT generate_series(1, 5000)")
    load = Background(cluster, "SET doris.rows_to_heap = 0", "INSERT INTO l SELECT generate_series(1, 5000)")
    until(lambda: waits("DorisSegments"), "a load that waits for room", 5)
    error = load.join()
    check(error is not None and "E-235" in str(error), f"the load ended with {error}")
