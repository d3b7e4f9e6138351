#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What many empty columnar tables cost: the processor time and memory of background processes, with and without them.
#   bench/empty_tables.sh            against the server that PGHOST and PGPORT name
# TABLES (10000), LENGTH (30 seconds of each measurement). The tables are dropped again.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
TABLES=${TABLES:-10000} LENGTH=${LENGTH:-30}
export PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
sql() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }
# Processor time in ticks and private memory in pages of the extension's background processes.
cost() {
  local pid ticks=0 pages=0
  for pid in $(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%doris%'"); do
    ticks=$((ticks + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
    pages=$((pages + $(awk '{ print $2 - $3 }' "/proc/$pid/statm")))
  done
  echo "$ticks $pages"
}
measure() {
  local before after
  sleep 5
  read -r before _ < <(cost)
  sleep "$LENGTH"
  read -r after pages < <(cost)
  echo "$1: $((after - before)) ticks of $(getconf CLK_TCK) a second in $LENGTH s, $((pages * $(getconf PAGESIZE) / 1024)) kB of memory," \
    "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE '%doris%'") processes"
}
sql -c 'CREATE EXTENSION IF NOT EXISTS pg_doris' -c 'DROP SCHEMA IF EXISTS empty_tables CASCADE' -c 'CREATE SCHEMA empty_tables'
measure "without tables"
for _ in $(seq $(((TABLES + 999) / 1000))); do
  sql -c "DO \$\$ DECLARE n int := (SELECT count(*) FROM pg_class WHERE relnamespace = 'empty_tables'::regnamespace AND relkind = 'r');
    BEGIN FOR i IN n + 1 .. least(n + 1000, $TABLES) LOOP
      EXECUTE format('CREATE TABLE empty_tables.t%s (id int PRIMARY KEY, note text) USING doris WITH (unique_key = ''id'')', i);
    END LOOP; END \$\$"
done
measure "with $TABLES empty tables"
while [ "$(sql -c "SELECT count(*) FROM pg_class WHERE relnamespace = 'empty_tables'::regnamespace AND relkind = 'r'")" -gt 0 ]; do
  sql -c "DO \$\$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'empty_tables'::regnamespace AND relkind = 'r' LIMIT 500
    LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END \$\$"
done
sql -c 'DROP SCHEMA empty_tables'
