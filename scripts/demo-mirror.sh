#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The part of the demo about mirrors: clients enter orders into heap tables, columnar mirrors follow, the same report
# runs on both. Needs a server to connect to (PGHOST, PGPORT), with the extension.
#   scripts/demo-mirror.sh
# ORDERS (300000) are there at first; CLIENTS (4) write for SECONDS_OF_LOAD (15).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
ORDERS=${ORDERS:-300000}
CLIENTS=${CLIENTS:-4}
SECONDS_OF_LOAD=${SECONDS_OF_LOAD:-15}
HERE=$REPO/bench/orders
export PGDATABASE=${PGDATABASE:-postgres} PGOPTIONS='-c client_min_messages=warning'
sql() { psql -X -v ON_ERROR_STOP=1 "$@"; }

# milliseconds <schema>: the second run of the report
milliseconds() {
  sql -At -c "SET search_path = $1" -c '\o /dev/null' -c '\timing on' -f "$HERE/report.sql" -f "$HERE/report.sql" |
    sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | tail -1
}

echo "an order-entry system in heap tables: $ORDERS orders"
if [ "$(sql -At -c "SELECT count(*) FROM doris.syncs WHERE name = 'shop'")" = 1 ]; then
  sql -q -c "SELECT doris.drop_sync('shop', drop_targets => true)" >/dev/null
fi
sql -q -v orders="$ORDERS" -f "$HERE/schema.sql"

echo
echo "SELECT doris.create_sync('shop', tables => '{shop.*}', target_schema => 'shop_columns');"
sql -q -At -c "SELECT doris.create_sync('shop', tables => '{shop.*}', target_schema => 'shop_columns')" >/dev/null
sql -q -At -c "SELECT doris.wait_for_sync('shop', timeout => '5 min')" >/dev/null
sql -c "SELECT source, target, rows_copied, copy_finished_at - copy_started_at AS took FROM doris.sync_tables
        WHERE sync = 'shop' ORDER BY rows_copied DESC"

echo "$CLIENTS clients enter orders for $SECONDS_OF_LOAD s; the report on both meanwhile (ms, the second run), and the lag:"
pgbench -n -c "$CLIENTS" -T "$SECONDS_OF_LOAD" -D orders="$ORDERS" -f "$HERE/entry.sql" >"$TARGET/demo-load.log" 2>&1 &
load=$!
printf '%12s%12s%14s%12s%16s\n' heap mirror 'lag (bytes)' 'lag (ms)' 'rows applied'
while kill -0 "$load" 2>/dev/null; do
  printf '%12s%12s' "$(milliseconds shop)" "$(milliseconds shop_columns)"
  sql -At -F ' ' -c "SELECT lag_bytes, round(lag_seconds * 1000), rows_applied FROM doris.syncs WHERE name = 'shop'" |
    while read -r bytes lag rows; do printf '%14s%12s%16s\n' "$bytes" "$lag" "$rows"; done
  sleep 1
done
wait "$load" || die "the clients failed; see $TARGET/demo-load.log"
grep -E '^(tps|latency average|number of transactions actually)' "$TARGET/demo-load.log"

sql -q -At -c "SELECT doris.wait_for_sync('shop')" >/dev/null
echo
echo "rows that differ, and sizes, after the load:"
sql -c "
  SELECT 'orders' AS \"table\", (SELECT count(*) FROM shop.orders) AS rows,
    (SELECT count(*) FROM ((TABLE shop.orders EXCEPT ALL TABLE shop_columns.orders) UNION ALL
      (TABLE shop_columns.orders EXCEPT ALL TABLE shop.orders)) d) AS different,
    pg_size_pretty(pg_total_relation_size('shop.orders')) AS heap,
    pg_size_pretty(pg_total_relation_size('shop_columns.orders')) AS mirror
  UNION ALL SELECT 'order_line', (SELECT count(*) FROM shop.order_line),
    (SELECT count(*) FROM ((TABLE shop.order_line EXCEPT ALL TABLE shop_columns.order_line) UNION ALL
      (TABLE shop_columns.order_line EXCEPT ALL TABLE shop.order_line)) d),
    pg_size_pretty(pg_total_relation_size('shop.order_line')),
    pg_size_pretty(pg_total_relation_size('shop_columns.order_line'))"

echo "the report on the heap tables with doris.use_mirrors = on: who answers, and how fast (ms, the second run)"
sql -q -c 'SET search_path = shop' -c 'SET doris.use_mirrors = on' -c "EXPLAIN (COSTS OFF) $(cat "$HERE/report.sql")" | sed -n 3,4p
PGOPTIONS="$PGOPTIONS -c doris.use_mirrors=on" milliseconds shop
