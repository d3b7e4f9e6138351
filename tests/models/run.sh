#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The models suite: random loads, partial updates and deletes on keyed tables against a model in memory.
# Clients that write at once follow where there are no arguments.
#   tests/models/run.sh [--seed N] [--seeds N] [--steps N] [--rule NAME] [--print]
#   tests/models/run.sh races | folds | snapshots [--seed N] [--seeds N] [--steps N]
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test}
"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
export PGOPTIONS='-c client_min_messages=warning'
psql -X -q -v ON_ERROR_STOP=1 -d postgres -c 'DROP DATABASE IF EXISTS models' -c 'CREATE DATABASE models'
psql -X -q -v ON_ERROR_STOP=1 -d models -c 'CREATE EXTENSION pg_doris'
case ${1:-} in races | folds | snapshots) exec python3 "$REPO/tests/models/$1.py" "${@:2}" ;; esac
python3 "$REPO/tests/models/models.py" "$@"
if [ $# -eq 0 ]; then
  python3 "$REPO/tests/models/races.py"
  python3 "$REPO/tests/models/folds.py"
  python3 "$REPO/tests/models/snapshots.py"
fi
