#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a running server with columnar tables: builds the extension, starts a private cluster, loads
# TPC-H into doris and heap tables, compares sizes and query times, shows live mirrors of heap tables (demo-mirror.sh),
# and leaves the server running.
#   scripts/demo.sh
# SCALE (0.1) is TPC-H's scale factor; NO_BUILD=1 takes the extension as installed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
export NAME=demo
SCALE=${SCALE:-0.1}
started=$SECONDS
step() { printf '\n--- %s (%s s)\n' "$*" "$((SECONDS - started))"; }

step "building the extension into a private PostgreSQL $PG"
[ -n "${NO_BUILD:-}" ] || "$REPO/scripts/server.sh" install
"$REPO/scripts/server.sh" destroy
"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
export PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
sql() { psql -X -v ON_ERROR_STOP=1 "$@"; }
sql -q -c 'CREATE EXTENSION IF NOT EXISTS pg_doris'
methods=(heap)
if [ "$(sql -At -c "SELECT count(*) FROM pg_am WHERE amname = 'doris'")" = 1 ]; then methods=(heap doris); fi

for am in "${methods[@]}"; do
  step "loading TPC-H, scale factor $SCALE, into $am tables"
  "$REPO/bench/load.sh" "$am" "tpch_$am" "$SCALE"
done

step "sizes"
sql -c "SELECT c.relname AS \"table\", $(
  for am in "${methods[@]}"; do
    printf "pg_size_pretty(sum(pg_total_relation_size(c.oid)) FILTER (WHERE n.nspname = 'tpch_%s')) AS %s, " "$am" "$am"
  done
)max(c.reltuples)::bigint AS rows FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE nspname LIKE 'tpch\\_%' AND relkind = 'r' GROUP BY 1 ORDER BY rows DESC"

step "queries, in ms (the second run of each)"
printf '%-5s' ''
printf '%12s' "${methods[@]}"
printf '\n'
for query in q01 q03 q05 q06 q09 q12 q18; do
  printf '%-5s' "$query"
  for am in "${methods[@]}"; do
    time=$(sql -At -c "SET search_path = tpch_$am, public" -c '\o /dev/null' -c '\timing on' \
      -f "$REPO/bench/tpch/$query.sql" -f "$REPO/bench/tpch/$query.sql" | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | tail -1)
    printf '%12s' "$time"
  done
  printf '\n'
done

step "models: upserts, compaction, roll-ups"
"$REPO/scripts/demo-models.sh"

step "live mirrors"
"$REPO/scripts/demo-mirror.sh"

cat <<TEXT

The server is running. To connect:
  NAME=demo PG=$PG scripts/server.sh psql
  psql -h $PGHOST -p $PGPORT -U postgres
To stop it:    NAME=demo PG=$PG scripts/server.sh stop
To remove it:  NAME=demo PG=$PG scripts/server.sh destroy
TEXT
