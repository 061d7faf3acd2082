#!/usr/bin/env bash
# What the daemon costs, beside the least that could do the same: `bench/serve.sh [CONNECTIONS [PAIRS]]`, by default
# 1000000 and 9; 20000 3 for a quick look.
#
# Needs Linux with two processors, cargo, taskset, curl, python3, and some 8 GB of disk for a million connections. The
# store is kept for half a day (its tokens live a day) in target/serve and used again. Writes bench/results/serve.jsonl,
# docs/serve.svg and a table. PARTS="idle hand-outs storm" leaves some out; PRIORITY="chrt -f 10" puts servers and load
# before whatever else the machine does. All of it stays on loopback: nothing in the store is due, so nothing is sent.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

connections="${1:-1000000}"
pairs="${2:-9}"
parts="${PARTS:-idle hand-outs storm}"
read -ra priority <<<"${PRIORITY:-}"
hot=10000
requests=100000
sockets=64
target="${CARGO_TARGET_DIR:-$PWD/target}"
kept="$target/serve"
store="$kept/quiet$connections/perennial.db"
results=bench/results/serve.jsonl
scratch="$(mktemp -d)"
started=()

finish() {
  local pid
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$scratch"
}
trap finish EXIT

# Nobody's own settings, and a proxy that is not there for whatever might leave this machine.
bare=(env -i "PATH=$PATH" "HOME=$scratch/home" HTTPS_PROXY=http://127.0.0.1:9)
# The server has one processor, the load the other.
of_server=("${priority[@]}" taskset -c 0)
of_load=("${priority[@]}" taskset -c 1)
perennial_bin="${PERENNIAL_BIN:-$target/release/perennial}"
floor_bin="$target/floor/release/axum-floor"
load_bin="$target/floor/release/load"
mkdir -p "$scratch/home" "$kept" bench/results

build() {
  if [[ -z ${PERENNIAL_BIN:-} ]]; then
    cargo build --release --locked --package perennial-cli --target-dir "$target"
  fi
  cargo build --release --locked --manifest-path bench/floor/Cargo.toml --target-dir "$target/floor"
}

scale() { cargo bench --locked --quiet --package perennial --bench scale --target-dir "$target/bench" -- "$@"; }

# A store with nothing due, and the names of those that are asked for, spread over it.
fill() {
  if [[ -z $(find "$kept/filled-$connections" -mmin -720 2>/dev/null) ]]; then
    rm -rf "$kept/quiet$connections"
    scale "sqlite:$kept" quiet "$connections"
    touch "$kept/filled-$connections"
  fi
  local among=$((connections < hot ? connections : hot))
  seq 0 $((connections / among)) $((connections - 1)) | head -n "$among" |
    awk '{ printf "customer-%07d\n", $1 }' >"$scratch/names"
}

tell() { echo "$1" | tee -a "$results"; }
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

# Starts the daemon, and says how long it took until it was ready.
start_daemon() {
  socket="$scratch/perennial.sock"
  key="$("${bare[@]}" "$perennial_bin" client add bench --set "access.clients=\"$scratch/clients.json\"" 2>/dev/null)"
  local begun="${EPOCHREALTIME/./}"
  "${of_server[@]}" "${bare[@]}" "$perennial_bin" serve --store "sqlite:$store" \
    --master-key "file:$kept/keys/master.key" --socket "$socket" --listen 127.0.0.1:0 \
    --set "access.clients=\"$scratch/clients.json\"" --set log.level=warn 2>"$scratch/daemon.log" &
  daemon=$!
  started+=("$daemon")
  until curl --silent --fail --output /dev/null --unix-socket "$socket" http://localhost/ready 2>/dev/null; do
    if ! kill -0 "$daemon" 2>/dev/null; then
      cat "$scratch/daemon.log" >&2
      exit 1
    fi
    sleep 0.005
  done
  ready=$(((${EPOCHREALTIME/./} - begun) / 1000))
  tcp="$(sed -n 's/.*listening on \(127[0-9.:]*\).*/\1/p' "$scratch/daemon.log" | head -n 1)"
}

# Nanoseconds of processor time of all threads.
cpu() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d", sum }'; }
kilobytes() { sed -n "s/^$2:[^0-9]*\([0-9]*\) kB/\1/p" "/proc/$1/status"; }

idle() {
  local before after
  sleep 2
  before="$(cpu "$daemon")"
  sleep 20
  after="$(cpu "$daemon")"
  tell "{\"what\":\"idle\",\"connections\":$connections,\"ready_ms\":$ready,\"cpu_percent\":$(
    awk "BEGIN { printf \"%.3f\", ($after - $before) / 2e8 }"
  ),\"resident_kb\":$(kilobytes "$daemon" VmRSS),\"threads\":$(threads "$daemon")}"
}
threads() { sed -n 's/^Threads:[^0-9]*//p' "/proc/$1/status"; }

start_floor() {
  "${of_server[@]}" "${bare[@]}" "$floor_bin" "$1" "$scratch/body" "${@:2}" &
  floor=$!
  started+=("$floor")
  sleep 0.3
}

# One run: what it is called, where, whose server.
measure() {
  local line
  line="$("${of_load[@]}" env LOAD_KEY="$4" "$load_bin" "$2" "$scratch/names" "$requests" "$sockets" "$3")"
  tell "{\"what\":\"hand-outs\",\"server\":\"${1% *}\",\"over\":\"${1#* }\",\"pair\":$pair,${line#\{}"
}

hand_outs() {
  local over pair
  curl --silent --fail --unix-socket "$socket" "http://localhost/v1/connections/$(head -n 1 "$scratch/names")/token" \
    >"$scratch/body"
  # One body for all, and one for each name.
  start_floor 127.0.0.1:18470
  local one_tcp=$floor
  start_floor "$scratch/one.sock"
  local one_unix=$floor
  start_floor 127.0.0.1:18471 "$scratch/names"
  local many_tcp=$floor
  start_floor "$scratch/many.sock" "$scratch/names"
  local many_unix=$floor
  # Every name once, and once more when what was read has been seen anew.
  "${of_load[@]}" env LOAD_KEY="$key" "$load_bin" "$tcp" "$scratch/names" "$hot" 8 "$daemon" >/dev/null
  sleep 5
  "${of_load[@]}" env LOAD_KEY="$key" "$load_bin" "$tcp" "$scratch/names" "$hot" 8 "$daemon" >/dev/null
  for ((pair = 1; pair <= pairs; pair++)); do
    for over in tcp unix; do
      # Over the unix socket the kernel says who asks.
      local own=("perennial $over" "$tcp" "$daemon" "$key")
      local one=("floor $over" 127.0.0.1:18470 "$one_tcp" "$key")
      local many=("many $over" 127.0.0.1:18471 "$many_tcp" "$key")
      if [[ $over == unix ]]; then
        own=("perennial $over" "$socket" "$daemon" "")
        one=("floor $over" "$scratch/one.sock" "$one_unix" "")
        many=("many $over" "$scratch/many.sock" "$many_unix" "")
      fi
      if ((pair % 2)); then
        measure "${own[@]}"
        measure "${one[@]}"
        measure "${many[@]}"
      else
        measure "${many[@]}"
        measure "${one[@]}"
        measure "${own[@]}"
      fi
    done
  done
  tell "{\"what\":\"memory\",\"hot\":$hot,\"resident_kb\":$(kilobytes "$daemon" VmRSS),\"peak_kb\":$(kilobytes "$daemon" VmHWM)}"
}

storm() {
  local count=$((connections < 100000 ? connections : 100000)) stage
  for stage in apart storm; do
    rm -rf "${kept:?}/$stage$count"
    local line
    line="$(scale "sqlite:$kept" "$stage" "$count")"
    tell "{\"what\":\"$stage\",\"connections\":$count,${line#\{}"
    rm -rf "${kept:?}/$stage$count"
  done
}

if [[ -z ${SKIP_BUILD:-} ]]; then build; fi
: >"$results"
if [[ $parts == *idle* || $parts == *hand-outs* ]]; then
  fill
  start_daemon
fi
if [[ $parts == *idle* ]]; then idle; fi
if [[ $parts == *hand-outs* ]]; then
  hand_outs
  kill "$daemon"
  wait "$daemon" || true
fi
if [[ $parts == *storm* ]]; then storm; fi
echo
python3 bench/bars.py "$results" docs/serve.svg | tee bench/results/serve.md
