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
            # A page whose checksum is wrong is told of once more, as a page.
            pages = [problem for segment, problem in problems if not segment]
            check({segment for segment, _ in problems if segment} == told, f"doris.verify finds {problems}")
            check(len(pages) == (number if checksums else 0) and all("invalid page" in page for page in pages), f"doris.verify finds {problems}")
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
                        named = any(f'table "t": segment at row {first}' in str(refused) for first in told)
                        check(checksums or named, f"part {part}: {refused} does not say where")
                        column = number == 2 or 'column "' in str(refused)
                        check(checksums or column, f"part {part}: {refused} does not name the column")
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


def overwrite(cluster, places):
    """Overwrites bytes of relations: their names, blocks, and what to do to the page."""
    paths = [(cluster.data / cluster.value(f"SELECT pg_relation_filepath('{name}')"), block, change) for name, block, change in places]
    cluster.query("CHECKPOINT")
    cluster.stop()
    for path, block, change in paths:
        with open(path, "r+b") as file:
            file.seek(block * 8192)
            page = bytearray(file.read(8192))
            change(page)
            file.seek(block * 8192)
            file.write(page)
    cluster.start()


def tuple_at(page, item):
    pointer = int.from_bytes(page[24 + 4 * (item - 1):28 + 4 * (item - 1)], "little")
    return pointer & 0x7FFF


def in_tuple(item, at, value):
    def change(page):
        start = tuple_at(page, item) + at
        page[start:start + len(value)] = value
    return change


def in_page(at, value):
    def change(page):
        page[at:at + len(value)] = value
    return change


@scenario
def damage_to_directory_entries_is_told_and_crashes_nothing(options, directory):
    cluster = Cluster(directory / "entries", options.port).init("\n".join(options.set), checksums=False)
    cluster.configure("doris.compaction = off\nautovacuum = off")
    cluster.start()
    options.clusters.append(cluster)
    cluster.query("CREATE EXTENSION pg_doris")
    # What is changed of an entry: the number of its first row, its length (2^40 bytes), its state, its rows, its version,
    # the length of its tuple's value (a gigabyte, nothing).
    changes = [(8, bytes([0, 4])), (37, bytes([1])), (1, bytes([0])), (4, bytes([1, 0])), (0, bytes([9])),
               (-4, bytes([0xFC, 0xFF, 0xFF, 0xFF])), (-4, bytes(4))]
    for number, (at, value) in enumerate(changes):
        name = f"t{number}"
        cluster.query(f"CREATE TABLE {name} (id int, v int) USING doris; CREATE INDEX ON {name} (id); CREATE INDEX ON {name} (v)")
        with cluster.session() as session:
            session.query("SET doris.rows_to_heap = 0")
            for part in range(3):
                session.query(f"INSERT INTO {name} SELECT {part * ROWS} + g, g FROM generate_series(1, {ROWS}) g")
        toast = cluster.value(f"SELECT reltoastrelid::regclass FROM pg_class WHERE oid = '{name}'::regclass")
        firsts = [first for first, in cluster.query(f"SELECT chunk_seq::bigint * 1024 FROM {toast} WHERE chunk_id = 1 ORDER BY 1")]
        place = cluster.value(f"SELECT ctid FROM {toast} WHERE chunk_id = 1 AND chunk_seq = {int(firsts[1]) // 1024}")
        block, item = (int(word) for word in place.strip("()").split(","))
        # Header of the tuple, chunk_id, chunk_seq, length: then the entry.
        overwrite(cluster, [(toast, block, in_tuple(item, 36 + at, value))])
        problems = cluster.query(f"SELECT segment, problem FROM doris.verify('{name}')")
        # A tuple that is damaged itself is told by its place.
        of_tuple = at < 0 and len(problems) > 0
        check(of_tuple or [segment for segment, _ in problems] == [firsts[1]], f"byte {at}: doris.verify finds {problems}, not segment {firsts[1]}")
        # Who cannot tell what the entry says need not read what others say; but no rows are left out.
        for settings, part, readable in ((BY_SCAN, 0, False), (BY_INDEX, 1, False), (BY_INDEX, 0, True), (BY_INDEX, 2, True)):
            try:
                with cluster.session() as session:
                    session.query(settings)
                    answer = session.query(f"SELECT count(*) FROM {name} WHERE id BETWEEN {part * ROWS + 1} AND {part * ROWS + ROWS}")
                check((readable or of_tuple) and answer == [[str(ROWS)]], f"byte {at}, part {part}: {answer}")
            except Refused as refused:
                check(refused.state == "XX001" and f"segment at row {firsts[1]}" in str(refused), f"byte {at}, part {part}: {refused}")
    check(not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")
    cluster.stop()


@scenario
def damage_to_the_row_store_is_told(options, directory):
    for checksums in (True, False):
        cluster = Cluster(directory / f"rows_{checksums}", options.port).init("\n".join(options.set), checksums=checksums)
        cluster.configure("doris.compaction = off\nautovacuum = off")
        cluster.start()
        options.clusters.append(cluster)
        cluster.query("CREATE EXTENSION pg_doris")
        names = ["sound", "zeroed", "indexed", "pointer", "header", "value", "future", "large"]
        for name in names:
            cluster.query(f"CREATE TABLE {name} (id int, note text, big text) USING doris; ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL")
            if name in ("sound", "indexed"):
                cluster.query(f"CREATE INDEX ON {name} (id)")
            with cluster.session() as session:
                session.query("SET doris.rows_to_heap = 100000")
                session.query(f"INSERT INTO {name} SELECT g, 'note ' || g, CASE WHEN g % 100 = 0 THEN repeat(g::text, 1000) END FROM generate_series(1, 1000) g")
                session.query(f"UPDATE {name} SET id = id WHERE id % 7 = 0; DELETE FROM {name} WHERE id % 11 = 0")
                # Only VACUUM's word tells an emptied page from one that never had rows; an index does so, too.
                if name != "indexed":
                    session.query(f"VACUUM {name}")
            check(cluster.query(f"SELECT * FROM doris.verify('{name}')") == [], f"{name} is not sound")
        # The third row of the second page is neither deleted nor updated, nor is it redirected.
        item = {name: next(item for item in range(3, 20) if cluster.value(f"SELECT count(*) FROM {name} WHERE ctid = '(1,{item})'") == "1") for name in names}
        toast = cluster.value("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'large'::regclass")
        overwrite(cluster, [
            ("zeroed", 1, in_page(0, bytes(8192))),
            ("indexed", 1, in_page(0, bytes(8192))),
            ("pointer", 1, in_page(24 + 4 * (item["pointer"] - 1) + 2, bytes([0xFE, 0xFF]))),
            ("header", 1, in_tuple(item["header"], 22, bytes([200]))),
            # Behind the header (with a bitmap of NULLs, 24 bytes) and the number comes the text, its length first.
            ("value", 1, in_tuple(item["value"], 24 + 4, bytes([0xFF]))),
            ("future", 1, lambda page: (in_tuple(item["future"], 0, (2_000_000).to_bytes(4, "little"))(page), in_tuple(item["future"], 20, bytes([1, 8]))(page))),
            (toast, 0, in_page(24, bytes([0xFF, 0xFF, 0xFE, 0xFF]))),
        ])
        for name in names:
            problems = cluster.query(f"SELECT segment, problem FROM doris.verify('{name}')")
            check((problems == []) == (name == "sound"), f"doris.verify finds in {name}: {problems}")
            where = "TOAST relation" if name == "large" else "index" if name == "indexed" else "row store"
            check(name == "sound" or any(where in problem for _, problem in problems), f"doris.verify finds in {name}: {problems}")
        check(not cluster.crash_messages(), f"the server crashed: {cluster.crash_messages()}")
        cluster.stop()
