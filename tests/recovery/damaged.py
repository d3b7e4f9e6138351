# SPDX-License-Identifier: Apache-2.0
"""Damage to single segments: it is told, and what is not damaged is read."""
from harness import Cluster, Refused, check, scenario

ROWS = 20_000
CHUNK_BYTES = 8120
BY_SCAN = "SET enable_indexscan = off; SET enable_bitmapscan = off"
BY_INDEX = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET doris.enable_vectorization = off"


def toast_of(cluster):
    return cluster.value("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 't'::regclass")


def segments(cluster):
    """First row, and the numbers of the chunks, of each segment (extension/src/store/entry.rs)."""
    found = []
    for first_row, entry in cluster.query(f"SELECT chunk_seq::bigint * 1024, encode(chunk_data, 'hex') FROM {toast_of(cluster)} "
                                          "WHERE chunk_id = 1 ORDER BY chunk_seq"):
        first, size = (int.from_bytes(bytes.fromhex(entry)[at:at + 8], "little") for at in (24, 32))
        found.append((first_row, range(first, first + -(-size // CHUNK_BYTES))))
    return found


def damage(cluster, chunk):
    """Overwrites the last bytes of a chunk of the column store; returns how many tuples its page has."""
    toast = toast_of(cluster)
    block, item = (int(word) for word in cluster.value(
        f"SELECT ctid FROM {toast} WHERE chunk_id = 1024 AND chunk_seq = {chunk}").strip("()").split(","))
    tuples = int(cluster.value(f"SELECT count(*) FROM {toast} WHERE ctid >= '({block},0)' AND ctid < '({block + 1},0)'"))
    path = cluster.data / cluster.value(f"SELECT pg_relation_filepath('{toast}')")
    cluster.stop()
    with open(path, "r+b") as file:
        file.seek(block * 8192 + 24 + 4 * (item - 1))
        pointer = int.from_bytes(file.read(4), "little")
        file.seek(block * 8192 + (pointer & 0x7FFF) + (pointer >> 17) - 48)
        file.write(bytes([0xA5]) * 40)
    cluster.start()
    return tuples


@scenario
def damage_to_one_segment_is_told_and_others_are_read(options, directory):
    for checksums in (True, False):
        cluster = Cluster(directory / f"checksums_{checksums}", options.port).init("\n".join(options.set), checksums=checksums)
        cluster.configure("doris.compaction = off\nautovacuum = off")
        cluster.start()
        options.clusters.append(cluster)
        cluster.query("CREATE EXTENSION pg_doris")
        cluster.query("CREATE TABLE t (id int, v int, note text) USING doris; CREATE INDEX ON t (id); CREATE TABLE sound (a int) USING doris; INSERT INTO sound VALUES (1)")
        with cluster.session() as session:
            session.query("SET doris.rows_to_heap = 0")
            for part in range(4):
                session.query(f"INSERT INTO t SELECT {part * ROWS} + g, g, md5(g::text) FROM generate_series(1, {ROWS}) g")
        known = segments(cluster)
        check(len(known) == 4 and all(len(chunks) > 8 for _, chunks in known), f"other segments than were expected: {known}")
        check(cluster.query("SELECT * FROM doris.verify('t')") == [], "a new table is not sound")
        parts = [cluster.query(f"SELECT count(*), sum(v), min(note), max(note) FROM t WHERE id BETWEEN {part * ROWS + 1} AND {part * ROWS + ROWS}")
                 for part in range(4)]
        # In the data of the second segment; then, where the page's other tuples can be read, the footer of the third. Each
        # scan asks footers whether it needs the segment; look-ups by an index do not.
        damaged, told = set(), set()
        for number, chunk in ((1, known[1][1][len(known[1][1]) // 2]), (2, known[2][1][-1])):
            if checksums and number == 2:
                continue
            check(damage(cluster, chunk) == 1 or not checksums, "a page of data has other tuples")
            damaged.add(number)
            told.add(known[number][0])
            problems = cluster.query("SELECT segment, problem FROM doris.verify('t')")
            check({segment for segment, _ in problems} == told, f"doris.verify finds {problems}")
            for part in range(4):
                question = f"SELECT count(*), sum(v), min(note), max(note) FROM t WHERE id BETWEEN {part * ROWS + 1} AND {part * ROWS + ROWS}"
                for by_index in (False, True):
                    unreadable = part in damaged or number == 2 and not by_index
                    try:
                        with cluster.session() as session:
                            session.query(BY_INDEX if by_index else BY_SCAN)
                            answer = session.query(question)
                        check(answer == parts[part] and not unreadable, f"part {part} gave another answer")
                    except Refused as refused:
                        check(unreadable and refused.state == "XX001", f"part {part}: {refused}")
        # The views over all tables show what can be seen.
        check(cluster.query('SELECT segments, segment_rows FROM doris.tables WHERE "table" = \'t\'::regclass') == [["4", str(4 * ROWS)]],
              "doris.tables does not show a damaged table")
        check(cluster.value("SELECT count(*) FROM doris.tables") == "2", "doris.tables does not show a sound table beside a damaged one")
        columns = cluster.query('SELECT "column", bytes IS NULL FROM doris.columns WHERE "table" = \'t\'::regclass ORDER BY 1')
        check([name for name, _ in columns] == ["id", "note", "v"], f"doris.columns shows {columns}")
        # A footer has all columns.
        check(checksums or all(unknown == "t" for _, unknown in columns), f"doris.columns shows {columns}")
        # What is left can be taken elsewhere.
        cluster.query("CREATE TABLE rescued (LIKE t) USING doris")
        with cluster.session() as session:
            session.query(BY_INDEX)
            for part in (0, 3):
                session.query(f"INSERT INTO rescued SELECT * FROM t WHERE id BETWEEN {part * ROWS + 1} AND {part * ROWS + ROWS}")
        check(cluster.value("SELECT count(*) FROM rescued") == str(2 * ROWS), "rows of sound segments are not read")
        check(not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")
        cluster.stop()
