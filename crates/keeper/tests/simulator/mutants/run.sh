#!/usr/bin/env bash
# The mutation check: breaks one law at a time and shows that the simulator notices. A simulator that catches nothing
# proves nothing.
#
#   run.sh                        every mutant
#   run.sh --only NAME [NAME...]  some of them
#   SEEDS=5000 run.sh             how many seeds a mutant may survive (2000, or what its patch says)
#
# Works in a copy of the tree in a temporary directory, which it removes; nothing here is written. Prints a table; ends
# with 1 when a mutant was not caught, or caught as another law than the patch says, or when a patch no longer applies.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(git -C "$here" rev-parse --show-toplevel)"

mutants=()
if [[ ${1:-} == --only ]]; then
  shift
  mutants=("$@")
else
  for patch in "$here"/*.patch; do
    mutants+=("$(basename "$patch" .patch)")
  done
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$work")
# What has been built of the dependencies already need not be built again.
warm="${CARGO_TARGET_DIR:-$root/target}/debug"
if [[ -d $warm/deps ]]; then
  mkdir -p "$work/target/debug"
  cp -a --reflink=auto "$warm/deps" "$warm/build" "$warm/.fingerprint" "$work/target/debug/"
fi
cd "$work"
export CARGO_TARGET_DIR="$work/target"

# Prints where the simulator is, built from the tree as it stands.
build() {
  cargo test --locked -p perennial --test simulator --no-run --message-format=json 2>"$work/build.log" |
    sed -n 's/.*"executable":"\([^"]*simulator[^"]*\)".*/\1/p' | tail -n 1
}

# Runs so many seeds; prints "LAW SEED" of the first that was found to break a law.
hunt() {
  SIMULATE_BRIEF=1 SIMULATE_SEEDS="$2" "$1" no_seed --nocapture 2>&1 |
    sed -n 's/^run \([0-9]*\) breaks law \([0-9]*\):.*/\2 \1/p' | sort -k2n | head -n 1
}

failed=0
printf '| mutant | what is broken | law | caught as law | after seeds |\n|---|---|---|---|---|\n'
for mutant in "${mutants[@]}"; do
  patch="$here/$mutant.patch"
  if [[ ! -f $patch ]]; then
    echo "error: there is no mutant '$mutant' in $here" >&2
    exit 2
  fi
  law="$(sed -n '1s/^law \([0-9]*\):.*/\1/p' "$patch")"
  what="$(sed -n '1s/^law [0-9]*: //p' "$patch")"
  seeds="${SEEDS:-$(sed -n '2s/^seeds: //p' "$patch")}"
  seeds="${seeds:-2000}"
  if ! git apply --whitespace=nowarn "$patch" 2>"$work/apply.log"; then
    printf '| %s | %s | %s | THE PATCH NO LONGER APPLIES | |\n' "$mutant" "$what" "$law"
    cat "$work/apply.log" >&2
    failed=1
    continue
  fi
  simulator="$(build)"
  if [[ -z $simulator ]]; then
    printf '| %s | %s | %s | DOES NOT BUILD | |\n' "$mutant" "$what" "$law"
    grep -E '^error' -A 8 "$work/build.log" >&2 || true
    failed=1
  else
    read -r found seed <<<"$(hunt "$simulator" "$seeds")" || true
    if [[ -z ${found:-} ]]; then
      printf '| %s | %s | %s | NOT CAUGHT | %s |\n' "$mutant" "$what" "$law" "$seeds"
      failed=1
    else
      printf '| %s | %s | %s | %s | %s |\n' "$mutant" "$what" "$law" "$found" "$((seed + 1))"
    fi
  fi
  git apply --whitespace=nowarn --reverse "$patch"
done
exit "$failed"
