#!/usr/bin/env bash
# Installs what the servers here need, in the versions of the lock files, below a directory outside the tree: the tests
# look in `foreign` below cargo's target directory. What is there already stays. Needs npm, and python3 with venv.
#
#   foreign/install.sh [DIRECTORY]

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
to="${1:-${CARGO_TARGET_DIR:-$here/../target}/foreign}"
mkdir -p "$to"
to="$(cd "$to" && pwd)"

# The sum of the files that say what belongs there: once it stands in a directory, that is whole.
sum() {
  cat "$@" | sha256sum | cut -c 1-32
}

is_installed() {
  [[ -f $1/installed && $(<"$1/installed") == "$2" ]]
}

install_node() {
  local source="$here/node-oidc-provider" target="$to/node" wanted
  wanted="$(sum "$source/package.json" "$source/package-lock.json")"
  if is_installed "$target" "$wanted"; then
    return
  fi
  rm -rf "$target"
  mkdir "$target"
  cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$target"
  (cd "$target" && npm ci --silent)
  echo "$wanted" >"$target/installed"
}

install_python() {
  local target="$to/python" wanted
  wanted="$(sum "$here/requirements.txt")"
  if is_installed "$target" "$wanted"; then
    return
  fi
  rm -rf "$target"
  python3 -m venv "$target"
  "$target/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement "$here/requirements.txt"
  echo "$wanted" >"$target/installed"
}

install_node
install_python
echo "foreign servers: $to"
