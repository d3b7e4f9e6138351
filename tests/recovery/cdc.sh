#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mirrors under faults: see cdc.py.
#   tests/recovery/cdc.sh [--am heap|doris] [--seed N] [--seconds N] [--rounds N] [--writers N]
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
mkdir -p "$STATE/recovery"
[ "$(id -u)" = 0 ] && chown postgres "$STATE/recovery"
PG_DORIS_BIN=$BIN PG_DORIS_RECOVERY=$STATE/recovery PYTHONDONTWRITEBYTECODE=1 \
  exec python3 "$REPO/tests/recovery/cdc.py" "$@"
