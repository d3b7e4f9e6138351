#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The isolation suite: runs specs/*.spec in the order of the schedule, compares with expected/.
#   tests/isolation/run.sh [spec ...]
# AM=heap checks a spec with ordinary tables: the database's default access method is AM (default doris), so
# the expected output of a plain-table spec is what a heap gives.
# Results and differences go to target/test/isolation-<server>/, such as isolation-15.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test} AM=${AM:-doris}
HERE=$REPO/tests/isolation
OUT=$TARGET/test/isolation-${ROOT##*/pg}
mkdir -p "$OUT"

"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
export PGOPTIONS='-c client_min_messages=warning'
psql -X -q -v ON_ERROR_STOP=1 -d postgres -c 'DROP DATABASE IF EXISTS isolation' -c 'CREATE DATABASE isolation'
psql -X -q -v ON_ERROR_STOP=1 -d isolation -c 'ALTER DATABASE isolation SET doris.compaction = off' -c 'CREATE EXTENSION pg_doris'
if [ "$AM" = doris ] && [ "$(psql -XAt -d isolation -c "SELECT count(*) FROM pg_am WHERE amname = 'doris'")" = 0 ]; then
  say "isolation: this build has no access method doris; running with heap"
  AM=heap
fi
psql -X -q -v ON_ERROR_STOP=1 -d isolation -c "ALTER DATABASE isolation SET default_table_access_method = '$AM'"
specs=("$@")
[ ${#specs[@]} -gt 0 ] || specs=(--schedule="$HERE/schedule")
unset PGOPTIONS
# The tester is a shell command of the runner's: its path may hold no space.
cd "$OUT"
status=0
"$(test_tools)/isolation/pg_isolation_regress" --bindir="$BIN" --inputdir="$HERE" --outputdir="$OUT" \
  --use-existing --dbname=isolation --host="$PGHOST" --port="$PGPORT" --user=postgres "${specs[@]}" || status=$?
if [ -s "$OUT/regression.diffs" ]; then cat "$OUT/regression.diffs"; fi
exit "$status"
