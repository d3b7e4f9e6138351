#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The SQL suite: runs sql/*.sql in the order of the schedule against a private server, compares with expected/.
#   tests/pg_regress/run.sh [test ...]
# Results and differences go to target/test/pg_regress-<server>/, such as pg_regress-15.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test}
HERE=$REPO/tests/pg_regress
OUT=$TARGET/test/pg_regress-${ROOT##*/pg}
mkdir -p "$OUT"

"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(--schedule="$HERE/schedule")
cd "$OUT"
status=0
"$(test_tools)/regress/pg_regress" --bindir="$BIN" --inputdir="$HERE" --outputdir="$OUT" \
  --dbname=regress --host="$PGHOST" --port="$PGPORT" --user=postgres "${tests[@]}" || status=$?
if [ -s "$OUT/regression.diffs" ]; then cat "$OUT/regression.diffs"; fi
exit "$status"
