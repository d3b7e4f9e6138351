#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# PostgreSQL's own regression and isolation suites with another table access method as the default, compared
# with the same suites on heap tables: equal output, test by test.
#   scripts/core-regress.sh [--suite regress|isolation|both] [--am heap|doris] [--set NAME=VALUE]...
#                           [--label NAME] [--at-least N] [--fresh-baseline] [test ...]
# The suites come from the Debian source package of the installed server (fetched once, under target/core/).
# Heap runs twice first: what differs between these two runs is unstable by itself. Every run has a cluster
# of its own, and a database made from a template that holds the extension. --set gives the database a
# setting (for example the scan paths off). Results and differences stay in target/core/<suite>/<label>/.
# Fails if a server crashed, or fewer than --at-least tests are equal to heap's first run.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

SUITE=both AM=doris LABEL='' AT_LEAST=0 FRESH=no
SETTINGS=() TESTS=()
while [ $# -gt 0 ]; do
  case $1 in
    --suite) SUITE=$2; shift 2 ;;
    --am) AM=$2; shift 2 ;;
    --set) SETTINGS+=("$2"); shift 2 ;;
    --label) LABEL=$2; shift 2 ;;
    --at-least) AT_LEAST=$2; shift 2 ;;
    --fresh-baseline) FRESH=yes; shift ;;
    -*) sed -n '3,12p' "$0"; exit 2 ;;
    *) TESTS+=("$1"); shift ;;
  esac
done
LABEL=${LABEL:-$AM}
[ "$PG" = 15 ] || die "only PostgreSQL 15's source is packaged here"
CORE=$STATE/core
SOURCE=$CORE/source
export NAME=core PGPORT=5432
mkdir -p "$CORE"

fetch_source() {
  [ -e "$SOURCE/src/test/regress/parallel_schedule" ] && return
  local apt=$CORE/apt version archive
  own_apt "$apt" deb-src
  # The installed version's, or else the next older one that the archive still holds.
  for version in $(apt-cache "${APT[@]}" showsrc "postgresql-$PG" | sed -n 's/^Version: //p' | sort -rVu); do
    if (cd "$apt" && apt-get "${APT[@]}" source --download-only "postgresql-$PG=$version") >"$apt/log" 2>&1; then
      break
    fi
  done
  rm -rf "$SOURCE.new"
  mkdir -p "$SOURCE.new"
  for archive in "$apt"/postgresql-"$PG"_*.orig.tar.*; do
    case $archive in *.asc) ;; *) tar -xf "$archive" -C "$SOURCE.new" --strip-components=1 ;; esac
  done
  [ -e "$SOURCE.new/src/test/regress/parallel_schedule" ] || { cat "$apt/log" >&2; die "no source of PostgreSQL $PG to be had"; }
  rm -rf "$SOURCE"
  mv "$SOURCE.new" "$SOURCE"
}

# The C functions that the SQL of the suite calls.
build_libraries() {
  local lib=$CORE/lib include
  [ -e "$lib/autoinc.so" ] && return
  include=$("$BIN/pg_config" --includedir-server)
  mkdir -p "$lib"
  for c in src/test/regress/regress.c contrib/spi/refint.c contrib/spi/autoinc.c; do
    gcc -O2 -w -fPIC -shared -I"$include" -I"$SOURCE/src/test/regress" "$SOURCE/$c" -o "$lib/$(basename "${c%.c}").so"
  done
}

# The settings under which the expected output was made.
configuration() {
  cat >"$CORE/postgresql.conf" <<'CONF'
wal_level = replica
max_prepared_transactions = 2
shared_buffers = 128MB
max_wal_size = 2GB
fsync = off
log_lock_waits = on
log_temp_files = 128kB
CONF
}

sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

# database <name> <am>: from a template that holds the extension, with what pg_regress sets on its own.
database() {
  sql -d postgres -c 'CREATE DATABASE core_template TEMPLATE template0'
  sql -d core_template -c 'CREATE EXTENSION pg_doris' 2>/dev/null || say "note: running without the extension"
  sql -d postgres -c "CREATE DATABASE $1 TEMPLATE core_template"
  local setting
  for setting in lc_messages=C lc_monetary=C lc_numeric=C lc_time=C bytea_output=hex timezone_abbreviations=Default \
    "default_table_access_method=$2"; do
    sql -d "$1" -c "ALTER DATABASE $1 SET ${setting%%=*} TO '${setting#*=}'"
  done
}

# run_suite <suite> <label> <am> [setting ...]
run_suite() {
  local suite=$1 am=$3 out=$CORE/$1/$2 db runner inputs setting
  shift 3
  if [ "$suite" = regress ]; then
    db=regression runner=$(test_tools)/regress/pg_regress
    inputs=(--inputdir="$SOURCE/src/test/regress" --dlpath="$CORE/lib" --max-concurrent-tests=20)
    [ ${#TESTS[@]} -gt 0 ] || inputs+=(--schedule="$SOURCE/src/test/regress/parallel_schedule")
  else
    db=isolation_regression runner=$(test_tools)/isolation/pg_isolation_regress
    inputs=(--inputdir="$SOURCE/src/test/isolation")
    [ ${#TESTS[@]} -gt 0 ] || inputs+=(--schedule="$SOURCE/src/test/isolation/isolation_schedule")
  fi
  rm -rf "$out"
  mkdir -p "$out"
  # The server writes files beside the results, and the suite reads them: both run as one user.
  [ "$(id -u)" = 0 ] && chown postgres "$out"
  "$REPO/scripts/server.sh" destroy
  CONF=$CORE/postgresql.conf "$REPO/scripts/server.sh" start
  eval "$("$REPO/scripts/server.sh" env)"
  database "$db" "$am"
  for setting in "$@"; do sql -d "$db" -c "ALTER DATABASE $db SET ${setting%%=*} TO '${setting#*=}'"; done
  (cd "$out" && as_server env PGHOST="$PGHOST" "$runner" --bindir="$BIN" --outputdir="$out" --use-existing --dbname="$db" \
    --host="$PGHOST" --port="$PGPORT" --user=postgres "${inputs[@]}" ${TESTS[@]+"${TESTS[@]}"}) >"$out/log" 2>&1 || true
  cp "$PGHOST/log" "$out/server.log"
  "$REPO/scripts/server.sh" destroy
}

# The extension's objects get their OIDs in the order of its script, which differs from build to build; opr_sanity shows
# them. A base line of another script is none.
objects() { cat "$("$BIN/pg_config" --sharedir)"/extension/pg_doris--*.sql 2>/dev/null | cksum; }

crashes() { grep -acE 'was terminated by signal|PANIC:' "$1/server.log" || true; }

# compare <suite> <label>: with heap's first run; a test is equal if its output is, byte for byte.
compare() {
  local base=$CORE/$1/heap-1/results mine=$CORE/$1/$2/results equal=0 different=() test
  : >"$CORE/$1/$2/heap.diffs"
  for test in "$base"/*.out; do
    test=$(basename "$test")
    if cmp -s "$base/$test" "$mine/$test"; then
      equal=$((equal + 1))
    else
      different+=("${test%.out}")
      diff -U3 "$base/$test" "$mine/$test" >>"$CORE/$1/$2/heap.diffs" 2>&1 || true
    fi
  done
  printf '%s %s: %s equal to heap, %s different, %s crashes\n' "$1" "$2" "$equal" "${#different[@]}" "$(crashes "$CORE/$1/$2")"
  if [ ${#different[@]} -gt 0 ]; then
    printf '  different: %s\n  differences: %s\n' "${different[*]}" "$CORE/$1/$2/heap.diffs"
  fi
  EQUAL=$equal
}

fetch_source
build_libraries
configuration
"$REPO/scripts/server.sh" prefix
status=0
[ "$SUITE" = both ] && SUITE="regress isolation"
for suite in $SUITE; do
  for base in heap-1 heap-2; do
    if [ "$FRESH" = yes ] || [ ${#TESTS[@]} -gt 0 ] || [ ! -e "$CORE/$suite/$base/server.log" ] ||
      [ "$(objects)" != "$(cat "$CORE/$suite/$base/objects" 2>/dev/null)" ]; then
      say "$suite: running $base"
      run_suite "$suite" "$base" heap
      objects >"$CORE/$suite/$base/objects"
      # A run of a few tests is no base line for the next whole run.
    fi
  done
  compare "$suite" heap-2
  if [ "$LABEL" != heap ]; then
    say "$suite: running $LABEL"
    run_suite "$suite" "$LABEL" "$AM" ${SETTINGS[@]+"${SETTINGS[@]}"}
    compare "$suite" "$LABEL"
    [ "$(crashes "$CORE/$suite/$LABEL")" = 0 ] || status=1
    [ "$EQUAL" -ge "$AT_LEAST" ] || status=1
  fi
  [ ${#TESTS[@]} = 0 ] || rm -f "$CORE/$suite"/heap-?/server.log
done
exit "$status"
