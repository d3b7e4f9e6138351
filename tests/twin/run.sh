#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The twin suite: random DML on a columnar table and on a heap, which must hold the same rows.
#   tests/twin/run.sh [dml | keys | moves | errors] [--seed N] [--seeds N] [--steps N] [--print]
# dml is one session's statements; keys has upserts by a unique key; moves has compactions between the statements of
# several; errors has statements that fail. Default: all.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export NAME=${NAME:-test}
"$REPO/scripts/server.sh" start
eval "$("$REPO/scripts/server.sh" env)"
export PGOPTIONS='-c client_min_messages=warning'
psql -X -q -v ON_ERROR_STOP=1 -d postgres -c 'DROP DATABASE IF EXISTS twin' -c 'CREATE DATABASE twin'
psql -X -q -v ON_ERROR_STOP=1 -d twin -c 'ALTER DATABASE twin SET doris.compaction = off' -c 'CREATE EXTENSION pg_doris'
case ${1:-} in
  dml) shift; exec python3 "$REPO/tests/twin/twin.py" "$@" ;;
  keys) shift; exec python3 "$REPO/tests/twin/keys.py" "$@" ;;
  moves) shift; exec python3 "$REPO/tests/twin/moves.py" "$@" ;;
  errors) shift; exec python3 "$REPO/tests/twin/errors.py" "$@" ;;
esac
status=0
python3 "$REPO/tests/twin/twin.py" "$@" || status=1
python3 "$REPO/tests/twin/keys.py" "$@" || status=1
[ $# -gt 0 ] || python3 "$REPO/tests/twin/moves.py" || status=1
[ $# -gt 0 ] || python3 "$REPO/tests/twin/errors.py" || status=1
exit "$status"
