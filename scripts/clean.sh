#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Stops the private servers of this checkout and removes everything that was built.
#   scripts/clean.sh
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
for pidfile in "$STATE"/pg*/*/data/postmaster.pid "$STATE"/recovery/*/*/postmaster.pid; do
  [ -e "$pidfile" ] || continue
  pid=$(head -1 "$pidfile")
  # Only a postmaster whose directory is the pid file's: the number may be another process's by now.
  if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(dirname "$(readlink -f "$pidfile")")" ]; then
    kill -INT "$pid"
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
done
rm -rf "${TARGET:?}"
[ "$STATE" = "$TARGET" ] || rm -rf "${STATE:?}"
