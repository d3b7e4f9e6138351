#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Looks for mistakes with what is made up at random: every fuzz target and property test of the library crates, then,
# on the private server, generated queries, DML, loads of keyed tables and mirrors under faults, with fresh seeds.
#   scripts/fuzz.sh [seconds per target] [crate ...]
# A crate's targets are those of its fuzz/ directory. Coverage-guided fuzzing needs cargo-fuzz; the property tests
# that take a budget (PROPTEST_CASES) run with a large one in any case. Naming crates leaves the server's parts out.
# FUZZ names the parts (crates queries twin models mirrors); each of the server's runs for SECONDS_PER_PART (300), and
# as long as the seed at hand takes. INSTALLED=yes takes the extension as it is installed, else it is built for release.
# What fails is told at the end, with the command that repeats it.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
LIMIT=${1:-60}
shift || true
crates=("$@")
PARTS=${FUZZ:-crates queries twin models mirrors}
if [ ${#crates[@]} -gt 0 ]; then PARTS=crates; else crates=(storage engine); fi
SECONDS_PER_PART=${SECONDS_PER_PART:-300}
export NAME=${NAME:-fuzz}
cd "$REPO"
FAILED=()

fuzz_crates() {
  local crate target
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
}

# rounds <command> <command> ...: one after the other, each with a seed of its own, until the time is up.
rounds() {
  local end=$((SECONDS + SECONDS_PER_PART)) command seed at=0
  while [ "$SECONDS" -lt "$end" ]; do
    seed=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
    command="${*:at % $# + 1:1} --seed $seed"
    at=$((at + 1))
    say "$command"
    # shellcheck disable=SC2086 # a command is a list of words
    $command || FAILED+=("$command")
  done
}

server() {
  [ "${INSTALLED:-}" = yes ] || "$REPO/scripts/server.sh" install
  "$REPO/scripts/server.sh" start
  eval "$("$REPO/scripts/server.sh" env)"
}

fuzz_queries() {
  local queries="python3 tests/queries/queries.py --count 200 --kind"
  rounds "$queries plain" "$queries hostile" "$queries odd" "$queries sessions" "$queries matrix"
}

fuzz_twin() {
  rounds "tests/twin/run.sh dml --seeds 1 --steps 60" "tests/twin/run.sh keys --seeds 1 --steps 60" "tests/twin/run.sh moves --seeds 1"
}

fuzz_models() {
  rounds "tests/models/run.sh --seeds 1" "tests/models/run.sh --seeds 1" "tests/models/run.sh races --seeds 1"
}

fuzz_mirrors() {
  rounds "tests/recovery/cdc.sh --rounds 3 --seconds 20"
}

case " $PARTS " in *" queries "* | *" twin "* | *" models "* | *" mirrors "*) server ;; esac
for part in $PARTS; do
  case $part in
    crates | queries | twin | models | mirrors) say "fuzzing: $part" && "fuzz_$part" ;;
    *) die "there is no part $part (crates queries twin models mirrors)" ;;
  esac
done
if [ ${#FAILED[@]} -gt 0 ]; then
  printf 'not ok - %s\n' "${FAILED[@]}"
  exit 1
fi
echo "ok - nothing was found"
