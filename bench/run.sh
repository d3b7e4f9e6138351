#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs benchmarks against a fresh private server, and writes their sections of docs/benchmarks.md.
#   bench/run.sh [tpch] [oltp] [upsert] [memory] [cdc] [clickbench] [aggregate] [mixed] [scaling] [orders] [rows] [spill]
#                               all, without arguments
# SCALE (1), ROWS (10000000 hits, 1000000 of rows, 60000000 of spill), SEED (1), RUNS (5), SECONDS_PER_RUN (10), LIMIT (600 s for a query on PostgreSQL) set the size; NO_BUILD=1 takes the extension as installed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
export NAME=bench CONF=$REPO/bench/postgresql.conf
VENV=$TARGET/tools/venv

python() {
  if ! "$VENV/bin/python" -c 'import duckdb, psycopg' 2>/dev/null; then
    say "installing the oracle and the driver"
    # Debian keeps venv's own pip in a package; a virtual environment without it takes the outer one.
    python3 -m venv "$VENV" 2>/dev/null || { rm -rf "$VENV"; python3 -m venv --without-pip "$VENV"; }
    python3 -m pip --disable-pip-version-check --python "$VENV/bin/python" install -q -r "$REPO/bench/requirements.txt"
  fi
  "$VENV/bin/python" "$@"
}

benchmarks=("$@")
[ ${#benchmarks[@]} -gt 0 ] || benchmarks=(tpch oltp upsert memory cdc clickbench aggregate mixed scaling orders rows spill)
[ -n "${NO_BUILD:-}" ] || "$REPO/scripts/server.sh" install
"$REPO/scripts/server.sh" destroy
"$REPO/scripts/server.sh" start
trap '"$REPO/scripts/server.sh" stop' EXIT
eval "$("$REPO/scripts/server.sh" env)"
for benchmark in "${benchmarks[@]}"; do
  case $benchmark in
    tpch)
      data=$("$REPO/bench/data.sh" "${SCALE:-1}")
      python "$REPO/bench/tpch.py" --data "$data" --scale "${SCALE:-1}" --runs "${RUNS:-5}" --limit "${LIMIT:-600}"
      ;;
    clickbench)
      python "$REPO/bench/clickbench.py" --directory "${CLICKBENCH_DIR:-$TARGET/clickbench}" \
        --rows "${ROWS:-10000000}" --seed "${SEED:-1}" --runs "${RUNS:-5}" --limit "${LIMIT:-600}"
      ;;
    aggregate) python "$REPO/bench/aggregate.py" --rows "${ROWS:-10000000}" --runs "${RUNS:-5}" ;;
    mixed) python "$REPO/bench/mixed.py" --seconds "${SECONDS_MIXED:-600}" ;;
    scaling)
      data=$("$REPO/bench/data.sh" "${SCALE:-1}")
      python "$REPO/bench/scaling.py" --data "$data" --scale "${SCALE:-1}" --runs "${RUNS:-5}" --limit "${LIMIT:-600}"
      ;;
    orders)
      data=$("$REPO/bench/data.sh" "${SCALE:-1}")
      python "$REPO/bench/orders.py" --data "$data" --scale "${SCALE:-1}" --seed "${SEED:-1}"
      ;;
    rows) python "$REPO/bench/rows.py" --rows "${ROWS:-1000000}" --runs "${RUNS:-5}" ;;
    spill)
      "$REPO/scripts/server.sh" psql -qX -d postgres -c 'CREATE EXTENSION IF NOT EXISTS pg_doris'
      python "$REPO/bench/spill.py" --rows "${ROWS:-60000000}" --report
      ;;
    oltp | upsert | memory | cdc) "$REPO/bench/$benchmark.sh" ;;
    *) die "no benchmark '$benchmark'" ;;
  esac
done
