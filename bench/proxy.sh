#!/usr/bin/env bash
# API calls through `perennial serve`, and through nginx as a reverse proxy, to one and the same TLS upstream: requests a
# second and latency, in pairs that take turns. `bench/proxy.sh [PAIRS]`; PRIORITY="chrt -f 10" puts all of it before
# whatever else the machine does. Needs cargo, nginx, wrk, openssl, taskset and python3 (Debian: nginx-light wrk).
#
# The proxies have one processor; the upstream (another nginx) and the load have the other. Everything is on loopback, and
# ends by itself.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pairs=${1:-5}
seconds=3
sockets=32
read -ra priority <<<"${PRIORITY:-}"
of_proxy=("${priority[@]}" taskset -c 0)
of_load=("${priority[@]}" taskset -c 1)
target="${CARGO_TARGET_DIR:-$PWD/target}"
perennial="${PERENNIAL_BIN:-$target/release/perennial}"
scratch="$(mktemp -d)"
started=()

finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

[[ -n ${PERENNIAL_BIN:-} ]] || cargo build --release --locked -p perennial-cli

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
sandbox=$(free_port) upstream=$(free_port) reverse=$(free_port) daemon=$(free_port)

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=upstream \
  -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1,DNS:upstream -keyout "$scratch/key.pem" -out "$scratch/upstream.pem" 2>/dev/null
body="$(printf 'x%.0s' {1..1024})"

nginx_config() {
  cat <<CONFIG
daemon off; worker_processes 1; pid $scratch/$1.pid; error_log $scratch/$1.log;
events { worker_connections 512; }
http {
  access_log off; keepalive_requests 10000000;
  client_body_temp_path $scratch/$1-a; proxy_temp_path $scratch/$1-b; fastcgi_temp_path $scratch/$1-c;
  uwsgi_temp_path $scratch/$1-d; scgi_temp_path $scratch/$1-e;
  $2
}
CONFIG
}
nginx_config upstream "server {
  listen 127.0.0.1:$upstream ssl; ssl_certificate $scratch/upstream.pem; ssl_certificate_key $scratch/key.pem;
  location /api { return 200 $body; }
  location / { proxy_pass https://127.0.0.1:$sandbox; }
}" >"$scratch/upstream.conf"
nginx_config reverse "upstream api { server 127.0.0.1:$upstream; keepalive 64; keepalive_requests 10000000; }
server {
  listen 127.0.0.1:$reverse;
  location / {
    proxy_pass https://api; proxy_http_version 1.1; proxy_set_header Connection \"\";
    proxy_set_header Authorization \"Bearer token\";
    proxy_ssl_verify on; proxy_ssl_trusted_certificate $scratch/upstream.pem; proxy_ssl_name upstream;
  }
}" >"$scratch/reverse.conf"

mkdir "$scratch/home"
export HOME="$scratch/home" PERENNIAL_STORE="sqlite:$scratch/home/perennial.db" PERENNIAL_BASE_URI="https://127.0.0.1:$upstream"
export PERENNIAL_MASTER_KEY="file:$scratch/master.key" PERENNIAL_CA_CERT="$scratch/upstream.pem"
"$perennial" sandbox --listen "127.0.0.1:$sandbox" --write-credentials "$scratch/credentials" >/dev/null 2>&1 &
started+=($!)
"${of_load[@]}" nginx -p "$scratch" -c "$scratch/upstream.conf" 2>/dev/null &
started+=($!)
"${of_proxy[@]}" nginx -p "$scratch" -c "$scratch/reverse.conf" 2>/dev/null &
started+=($!)
for _ in {1..100}; do [[ -s $scratch/credentials/credentials.json && -s $scratch/reverse.pid ]] && break; sleep 0.1; done
"$perennial" add acme --from-dir "$scratch/credentials" >/dev/null 2>&1
python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["companyRequestToken"], end="")' \
  "$scratch/credentials/credentials.json" >"$scratch/request-token"
"$perennial" reauthorize acme --request-token-file "$scratch/request-token" </dev/null >/dev/null
export PERENNIAL_SERVE_ACCESS_CLIENTS="$scratch/clients.json" PERENNIAL_SERVE_ALERTS_OUTBOX="$scratch/alerts"
key="$("$perennial" client add bench --may proxy 2>/dev/null)"
"${of_proxy[@]}" "$perennial" serve --socket "$scratch/perennial.sock" --listen "127.0.0.1:$daemon" --quiet 2>"$scratch/daemon.log" &
started+=($!)
ours="http://127.0.0.1:$daemon/v1/connections/acme/proxy/api" theirs="http://127.0.0.1:$reverse/api"
for _ in {1..100}; do curl -sf -o /dev/null -H "Authorization: Bearer $key" "$ours" && break; sleep 0.1; done
[[ "$(curl -sf -H "Authorization: Bearer $key" "$ours")" == "$body" && "$(curl -sf "$theirs")" == "$body" ]] ||
  { echo "error: the two do not answer the same" >&2; curl -s -H "Authorization: Bearer $key" "$ours" | head -c 300 >&2; curl -s "$theirs" | head -c 200 >&2; cat "$scratch/reverse.log" >&2; cat "$scratch/daemon.log" >&2; exit 1; }

# Requests a second, and the median latency in microseconds.
measure() {
  "${of_load[@]}" wrk -t 1 -c "$sockets" -d "${seconds}s" --latency -H "Authorization: Bearer $key" "$1" |
    awk '/50%/ { t = $2; unit = t; gsub(/[0-9.]/, "", unit); t += 0; if (unit == "ms") t *= 1000; if (unit == "s") t *= 1e6 }
         /Requests\/sec/ { rate = $2 } /Non-2xx/ { bad = $0 } END { if (bad != "") { print bad > "/dev/stderr"; exit 1 } print rate, t }'
}
measure "$ours" >/dev/null
measure "$theirs" >/dev/null
for ((pair = 0; pair < pairs; pair++)); do
  if ((pair % 2)); then a="$(measure "$ours")" b="$(measure "$theirs")"; else b="$(measure "$theirs")" a="$(measure "$ours")"; fi
  echo "$a $b"
done | python3 -c '
import statistics, sys
rows = [list(map(float, line.split())) for line in sys.stdin]
ratios = sorted(row[0] / row[2] for row in rows)
median = lambda column: statistics.median(row[column] for row in rows)
print(f"perennial serve: {median(0):,.0f}/s, median latency {median(1):,.0f} us")
print(f"nginx:           {median(2):,.0f}/s, median latency {median(3):,.0f} us")
print(f"ratio of requests: {statistics.median(ratios):.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f}), {len(rows)} pairs")
'
