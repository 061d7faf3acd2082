#!/usr/bin/env bash
# How long `perennial token` takes beside a program that only reads and parses the same file: `bench/run.sh [PAIRS]`.
#
# Needs cargo, and a machine that does little else meanwhile. Writes bench/results/ and prints the same table.
# PERENNIAL_BIN measures another binary than the one that is built here.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pairs="${1:-500}"
target="${CARGO_TARGET_DIR:-$PWD/target}"
scratch="$(mktemp -d)"
sandbox_pid=

finish() {
  if [[ -n $sandbox_pid ]]; then
    kill "$sandbox_pid" 2>/dev/null || true
    wait "$sandbox_pid" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap finish EXIT

# Nobody's own settings, nobody's own rescue files: a handful of variables, as a service has.
bare=(env -i "PATH=$PATH" "HOME=$scratch/home")

if [[ -z ${PERENNIAL_BIN:-} ]]; then
  cargo build --release --locked --package perennial-cli --target-dir "$target"
fi
cargo build --release --locked --manifest-path bench/floor/Cargo.toml --target-dir "$target/floor"
perennial_bin="${PERENNIAL_BIN:-$target/release/perennial}"

# A directory as `perennial run` makes it, with a token that a server issued.
mkdir "$scratch/home"
dir="$scratch/acme"
"${bare[@]}" "$perennial_bin" sandbox --write-credentials "$dir" >"$scratch/ready.json" 2>/dev/null &
sandbox_pid=$!
for _ in {1..100}; do
  if [[ -s $scratch/ready.json ]]; then break; fi
  sleep 0.1
done
base_uri="$(sed -n 's/.*"base_uri":"\([^"]*\)".*/\1/p' "$scratch/ready.json")"
"${bare[@]}" "$perennial_bin" run --dir "$dir" --base-uri "$base_uri" --ca-cert "$dir/sandbox-ca.pem" >/dev/null
kill "$sandbox_pid"
wait "$sandbox_pid" || true
sandbox_pid=

# The same connection once more, in a sealed database.
mkdir -m 700 "$scratch/sealed" "$scratch/keys"
store="sqlite:$scratch/sealed/perennial.db"
key="file:$scratch/keys/master.key"
sealed=("PERENNIAL_STORE=$store" "PERENNIAL_MASTER_KEY=$key")
"${bare[@]}" "${sealed[@]}" "$perennial_bin" import "$dir" >/dev/null

floor_bin="$target/floor/release/floor"
expected="$("$floor_bin" "$dir")"
if [[ $expected != "$("${bare[@]}" "$perennial_bin" token --dir "$dir")" ||
  $expected != "$("${bare[@]}" "${sealed[@]}" "$perennial_bin" token)" ]]; then
  echo "error: the two commands print different tokens, so their times cannot be compared" >&2
  exit 1
fi

results="bench/results/$(date -u +%Y-%m-%dT%H%M%SZ).md"
mkdir -p bench/results
{
  echo "$(date -u +%Y-%m-%d), $(uname -sm), $(getconf _NPROCESSORS_ONLN) processors, $(rustc --version)"
  echo
  "${bare[@]}" \
    "$target/floor/release/race" "$pairs" "$floor_bin" "$perennial_bin" "$dir" "$store" "$key"
} | tee "$results"
echo
echo "written to $results"
