#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Upserts: lineitem in parts, imported three times into a unique-key table, beside a duplicate-key table and a heap's
# ON CONFLICT; then batches of rows and single rows on existing keys. Compaction is off while this is measured.
#   bench/upsert.sh                against the server that PGHOST and PGPORT name (bench/run.sh sets them)
# SCALE (1), PARTS (100), UPSERT_KEYS (10000000), BATCHES (10), CLIENTS (4), SECONDS_PER_RUN (10); NO_REPORT=1 prints.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
SCALE=${SCALE:-1} PARTS=${PARTS:-100} KEYS=${UPSERT_KEYS:-10000000} BATCHES=${BATCHES:-10} CLIENTS=${CLIENTS:-4} LENGTH=${SECONDS_PER_RUN:-10}
WORK=$TARGET/bench/upsert
mkdir -p "$WORK/parts"
export PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
rows=()
note() {
  rows+=("$*")
  say "$*"
}
now() { date +%s%N; }
# rate <rows> <start> <end>: rows a second
rate() { awk -v n="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%.0f", n / ((b - a) / 1e9) }'; }
# milliseconds <statement>: the median of nine runs of a statement in one session, after two others
milliseconds() {
  local runs=()
  for _ in $(seq 11); do runs+=(-c "$1"); done
  sql -At -c '\o /dev/null' -c '\timing on' "${runs[@]}" | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | tail -9 | sort -n | sed -n 5p
}

data=$("$REPO/bench/data.sh" "$SCALE")
if [ ! -e "$WORK/parts/complete-$PARTS-$SCALE" ]; then
  rm -f "$WORK"/parts/*
  tail -n +2 "$data/lineitem.csv" | split -n "l/$PARTS" -d -a 4 - "$WORK/parts/part-" 2>/dev/null ||
    { tail -n +2 "$data/lineitem.csv" >"$WORK/all.csv"; split -n "l/$PARTS" -d -a 4 "$WORK/all.csv" "$WORK/parts/part-"; rm "$WORK/all.csv"; }
  touch "$WORK/parts/complete-$PARTS-$SCALE"
fi
columns=$(head -1 "$data/lineitem.csv")
table() {
  sql -c "DROP TABLE IF EXISTS $1" -c "CREATE TABLE $1 (l_orderkey bigint NOT NULL, l_linenumber integer NOT NULL, l_partkey integer, l_suppkey integer,
    l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1),
    l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10),
    l_comment varchar(44)$3) $2"
}
# import <table>: all parts, each a COPY of its own
import() {
  local part
  for part in "$WORK"/parts/part-*; do sql -c "\\copy $1 ($columns) FROM '$part' (FORMAT csv)"; done
}
count=$(($(wc -l <"$data/lineitem.csv") - 1))

sql -c 'CREATE EXTENSION IF NOT EXISTS pg_doris' -c "ALTER DATABASE postgres SET doris.compaction = off"
table copies "USING doris WITH (duplicate_key = 'l_orderkey, l_linenumber')" ''
start=$(now)
import copies
note "import into a duplicate-key table|$(rate "$count" "$start" "$(now)") rows/s"
table lines "USING doris WITH (unique_key = 'l_orderkey, l_linenumber')" ''
for round in first second third; do
  start=$(now)
  import lines
  note "$round import into a unique-key table|$(rate "$count" "$start" "$(now)") rows/s"
done
query='SELECT count(*), sum(l_extendedprice) FROM'
note "count and sum, clean table|$(milliseconds "$query copies") ms"
note "count and sum, after three imports|$(milliseconds "$query lines") ms"
table lines_heap 'USING heap' ', PRIMARY KEY (l_orderkey, l_linenumber)'
sql -c "INSERT INTO lines_heap SELECT * FROM copies" -c "VACUUM ANALYZE lines_heap" -c CHECKPOINT
tenth=$((count / 10))
sets=$(tr , '\n' <<<"$columns" | grep -vE 'l_orderkey|l_linenumber' | sed 's/.*/& = excluded.&/' | paste -sd,)
start=$(now)
sql -c "INSERT INTO lines_heap SELECT * FROM copies LIMIT $tenth ON CONFLICT (l_orderkey, l_linenumber) DO UPDATE SET $sets"
note "ON CONFLICT into a heap, a tenth of the rows|$(rate "$tenth" "$start" "$(now)") rows/s"
sql -c 'DROP TABLE copies, lines, lines_heap'

declare -A fill=(
  [heap]="CREATE TABLE keyed_heap (k bigint PRIMARY KEY, v bigint, note text)"
  [doris]="CREATE TABLE keyed_doris (k bigint, v bigint, note text) USING doris WITH (unique_key = 'k')"
)
declare -A clause=([heap]='ON CONFLICT (k) DO UPDATE SET v = excluded.v, note = excluded.note' [doris]='')
for kind in heap doris; do
  sql -c "DROP TABLE IF EXISTS keyed_$kind" -c "${fill[$kind]}" \
    -c "INSERT INTO keyed_$kind SELECT i, i, 'note ' || i FROM generate_series(1, $KEYS) i" -c "VACUUM ANALYZE keyed_$kind"
done
for kind in heap doris; do
  sql -c CHECKPOINT
  start=$(now)
  for batch in $(seq "$BATCHES"); do
    sql -c "INSERT INTO keyed_$kind SELECT 1 + (i * 7919 + $batch * 104729) % $KEYS, i, 'new' FROM generate_series(1, 10000) i ${clause[$kind]}"
  done
  note "$BATCHES batches of 10,000 upserts, $kind|$(rate $((BATCHES * 10000)) "$start" "$(now)") rows/s"
done
for kind in heap doris; do
  printf '%s\n' "\\set k random(1, $KEYS)" "INSERT INTO keyed_$kind VALUES (:k, 1, 'single') ${clause[$kind]};" >"$WORK/$kind.sql"
done
for round in 1 2; do
  for kind in heap doris; do
    sql -c CHECKPOINT
    tps=$(PGOPTIONS="$PGOPTIONS -c synchronous_commit=off" pgbench -n -M prepared -c "$CLIENTS" -j 2 -T "$LENGTH" -f "$WORK/$kind.sql" postgres 2>/dev/null |
      sed -nE 's/^tps = ([0-9]+)\..*/\1/p')
    note "single upserts, $CLIENTS clients, asynchronous commit, $kind, run $round|$tps/s"
  done
done
sql -c 'DROP TABLE keyed_heap, keyed_doris' -c 'ALTER DATABASE postgres RESET doris.compaction'
if [ -z "${NO_REPORT:-}" ]; then
  PYTHONPATH=$REPO/bench python3 - "$SCALE" "$PARTS" "$KEYS" "$(psql -XAt -c 'SHOW server_version')" "${rows[@]}" <<'PYTHON'
import sys
import report
scale, parts, keys, version, *measured = sys.argv[1:]
text = report.stamp(f"SCALE={scale} PARTS={parts} UPSERT_KEYS={keys} make bench BENCH=upsert", "PostgreSQL " + version.split()[0], "bench/postgresql.conf") + "\n"
text += f"lineitem in {parts} parts; batches and single rows on {int(keys):,} existing keys; compaction off.\n\n"
text += report.table(["what", "measured"], [line.split("|") for line in measured])
report.write_section("upsert", "Upserts by key", text)
PYTHON
fi
