#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what a fresh Debian 12 with a Rust toolchain lacks, and only that. Safe to repeat: with nothing
# missing it takes a second and needs no network. The cluster that Debian creates on port 5432 is left alone.
#   scripts/deps.sh
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# PG's own packages where they are installed (a machine with the project's archive); otherwise Debian 12's, whose test
# tools also drive the servers of a wheel.
V=15
[ "$SERVER_FROM" != debian ] || V=$PG
PACKAGES=(
  "postgresql-$V" "postgresql-server-dev-$V" "postgresql-client-$V"
  libclang-dev gcc make pkg-config libc6-dev # pgrx's bindings
  libipc-run-perl python3 procps util-linux        # test runners
)
[ "$(id -u)" = 0 ] || PACKAGES+=(sudo)

# Other ways to the same thing count: a server on another distribution, a python that is not Debian's.
satisfied() {
  case $1 in
    python3 | gcc | make | pkg-config | sudo) have "$1" ;;
    procps) have ps ;;
    util-linux) have runuser ;;
    postgresql-server-dev-*)
      [ -e "/usr/include/postgresql/$V/server/postgres.h" ] && [ -x "/usr/lib/postgresql/$V/lib/pgxs/src/test/regress/pg_regress" ] ;;
    postgresql-*) [ -x "/usr/lib/postgresql/$V/bin/psql" ] && [ -x "/usr/lib/postgresql/$V/bin/postgres" ] ;;
    *) dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed ;;
  esac
}

missing=()
for package in "${PACKAGES[@]}"; do
  satisfied "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  have apt-get || die "missing: ${missing[*]} (this script installs with apt-get; elsewhere install them by hand)"
  root=()
  if [ "$(id -u)" != 0 ]; then
    have sudo || die "missing: ${missing[*]} (run as root, or install sudo)"
    root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
fi

have cargo || die "no Rust toolchain found: install one first (rustup.rs), stable, 1.90 or newer"
if [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $PGRX_VERSION" ]; then
  say "installing cargo-pgrx $PGRX_VERSION (about four minutes)"
  cargo install -q cargo-pgrx --version "$PGRX_VERSION" --locked
fi
# Registering again would touch the file on which every build of the bindings depends.
pgrx_config=${PGRX_HOME:-$HOME/.pgrx}/config.toml
if ! grep -qs "^pg$V" "$pgrx_config"; then
  say "registering PostgreSQL $V with pgrx"
  cargo pgrx init "--pg$V" "/usr/lib/postgresql/$V/bin/pg_config" >/dev/null
fi
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  say "note: rustfmt or clippy is missing (rustup component add rustfmt clippy): 'make lint' will fail"
fi
