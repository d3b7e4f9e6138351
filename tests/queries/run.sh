#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generated queries against heap twins on the private server: a fixed seed, then one of the day. Then every operator with
# every type, text in other encodings, and the queries of TPC-H, SSB and ClickBench, all of which must run natively; at last, that queries can be cancelled.
#   tests/queries/run.sh [count]
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test}
COUNT=${1:-300}
"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
WORK=$TARGET/test/queries
mkdir -p "$WORK"
cd "$WORK"
status=0
for seed in 1 "$(date +%Y%m%d)"; do
  for kind in plain hostile odd sessions; do
    python3 "$REPO/tests/queries/queries.py" --kind "$kind" --seed "$seed" --count "$COUNT" || status=1
  done
  python3 "$REPO/tests/queries/queries.py" --kind skewed --seed "$seed" --count "$((COUNT / 5))" || status=1
done
python3 "$REPO/tests/queries/queries.py" --kind matrix --seed 1 || status=1
python3 "$REPO/tests/queries/encodings.py" || status=1
python3 "$REPO/tests/queries/native.py" || status=1
# With a limit for busy machines.
python3 "$REPO/tests/queries/cancel.py" --rows 1000000 --limit-ms 1000 --short || status=1
exit $status
