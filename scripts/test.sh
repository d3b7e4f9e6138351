#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs test suites, and ends with a table and the line "N passed, M failed"; fails if anything failed.
#   scripts/test.sh [suite ...]
# Suites: fmt tidy crates clippy build regress isolation queries twin models newest recovery
#   newest   build, regress and isolation again on PostgreSQL 18 (its build is what recovery upgrades to)
# Without arguments: all of them for PG=15; build, regress, isolation and recovery for another PG.
# Logs go to target/test/. The extension is built once, for release, into a private server under target/.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
export NAME=test
LOGS=$TARGET/test
TABLE=${TEST_TABLE:-$LOGS/summary}
mkdir -p "$LOGS"
built=1

# What counts as a test in a log: cargo's summaries; pg_regress 15's lines; TAP lines of the rest.
count_cargo() { awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$1"; }
count_tap() {
  awk '/^(ok [0-9]|ok - )/ || / \.\.\. ok( |$)/ { p++ }
       /^(not ok [0-9]|not ok - )/ || / \.\.\. FAILED( |$)/ { f++ }
       END { print p + 0, f + 0 }' "$1"
}
count_one() { echo 1 0; }

# run <suite> <count function> <command...>: its output is shown, kept, counted and timed.
run() {
  local suite=$1 count=$2 status=0 passed failed start=$SECONDS log=$LOGS/pg$PG-$1.log
  shift 2
  printf '\n=== %s (PostgreSQL %s)\n' "$suite" "$PG"
  "$@" 2>&1 | tee "$log" || status=$?
  read -r passed failed < <("$count" "$log")
  if [ "$status" != 0 ]; then
    if [ "$count" = count_one ]; then passed=0; fi
    if [ "$failed" = 0 ]; then failed=1; fi
  elif [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
    say "$suite: ran no test"
    failed=1
  fi
  printf '%s\t%s\t%s\t%s\t%s\n' "$suite" "$PG" "$passed" "$failed" "$((SECONDS - start))" >>"$TABLE"
  return "$status"
}

skip() {
  printf '\n=== %s (PostgreSQL %s): %s\n' "$1" "$PG" "$2"
  printf '%s\t%s\t0\t1\t0\n' "$1" "$PG" >>"$TABLE"
}

need_build() {
  if [ "$built" = 0 ]; then
    skip "$1" "not run, as the extension did not build"
    return 1
  fi
}

clippy() {
  cargo clippy --workspace --all-targets --no-default-features --features "pg_doris/pg$PG" -- -D warnings
}

one() {
  case $1 in
    fmt) run fmt count_one cargo fmt --all --check || true ;;
    clippy) run clippy count_one clippy || true ;;
    tidy) run tidy count_tap "$REPO/scripts/tidy.sh" || true ;;
    crates) run crates count_cargo cargo test --workspace --exclude pg_doris || true ;;
    build) run build count_one "$REPO/scripts/server.sh" install || built=0 ;;
    regress) need_build regress && { run regress count_tap "$REPO/tests/pg_regress/run.sh" || true; } ;;
    isolation) need_build isolation && { run isolation count_tap "$REPO/tests/isolation/run.sh" || true; } ;;
    queries) need_build queries && { run queries count_tap "$REPO/tests/queries/run.sh" || true; } ;;
    twin) need_build twin && { run twin count_tap "$REPO/tests/twin/run.sh" || true; } ;;
    models) need_build models && { run models count_tap "$REPO/tests/models/run.sh" || true; } ;;
    recovery) need_build recovery && { run recovery count_tap "$REPO/tests/recovery/run.sh" || true; } ;;
    newest) TEST_TABLE=$TABLE PG_PREFIX="" PG=18 "$0" build regress isolation || true ;;
    *) die "no suite '$1'" ;;
  esac
}

suites=("$@")
if [ ${#suites[@]} = 0 ]; then
  if [ "$PG" = 15 ]; then
    suites=(fmt tidy crates clippy build regress isolation queries twin models newest recovery)
  else
    suites=(build regress isolation recovery)
  fi
fi
nested=${TEST_TABLE:+yes}
[ -n "$nested" ] || : >"$TABLE"
cd "$REPO"
for suite in "${suites[@]}"; do
  one "$suite" || true
done
"$REPO/scripts/server.sh" stop 2>/dev/null || true
[ -n "$nested" ] && exit 0

printf '\n%-10s %-10s %8s %8s %8s\n' suite PostgreSQL passed failed seconds
awk -F'\t' '{ printf "%-10s %-10s %8d %8d %8d\n", $1, $2, $3, $4, $5 }' "$TABLE"
read -r passed failed < <(awk -F'\t' '{ p += $3; f += $4 } END { print p + 0, f + 0 }' "$TABLE")
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
