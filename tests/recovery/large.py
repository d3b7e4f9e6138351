# SPDX-License-Identifier: Apache-2.0
"""Very large values: stored, compacted, read by the engine and by PostgreSQL's executor, changed, dumped. `--megabytes 30` makes
them as large as that (a minute).
"""
import os
import time

from compaction import start
from harness import check, run, scenario

MB = 1 << 20
# Text that no encoding makes small, from a seed, and bytes.
TEXT = "(SELECT string_agg(md5({seed} || g::text), '' ORDER BY g) FROM generate_series(1, {rows}) g)"
DIGEST = "SELECT id, length(t), md5(t), octet_length(b), md5(b), note FROM {table} ORDER BY id"


@scenario
def values_of_many_megabytes_are_kept_and_read(options, directory):
    size_mb, begun = options.megabytes, time.monotonic()
    cluster = start(directory, options, "doris.compaction = off\nautovacuum = off")
    columns = "id int PRIMARY KEY, t text, b bytea, note text"
    cluster.query(f"CREATE TABLE v ({columns}) USING {options.am}; CREATE TABLE h ({columns}) USING heap; ALTER TABLE h ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL")
    text = TEXT.format(seed="'a'", rows=size_mb * MB // 32)
    with cluster.session() as session:
        # An index scan reads a row block anew for each row, if it is larger than what is kept of blocks.
        session.query("SET enable_indexscan = off; SET enable_bitmapscan = off")
        session.query(f"INSERT INTO h SELECT 1, {text}, NULL, 'text'", timeout=600)
        session.query("INSERT INTO h SELECT 2, 'short', decode(t, 'hex') || decode(t, 'hex'), 'bytes' FROM h WHERE id = 1", timeout=600)
        session.query(f"INSERT INTO h SELECT 3, repeat('ü', {size_mb * MB // 2}), NULL, 'of one letter'")
        session.query("INSERT INTO h SELECT g, 'small ' || g, decode(md5(g::text), 'hex'), 'small' FROM generate_series(4, 3000) g")
        wanted = session.query(DIGEST.format(table="h"), timeout=600)

        def judge(what):
            print(f"# {time.monotonic() - begun:.0f} s until after {what}", flush=True)
            for vectorized in ("on", "off"):
                session.query(f"SET doris.enable_vectorization = {vectorized}")
                check(session.query(DIGEST.format(table="v"), timeout=600) == wanted, f"{what}: values differ with the engine {vectorized}")
                by_key = session.query("SET enable_seqscan = off; SET enable_indexscan = on; SELECT length(t), octet_length(b) FROM v WHERE id IN (1, 2, 3) ORDER BY id; RESET enable_seqscan; SET enable_indexscan = off", timeout=600)
                check([row[0] for row in by_key] == [row[1] for row in wanted[:3]], f"{what}: values by key differ")
                found = session.value("SELECT count(*) FROM v WHERE t LIKE 'small%9' OR substr(t, 10000000, 3) = 'xyz' OR t = 'short'")
                check(found == session.value("SELECT count(*) FROM h WHERE t LIKE 'small%9' OR substr(t, 10000000, 3) = 'xyz' OR t = 'short'"), f"{what}: conditions differ")
            check(not session.query("SELECT * FROM doris.verify('v')", timeout=600), f"{what}: verify finds problems")

        session.query("SET doris.rows_to_heap = 0; INSERT INTO v SELECT * FROM h", timeout=600)
        judge("a bulk load")
        session.query("TRUNCATE v; SET doris.rows_to_heap = 100000; INSERT INTO v SELECT * FROM h", timeout=600)
        judge("single rows")
        session.query("CALL doris.compact('v')", timeout=600)
        check(session.value("SELECT sum(rows) FROM doris.segments_of('v')") == "3000", "compaction left rows behind")
        judge("compaction")
        for table in ("v", "h"):
            session.query(f"UPDATE {table} SET note = 'changed' WHERE id IN (1, 3); UPDATE {table} SET t = t || 'end' WHERE id IN (1, 5)", timeout=600)
        wanted = session.query(DIGEST.format(table="h"), timeout=600)
        session.query("CALL doris.compact('v')", timeout=600)
        session.query("VACUUM v", timeout=600)
        judge("changes and another compaction")
        # Sorted, grouped and joined, which must carry them, in less memory than one of them takes.
        session.query("SET doris.enable_vectorization = on; SET doris.work_mem = '16MB'")
        queries = ["SELECT md5(string_agg(md5(t), ',' ORDER BY id)) FROM (SELECT * FROM {0} ORDER BY t COLLATE \"C\", id) x",
                   "SELECT count(*), count(DISTINCT t), max(length(t)) FROM {0}", "SELECT count(*), sum(length(a.t)) FROM {0} a JOIN {0} b ON a.t = b.t"]
        for query in queries:
            check(session.query(query.format("v"), timeout=600) == session.query(query.format("h"), timeout=600), f"differs: {query}")
    copied(cluster, directory, wanted)


def copied(cluster, directory, wanted):
    """COPY in binary, and a dump, which PostgreSQL can make of values up to a gigabyte as text: bytes take twice their size there."""
    file = directory / "v.copy"
    with cluster.session() as session:
        session.query(f"COPY v TO '{file}' (FORMAT binary)", timeout=600)
        session.query(f"CREATE TABLE w (LIKE v) USING doris; COPY w FROM '{file}' (FORMAT binary)", timeout=600)
        check(session.query(DIGEST.format(table="w"), timeout=600) == wanted, "a binary copy differs")
        session.query("DROP TABLE w")
    os.unlink(file)
    connection = ["-h", cluster.socket, "-p", cluster.port, "-U", "postgres"]
    dump = directory / "dump"
    run(cluster.bin / "pg_dump", *connection, "-F", "custom", "-Z", "1", "-t", "v", "-f", dump, "postgres")
    cluster.query("DROP TABLE v")
    run(cluster.bin / "pg_restore", *connection, "--exit-on-error", "-d", "postgres", dump)
    with cluster.session() as session:
        check(session.query(DIGEST.format(table="v"), timeout=600) == wanted, "a restored dump differs")
