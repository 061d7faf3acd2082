#!/usr/bin/env bash
# What a store of many connections costs: `bench/scale.sh [COUNT…]`, by default 1000 30000 1000000.
#
# Needs cargo, python3 for the picture, some 15 GB of disk for a million connections, and a machine that does little else
# meanwhile. PostgreSQL is measured where its programs are installed: a server is started in the scratch directory and
# ended with the script. Writes bench/results/scale.jsonl and docs/scale.svg.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

counts=("$@")
if ((${#counts[@]} == 0)); then counts=(1000 30000 1000000); fi

# Databases lie where the project does: /tmp may be memory.
scratch="$(mktemp -d "$PWD/target/scale.XXXXXX")"
server=

finish() {
  if [[ -n $server ]]; then
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap finish EXIT

# The newest server that Debian or a PATH has.
programs() {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) $(dirname "$(command -v initdb || echo /none/x)"); do
    if [[ -x $dir/initdb && -x $dir/postgres ]]; then
      echo "$dir"
      return
    fi
  done
}

# A server of its own, on a socket in the scratch directory; it refuses to be run by root.
start_postgres() {
  local bin="$1" as=()
  mkdir "$scratch/postgres"
  if ((EUID == 0)); then
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody:nogroup "$scratch/postgres"
    chmod a+x "$scratch"
  fi
  "${as[@]}" "$bin/initdb" --pgdata="$scratch/postgres/data" --username=perennial --auth=trust --encoding=UTF8 \
    --locale=C >/dev/null
  "${as[@]}" "$bin/postgres" -D "$scratch/postgres/data" -k "$scratch/postgres" -c listen_addresses= \
    -c max_connections=200 >"$scratch/postgres.log" 2>&1 &
  server=$!
  for _ in {1..100}; do
    if [[ -S $scratch/postgres/.s.PGSQL.5432 ]]; then break; fi
    sleep 0.1
  done
}

results=bench/results/scale.jsonl
mkdir -p bench/results
measure() { cargo bench --locked --quiet --package perennial --bench scale -- "$1" "${counts[@]}" | tee -a "$results"; }

: >"$results"
measure "sqlite:$scratch/sqlite"
rm -rf "$scratch/sqlite"
bin="$(programs)"
if [[ -n $bin ]]; then
  start_postgres "$bin"
  measure "postgres:///postgres?host=$scratch/postgres&user=perennial&pool=64"
else
  echo "skipped: PostgreSQL is not installed here" >&2
fi
python3 bench/curves.py "$results" docs/scale.svg
echo "kept in $results, and drawn in docs/scale.svg"
