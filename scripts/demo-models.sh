#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The part of the demo about models: upserts into a unique-key table beside a heap's ON CONFLICT, compaction, and a
# roll-up that is folded as it is written. Needs a server to connect to (PGHOST, PGPORT), with the extension.
#   scripts/demo-models.sh
# KEYS (500000) of the unique-key table; EVENTS (2000000) of the roll-up.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
KEYS=${KEYS:-500000}
EVENTS=${EVENTS:-2000000}
export PGDATABASE=${PGDATABASE:-postgres} PGOPTIONS='-c client_min_messages=warning -c search_path=models,public'
sql() { psql -X -v ON_ERROR_STOP=1 "$@"; }

# show <statement>: printed, then run, with its time.
show() {
  printf '%s;\n' "$1"
  sql -q -c '\timing on' -c "$1"
}

sql -q -c 'DROP SCHEMA IF EXISTS models CASCADE' -c 'CREATE SCHEMA models'
show "CREATE TABLE prices (item bigint, price numeric(10,2), changed timestamptz)
  USING doris WITH (unique_key = 'item', sequence = 'changed')"
sql -q -c 'CREATE TABLE prices_heap (item bigint PRIMARY KEY, price numeric(10,2), changed timestamptz)'
rows="SELECT i, i % 1000 / 10.0, timestamptz '2024-01-01' + i * interval '1 ms' FROM generate_series(1, $KEYS) i"
show "INSERT INTO prices $rows"
echo "-- the same keys again: an upsert"
show "INSERT INTO prices $rows"
echo "-- and in a heap:"
sql -q -c "INSERT INTO prices_heap $rows"
show "INSERT INTO prices_heap $rows ON CONFLICT (item) DO UPDATE SET price = excluded.price, changed = excluded.changed"
echo "-- an older row changes nothing, a newer one does"
show "INSERT INTO prices VALUES (7, 0, '1999-01-01'), (8, 0.5, '2030-01-01')"
show "SELECT * FROM prices WHERE item IN (7, 8) ORDER BY item"
show "SELECT count(*), avg(price) FROM prices"
show "CALL doris.compact('prices')"
show "SELECT kind, input_segments, input_rows, output_segments, output_rows FROM doris.compactions WHERE \"table\" = 'prices'::regclass"

show "CREATE TABLE visits_by_day (day date, site int, visits bigint, longest int, visitors doris.hll)
  USING doris WITH (aggregate_key = 'day, site', sum = 'visits', max = 'longest', hll_union = 'visitors')"
show "INSERT INTO visits_by_day
  SELECT date '2024-01-01' + i % 30, i % 100, 1, i % 600, doris.hll_hash(i % 50000) FROM generate_series(1, $EVENTS) i"
show "SELECT day, sum(visits) AS visits, max(longest) AS longest, doris.hll_union_agg(visitors) AS visitors
  FROM visits_by_day GROUP BY day ORDER BY day LIMIT 3"
