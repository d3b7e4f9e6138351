#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Small transactions by primary key: autocommit INSERT, UPDATE, DELETE and SELECT of one row, heap against another
# access method, with pgbench; the two take turns, and the median of the rounds counts.
#   bench/oltp.sh                  against the server that PGHOST and PGPORT name (bench/run.sh sets them)
# AM (doris), OLTP_ROWS (1000000), CLIENTS (4), SECONDS_PER_RUN (10), ROUNDS (3); NO_REPORT=1 only prints.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
AM=${AM:-doris} ROWS=${OLTP_ROWS:-1000000} CLIENTS=${CLIENTS:-4} LENGTH=${SECONDS_PER_RUN:-10} ROUNDS=${ROUNDS:-3}
WORK=$TARGET/bench/oltp
mkdir -p "$WORK"
sql() { psql -X -q -v ON_ERROR_STOP=1 -d postgres "$@"; }

fill() {
  sql -c 'SET client_min_messages = warning' -c "DROP TABLE IF EXISTS account_$1" \
    -c "CREATE TABLE account_$1 (id bigint PRIMARY KEY, branch int, balance numeric(12,2), changed timestamptz, note text) USING $1" \
    -c "INSERT INTO account_$1 SELECT i, i % 100, i % 1000, '2024-01-01', 'account number ' || i FROM generate_series(1, $ROWS) i" \
    -c "DROP SEQUENCE IF EXISTS next_$1" -c "CREATE SEQUENCE next_$1 START $((ROWS + 1)) CACHE 50" \
    -c "DROP SEQUENCE IF EXISTS gone_$1" -c "CREATE SEQUENCE gone_$1 CACHE 50" -c "VACUUM ANALYZE account_$1"
}

# Deletes take ids in turn, so that each finds its row; updates and selects take ids of the upper half.
scripts() {
  local half=$((ROWS / 2))
  echo "INSERT INTO account_$1 VALUES (nextval('next_$1'), 1, 2.5, now(), 'a new account');" >"$WORK/insert-$1.sql"
  printf '%s\n' "\\set id random($half, $ROWS)" \
    "UPDATE account_$1 SET balance = balance + 1, changed = now() WHERE id = :id;" >"$WORK/update-$1.sql"
  echo "DELETE FROM account_$1 WHERE id = (SELECT nextval('gone_$1'));" >"$WORK/delete-$1.sql"
  printf '%s\n' "\\set id random($half, $ROWS)" "SELECT * FROM account_$1 WHERE id = :id;" >"$WORK/select-$1.sql"
}

transactions_per_second() {
  local log=$WORK/$1-$2.log
  if ! pgbench -n -M prepared -c "$CLIENTS" -j 2 -T "$LENGTH" -f "$WORK/$1-$2.sql" postgres >"$log" 2>&1; then
    cat "$log" >&2
    die "pgbench failed on $1 for $2"
  fi
  sed -nE 's/^tps = ([0-9]+)\..*/\1/p' "$log"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

if [ "$AM" = doris ]; then sql -c 'CREATE EXTENSION IF NOT EXISTS pg_doris' 2>/dev/null; fi
# Compared with itself, heap shows the noise: a second copy of the table needs a name of its own.
if [ "$AM" = heap ]; then die "AM must be another access method than heap"; fi
for am in heap "$AM"; do
  fill "$am"
  scripts "$am"
done
rows=()
for kind in insert update select delete; do
  : >"$WORK/heap.tps"
  : >"$WORK/$AM.tps"
  for _ in $(seq "$ROUNDS"); do
    for am in heap "$AM"; do
      sql -c CHECKPOINT
      transactions_per_second "$kind" "$am" >>"$WORK/$am.tps"
    done
  done
  heap=$(median <"$WORK/heap.tps")
  other=$(median <"$WORK/$AM.tps")
  ratio=$(awk -v a="$other" -v b="$heap" 'BEGIN { printf "%.0f%%", 100 * a / b }')
  rows+=("$kind|$heap|$other|$ratio")
  say "$kind: heap $heap/s, $AM $other/s, $ratio"
done
if [ -z "${NO_REPORT:-}" ]; then
  PYTHONPATH=$REPO/bench python3 - "$AM" "$ROWS" "$CLIENTS" "$LENGTH" "$ROUNDS" "$(psql -XAt -d postgres -c 'SHOW server_version')" "${rows[@]}" <<'PYTHON'
import sys
import report
am, rows, clients, seconds, rounds, version, *measured = sys.argv[1:]
text = report.stamp("make bench BENCH=oltp", "PostgreSQL " + version.split()[0], "bench/postgresql.conf") + "\n"
text += f"{int(rows):,} rows, {clients} clients, {seconds} s a run, median of {rounds}, prepared statements; transactions/s.\n\n"
text += report.table(["one row by primary key", "heap", am, f"{am} of heap"], [line.split("|") for line in measured])
report.write_section("oltp", "Small transactions", text)
PYTHON
fi
