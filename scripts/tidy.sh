#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The rules of the tree that no compiler checks. Each prints "ok - rule", or "not ok - rule" with the places.
#   scripts/tidy.sh
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$REPO"
failed=0
# What git knows or would add: nothing that was built.
mapfile -t FILES < <(git ls-files --cached --others --exclude-standard | sort -u | while read -r f; do
  if [ -f "$f" ]; then printf '%s\n' "$f"; fi
done)

of() { printf '%s\n' "${FILES[@]}" | grep -E "$1" || true; }

# rule <sentence> <places, one a line; none is good>
rule() {
  if [ -z "$2" ]; then
    echo "ok - $1"
  else
    echo "not ok - $1"
    printf '%s\n' "$2" | sed 's/^/    /'
    failed=1
  fi
}
# report <sentence> <places>: shown, not failed: a rule that the tree does not keep everywhere yet.
report() {
  [ -z "$2" ] || { echo "note - $1"; printf '%s\n' "$2" | sed 's/^/    /'; }
}

spdx_missing() {
  of '\.(rs|sh|py|yml|toml|sql|spec)$|(^|/)(Makefile|run)$' | grep -vE '(^|/)(Cargo|rustfmt|clippy|deny)\.toml$|^tests/.*\.(sql|spec)$|/\.cargo/' |
    while read -r f; do
      head -3 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f"
    done
}

# The words are put together here so that this file does not hold them.
unfinished() { of '\.(rs|sh|py|yml|toml|sql|spec|md|conf)$' | xargs -r grep -nwE "TO""DO|FIX""ME|XX""X" || true; }
machine_paths() { of '.' | grep -v '^Cargo.lock$' | xargs -r grep -nIE '/(wo''rk|ro''ot|ho''me)/[a-z.]' || true; }

control_version() { sed -nE "s/^version = \"([^\"]+)\"/\1/p" Cargo.toml | head -1; }
# Every released version leads to the next by a script: sql/ holds pg_doris--a--b.sql for each pair in CHANGELOG.
upgrades_missing() {
  local previous='' version
  while read -r version; do
    if [ -n "$previous" ] && [ ! -e "sql/pg_doris--$previous--$version.sql" ]; then
      echo "sql/pg_doris--$previous--$version.sql"
    fi
    previous=$version
  done < <(sed -nE 's/^## \[([0-9]+\.[0-9]+\.[0-9]+)\].*/\1/p' CHANGELOG.md | sort -V)
}
# The version in Cargo.toml is the newest in CHANGELOG, or a later one that is not released yet.
version_behind() {
  local newest
  newest=$(sed -nE 's/^## \[([0-9]+\.[0-9]+\.[0-9]+)\].*/\1/p' CHANGELOG.md | sort -V | tail -1)
  [ "$(printf '%s\n%s\n' "$newest" "$(control_version)" | sort -V | tail -1)" = "$(control_version)" ] ||
    echo "Cargo.toml says $(control_version), CHANGELOG.md $newest"
}

# Raw pg_sys lives in extension/src/pg/; the shells of callbacks (am/callbacks*, hooks), and modules of cdc/ that work on relations and slots, may name its types.
raw_pg_sys() {
  of '^extension/src/.*\.rs$' | grep -vE '^extension/src/pg(/|\.rs)|callbacks|shells?\.rs$|hooks?\.rs$|^extension/src/cdc/(mirror_relation|full_row_lookup|key_lookup|row_converter|wal_retention)\.rs$' |
    xargs -r grep -cHE 'pg_sys::' | grep -v ':0$' | sed 's/:/: uses: /' || true
}
postgres_in_libraries() { of '^(engine|storage|cdc)/' | grep -E '\.(rs|toml)$' | xargs -r grep -nE '\bpgrx\b|pg_sys' || true; }
unsafe_in_libraries() { of '^(engine|storage|cdc)/src/.*\.rs$' | xargs -r grep -nE '\bunsafe\b *(\{|fn|impl)' || true; }
long_files() { of '\.rs$' | xargs -r wc -l | awk '$2 != "total" && $1 > 750 { print $2 ": " $1 " lines" }'; }
# A function ends with the brace at its own indentation, as rustfmt has it.
long_functions() {
  of '/src/.*\.rs$' | grep -v test | xargs -r awk '
    FNR == 1 { name = "" }
    name == "" && match($0, /^ *(pub(\([^)]*\))? )?(const )?(unsafe )?(extern "[^"]*" )?fn [a-z0-9_]+/) {
      name = substr($0, 1, RLENGTH); indent = name; start = FNR
      sub(/[^ ].*/, "", indent); sub(/.* /, "", name)
      if ($0 ~ /}$/) name = ""
    }
    name != "" && ($0 ~ "^" indent "(\\).*|fn .*|pub .*);$" || $0 == indent "}") {
      if (FNR - start >= 90) print FILENAME ":" start ": " name ", " FNR - start + 1 " lines"
      name = ""
    }'
}
wide_comments() { of '\.rs$' | xargs -r awk '/^ *\/\// && length($0) > 120 { print FILENAME ":" FNR }'; }
unscheduled() {
  local f name
  for f in tests/pg_regress/sql/*.sql tests/isolation/specs/*.spec; do
    [ -e "$f" ] || continue
    name=$(basename "${f%.*}")
    grep -qE "^test:.*[[:space:]]$name([[:space:]]|$)" "$(dirname "$(dirname "$f")")/schedule" || echo "$f"
  done
}
unexpected() {
  local f base
  for f in tests/pg_regress/sql/*.sql tests/isolation/specs/*.spec; do
    [ -e "$f" ] || continue
    base=$(basename "${f%.*}")
    [ -e "$(dirname "$(dirname "$f")")/expected/$base.out" ] || echo "$f"
  done
}
# A link in a page leads somewhere.
dead_links() {
  of '\.md$' | while read -r f; do
    grep -oE '\]\([^)#: ]+[)#]' "$f" | sed -E 's/^\]\(//; s/[)#]$//' | while read -r link; do
      [ -e "$(dirname "$f")/$link" ] || echo "$f: $link"
    done
  done
}
# constant <name> <file>: its value, computed.
constant() {
  local value
  value=$(sed -nE "s/^ *(pub(\\([a-z]+\\))? )?const $1: [a-z0-9]+ = ([0-9a-fx_ <*+-]+);.*/\\3/p" "$2" 2>/dev/null | tr -d _ | sed -E 's/[iu](8|16|32|64|size)//')
  [ -z "$value" ] || echo $((value))
}
# docs/storage-format.md gives the numbers of the code, and all of those of the chunk ids.
format_numbers() {
  local page=docs/storage-format.md keys=extension/src/store/chunk_ids.rs name value rest file
  grep -E '^\| `[A-Z_]+` \| [0-9]+ \| ' "$page" | tr -d '`' | while IFS='|' read -r _ name value rest _; do
    name=${name// /} value=${value// /} file=${rest// /}
    [ -e "$file" ] || file=$keys
    [ "$(constant "$name" "$file")" = "$value" ] || echo "$page: $name is not $value in $file"
  done
  sed -nE 's/^(pub )?const ([A-Z_]+):.*/\2/p' "$keys" | while read -r name; do
    grep -qE "^\\| \`$name\` \| [0-9]+ \|" "$page" || echo "$page: $name of $keys is missing"
  done
}
# The README's tour is run by the test `tour`, behind three lines of set-up.
# shellcheck disable=SC2016 # back-ticks of Markdown
tour() { sed -n '/^## Five minutes/,/^## /p' README.md | sed -n '/^```sql/,/^```/p' | grep -vE '^```|^CREATE EXTENSION'; }
untested_tour() { diff <(tour) <(tail -n +4 tests/pg_regress/sql/tour.sql) || true; }
shell_mistakes() {
  have shellcheck || return 0
  of '(\.sh|/run)$' | xargs -r shellcheck -x -f gcc 2>&1 || true
}

rule "every source file names its licence" "$(spdx_missing)"
rule "nothing is left unfinished in the tree" "$(unfinished)"
rule "no text names a path of one machine" "$(machine_paths)"
rule "every released version has its upgrade script" "$(upgrades_missing)"
rule "the version is not behind the change log" "$(version_behind)"
rule "the library crates know nothing of PostgreSQL" "$(postgres_in_libraries)"
rule "the library crates have no unsafe code" "$(unsafe_in_libraries)"
rule "every test is in its schedule" "$(unscheduled)"
rule "every test has its expected output" "$(unexpected)"
rule "every link in a page leads somewhere" "$(dead_links)"
rule "the page of the storage format has the numbers of the code" "$(format_numbers)"
rule "the README's tour is what is tested" "$(untested_tour)"
rule "shell scripts have no known mistake" "$(shell_mistakes)"
report "raw pg_sys outside extension/src/pg and the shells" "$(raw_pg_sys)"
report "files over 750 lines" "$(long_files)"
report "functions over 90 lines" "$(long_functions)"
report "comments wider than 120 columns" "$(wide_comments)"
exit "$failed"
