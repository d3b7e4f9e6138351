# SPDX-License-Identifier: Apache-2.0
"""What other extensions see of vectorised queries, and a server that has not loaded the library."""
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
