#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generates TPC-H's data as CSV with a header line, once: target/tpch/sf<scale>/<table>.csv
#   bench/data.sh <scale>       prints the directory
# TPCH_DIR names another place than target/tpch, to share data between checkouts.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
SCALE=${1:-1}
GENERATOR_VERSION=4.0.0
DIR=${TPCH_DIR:-$TARGET/tpch}/sf$SCALE
if [ ! -e "$DIR/complete" ]; then
  tool=$TARGET/tools/bin/tpchgen-cli
  if [ ! -x "$tool" ]; then
    say "installing tpchgen-cli $GENERATOR_VERSION (three minutes on two idle cores)"
    cargo install -q tpchgen-cli --version "$GENERATOR_VERSION" --locked --root "$TARGET/tools" --target-dir "$TARGET/tools/build" >&2
    rm -rf "$TARGET/tools/build"
  fi
  say "generating TPC-H at scale factor $SCALE"
  mkdir -p "$DIR"
  "$tool" csv --scale-factor "$SCALE" --output-dir "$DIR" --overwrite --quiet >&2
  touch "$DIR/complete"
fi
echo "$DIR"
