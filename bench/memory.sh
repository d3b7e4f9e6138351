#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The private memory of a backend during one long COPY, heap against another access method: the peak of anonymous
# memory, sampled five times a second, with rows/s and the table's size.
#   bench/memory.sh                against the server that PGHOST and PGPORT name (bench/run.sh sets them)
# AM (doris), COPY_ROWS (100000000); NO_REPORT=1 only prints.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
AM=${AM:-doris} COPY_ROWS=${COPY_ROWS:-100000000}
WORK=$TARGET/bench/memory
mkdir -p "$WORK"
export PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

# The same rows each time: a key in order, a time, two numbers of small and great range, a word, a longer text.
generate() {
  seq 1 "$COPY_ROWS" | awk '{ h = ($1 * 7919) % 1000003
    printf "%d\t2024-01-%02d %02d:%02d:%02d\t%d\t%d\t%s\tvisitor %d on page %d\n",
      $1, 1 + int($1 / 86400) % 28, int($1 / 3600) % 24, int($1 / 60) % 60, $1 % 60, h % 100, h * 1009, "word" (h % 5000), h, h % 997 }'
}

# measure <am>: prints "rows/s|peak bytes|table bytes"
measure() {
  local am=$1 pid peak=0 now started=$SECONDS psql
  sql -c "DROP TABLE IF EXISTS copied" \
    -c "CREATE TABLE copied (id bigint, at timestamptz, small int, big bigint, word text, note text) USING $am" -c CHECKPOINT
  rm -f "$WORK/pid"
  sql -At -o "$WORK/pid" -c 'SELECT pg_backend_pid()' -c '\copy copied FROM PSTDIN' < <(generate) &
  psql=$!
  until [ -s "$WORK/pid" ]; do sleep 0.1; done
  pid=$(head -1 "$WORK/pid")
  while kill -0 "$psql" 2>/dev/null; do
    now=$(awk '/^RssAnon:/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
    if [ "${now:-0}" -gt "$peak" ]; then peak=$now; fi
    sleep 0.2
  done
  wait "$psql"
  local seconds=$((SECONDS - started))
  [ "$(sql -At -c 'SELECT count(*) FROM copied')" = "$COPY_ROWS" ] || die "$am: rows are missing"
  echo "$((COPY_ROWS / (seconds > 0 ? seconds : 1)))|$((peak * 1024))|$(sql -At -c "SELECT pg_total_relation_size('copied')")"
}

if [ "$AM" = doris ]; then sql -c 'CREATE EXTENSION IF NOT EXISTS pg_doris'; fi
rows=()
for am in heap "$AM"; do
  rows+=("$am|$(measure "$am")")
  say "${rows[-1]}"
done
sql -c 'DROP TABLE copied'
if [ -z "${NO_REPORT:-}" ]; then
  PYTHONPATH=$REPO/bench python3 - "$COPY_ROWS" "$(psql -XAt -c 'SHOW server_version')" "${rows[@]}" <<'PYTHON'
import sys
import report
count, version, *measured = sys.argv[1:]
cells = [line.split("|") for line in measured]
text = report.stamp("make bench BENCH=memory", "PostgreSQL " + version.split()[0], "bench/postgresql.conf") + "\n"
text += f"One COPY of {int(count):,} rows; the peak of the backend's anonymous memory.\n\n"
text += report.table(["table", "rows/s", "peak memory", "size"],
                     [[am, f"{int(rate):,}", report.mebibytes(int(peak)), report.mebibytes(int(size))] for am, rate, peak, size in cells])
report.write_section("memory", "Memory of a long COPY", text)
PYTHON
fi
