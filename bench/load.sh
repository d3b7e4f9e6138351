#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Loads TPC-H into a running private server: a schema of its own with the eight tables, by COPY, analysed.
#   bench/load.sh <access method> <schema> <scale> [database]
# An existing schema of that name is replaced. NAME and PG pick the server, as for scripts/server.sh.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
[ $# -ge 3 ] || { sed -n '3,6p' "$0"; exit 2; }
AM=$1 SCHEMA=$2 SCALE=$3 DATABASE=${4:-postgres}
DIR=$("$REPO/bench/data.sh" "$SCALE")
eval "$("$REPO/scripts/server.sh" env)"
sql() { PGOPTIONS="-c search_path=$SCHEMA,public -c client_min_messages=warning" psql -X -q -v ON_ERROR_STOP=1 -d "$DATABASE" "$@"; }
if [ "$AM" = doris ]; then sql -c 'CREATE EXTENSION IF NOT EXISTS pg_doris'; fi
sql -c "DROP SCHEMA IF EXISTS $SCHEMA CASCADE" -c "CREATE SCHEMA $SCHEMA"
sql -v am="$AM" -f "$REPO/bench/tpch/schema.sql"
for table in region nation supplier customer part partsupp orders lineitem; do
  sql -c "\\copy $table FROM '$DIR/$table.csv' (FORMAT csv, HEADER)"
done
sql -c "VACUUM ANALYZE region, nation, supplier, customer, part, partsupp, orders, lineitem"
