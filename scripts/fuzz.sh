#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target that the library crates have, one after the other, each for some seconds.
#   scripts/fuzz.sh [seconds per target] [crate ...]
# A crate's targets are those of its fuzz/ directory. Coverage-guided fuzzing needs cargo-fuzz; the property tests
# that take a budget (PROPTEST_CASES) run with a large one in any case.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
LIMIT=${1:-60}
shift || true
crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=(storage engine)
cd "$REPO"
for crate in "${crates[@]}"; do
  say "$crate: property tests with many cases"
  PROPTEST_CASES=${PROPTEST_CASES:-20000} cargo test --release --manifest-path "$crate/Cargo.toml"
  [ -d "$crate/fuzz/fuzz_targets" ] || continue
  have cargo-fuzz || cargo install -q cargo-fuzz --locked
  for target in "$crate"/fuzz/fuzz_targets/*.rs; do
    say "$crate: fuzzing $(basename "${target%.rs}") for $LIMIT s"
    # Sanitizers need nightly features of a stable compiler; the decoders are safe code, panics are what counts.
    (cd "$crate" && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$(basename "${target%.rs}")" -- -max_total_time="$LIMIT" -rss_limit_mb=4096)
  done
done
