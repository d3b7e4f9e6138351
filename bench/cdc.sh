#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mirrors: lag, catching up, initial copy, memory, and what they cost their sources, beside a native subscription.
#   bench/cdc.sh          with clusters of its own, on the installed extension
# SCALE (1), BACKLOG (5000000 changed rows), LARGE (3000000 changes), LENGTH (15 s); NO_REPORT=1 prints.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
SCALE=${SCALE:-1} BACKLOG=${BACKLOG:-5000000} LARGE=${LARGE:-3000000} LENGTH=${LENGTH:-15}
mkdir -p "$STATE/recovery"
[ "$(id -u)" = 0 ] && chown postgres "$STATE/recovery"
export PG_DORIS_BIN=$BIN PG_DORIS_RECOVERY=$STATE/recovery PYTHONDONTWRITEBYTECODE=1
rows=()
measure() {
  local line
  while read -r line; do
    rows+=("$line")
    say "$line"
  done < <(python3 "$REPO/tests/recovery/cdc_bench.py" "$@" --seconds "$LENGTH" | grep '|')
}
data=$("$REPO/bench/data.sh" "$SCALE")
measure lag
measure lag --native
measure backlog --rows "$BACKLOG"
measure backlog --rows "$BACKLOG" --native
measure copy --csv "$data/lineitem.csv"
measure large --large "$LARGE"
measure large --large "$LARGE" --model none
measure overhead
if [ -z "${NO_REPORT:-}" ]; then
  PYTHONPATH=$REPO/bench python3 - "$SCALE" "$BACKLOG" "$LARGE" "$("$BIN/postgres" --version)" "${rows[@]}" <<'PYTHON'
import sys
import report
scale, backlog, large, version, *measured = sys.argv[1:]
text = report.stamp(f"SCALE={scale} BACKLOG={backlog} LARGE={large} make bench BENCH=cdc", "PostgreSQL " + version.split()[2], "settings of tests/recovery/cdc_bench.py") + "\n"
text += "Source and target on this machine; mixed changes: half inserts, a third updates, the rest deletes.\n\n"
text += report.table(["what", "measured"], [line.split("|") for line in measured])
report.write_section("cdc", "Mirrors", text)
PYTHON
fi
