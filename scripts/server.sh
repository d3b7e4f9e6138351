#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A private PostgreSQL under target/: a relocated copy of the installed server with the extension in it,
# and a cluster on a socket of its own. Nothing outside target/ is written.
#   scripts/server.sh install [--debug]   build the extension and install it into the private server
#   scripts/server.sh start | stop | restart | psql [args] | env
# PG picks the major version (default 15); NAME picks the cluster (default dev).
set -euo pipefail
cd "$(dirname "$0")/.."
PG=${PG:-15}
NAME=${NAME:-dev}
ROOT=$PWD/target/pg$PG
SYSTEM_BIN=${SYSTEM_BIN:-/usr/lib/postgresql/$PG/bin}
BIN=$ROOT/lib/postgresql/$PG/bin
DATA=$ROOT/$NAME/data
RUN=$ROOT/$NAME/run
PORT=${PGPORT:-5432}
RUNUSER=()
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo "server.sh: no user 'postgres' to run the server as" >&2; exit 1; }
  RUNUSER=(runuser -u postgres --)
fi

prefix() {
  [ -x "$BIN/postgres" ] && return
  mkdir -p "$ROOT/lib/postgresql" "$ROOT/share/postgresql"
  cp -a "/usr/lib/postgresql/$PG" "$ROOT/lib/postgresql/"
  cp -aL "/usr/share/postgresql/$PG" "$ROOT/share/postgresql/"
  [ -d "/usr/include/postgresql" ] && { mkdir -p "$ROOT/include"; cp -a /usr/include/postgresql "$ROOT/include/"; }
  true
}

install_extension() {
  prefix
  local profile=(--release)
  [ "${1:-}" = --debug ] && profile=()
  (cd extension && cargo pgrx install "${profile[@]}" --no-default-features --features "pg$PG" --pg-config "$BIN/pg_config")
}

start() {
  mkdir -p "$RUN"
  if [ ! -d "$DATA" ]; then
    mkdir -p "$(dirname "$DATA")"
    [ "$(id -u)" = 0 ] && chown -R postgres "$ROOT/$NAME"
    "${RUNUSER[@]}" "$BIN/initdb" -D "$DATA" -U postgres --no-sync -E UTF8 --locale=C.UTF-8 >"$ROOT/$NAME.initdb.log"
    "${RUNUSER[@]}" tee -a "$DATA/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$RUN'
port = $PORT
shared_preload_libraries = 'pg_doris'
wal_level = logical
shared_buffers = ${SHARED_BUFFERS:-1GB}
max_wal_size = 8GB
log_line_prefix = '%m [%p] '
max_prepared_transactions = 10
CONF
  fi
  [ "$(id -u)" = 0 ] && chown postgres "$RUN"
  "${RUNUSER[@]}" "$BIN/pg_ctl" -D "$DATA" -l "$RUN/log" -w start >/dev/null
}

stop() { "${RUNUSER[@]}" "$BIN/pg_ctl" -D "$DATA" -m "${1:-fast}" -w stop >/dev/null; }

case ${1:-} in
  prefix) prefix ;;
  install) shift; install_extension "$@" ;;
  start) start ;;
  stop) shift; stop "$@" ;;
  restart) stop || true; start ;;
  psql) shift; exec "$BIN/psql" -h "$RUN" -p "$PORT" -U postgres "$@" ;;
  env) echo "export PATH=$BIN:\$PATH PGHOST=$RUN PGPORT=$PORT PGUSER=postgres" ;;
  *) sed -n '3,7p' "$0"; exit 2 ;;
esac
