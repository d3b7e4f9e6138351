#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recovery suite: throw-away clusters under target/recovery/, killed, copied, upgraded and damaged.
#   tests/recovery/run.sh [--am heap|doris] [--seconds N] [--rounds N] [--seed N] [--set NAME=VALUE] [--keep] [scenario ...]
# Needs the extension in the private server (scripts/server.sh install). --am heap checks the harness itself, --set synchronous_commit=off that
# it finds what is lost.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
"$REPO/scripts/server.sh" prefix
mkdir -p "$STATE/recovery"
[ "$(id -u)" = 0 ] && chown postgres "$STATE/recovery"
# The newer server of the upgrade scenario, if it has been made and holds the extension.
newer=$(PG_PREFIX="" PG=18 "$REPO/scripts/server.sh" bin)
[ "$PG" != 18 ] && [ -x "$newer/postgres" ] || newer=
PG_DORIS_BIN=$BIN PG_DORIS_NEWER_BIN=$newer PG_DORIS_RECOVERY=$STATE/recovery PYTHONDONTWRITEBYTECODE=1 \
  exec python3 "$REPO/tests/recovery/scenarios.py" --am "${AM:-doris}" "$@"
