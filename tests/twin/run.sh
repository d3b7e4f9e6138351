#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The twin suite: random DML on a columnar table and on a heap, which must hold the same rows.
#   tests/twin/run.sh [--seed N] [--seeds N] [--steps N] [--print]
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test}
"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
export PGOPTIONS='-c client_min_messages=warning'
psql -X -q -v ON_ERROR_STOP=1 -d postgres -c 'DROP DATABASE IF EXISTS twin' -c 'CREATE DATABASE twin'
psql -X -q -v ON_ERROR_STOP=1 -d twin -c 'CREATE EXTENSION pg_doris'
exec python3 "$REPO/tests/twin/twin.py" "$@"
