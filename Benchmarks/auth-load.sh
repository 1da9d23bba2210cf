#!/bin/sh
# The auth worker's speed beside redis-benchmark's with the same command and the same Redis. Needs `make build`.
set -eu
cd "$(dirname "$0")/.."

devices="${DEVICES:-100000}"
folder=$(mktemp -d)
redis=""
worker=""
finish() {
    [ -z "$worker" ] || kill "$worker" 2>/dev/null || true
    [ -z "$redis" ] || kill "$redis" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

MARTLET_BENCHMARKS=1 swift build -c release --static-swift-stdlib --product auth-load >"$folder/build.log" 2>&1 ||
    { cat "$folder/build.log"; exit 1; }

redis-server --port 0 --unixsocket "$folder/redis.sock" --save "" --appendonly no --dir "$folder" >/dev/null &
redis=$!
until redis-cli -s "$folder/redis.sock" ping >/dev/null 2>&1; do sleep 0.05; done
seq 0 $((devices - 1)) | sed 's/.*/HSET tls_domain:dev-& password pw/' | redis-cli -s "$folder/redis.sock" --pipe >/dev/null

mkdir -p "$folder/run" "$folder/state"
cat >"$folder/martlet.yaml" <<YAML
runtime_directory: $folder/run
state_directory: $folder/state
listeners:
  - name: devices
    addresses: ["127.0.0.1:1"]
    tls: {certificate_file: $folder/none, key_file: $folder/none, client_ca_file: $folder/none}
authentication:
  command: HMGET tls_domain:%C password
  redis: {url: "unix://$folder/redis.sock"}
  cache: {memory_entries: $((2 * devices))}
authorization: {rules: {default: [{allow: all, topics: ["devices/%C/#"]}]}}
YAML
.build/release/martlet-authworker --config "$folder/martlet.yaml" >"$folder/log" 2>&1 &
worker=$!
until grep -q " ready" "$folder/log"; do
    kill -0 "$worker" 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.05
done
memory() { sed -n 's/^VmRSS:[[:space:]]*//p' "/proc/$worker/status"; }
calls() { redis-cli -s "$folder/redis.sock" info commandstats | sed -n 's/^cmdstat_hmget:calls=\([0-9]*\).*/\1/p'; }
load() { .build/release/auth-load "$folder/run/authworker-1.sock" "$worker" "$@"; }

echo "redis-benchmark -P 32: $(redis-benchmark -s "$folder/redis.sock" -P 32 -c 1 -n 300000 -r "$devices" -q HMGET tls_domain:dev-__rand_int__ password | tr '\r' '\n' | tail -n 1)"
redis-cli -s "$folder/redis.sock" config resetstat >/dev/null
echo "memory before: $(memory)"
echo "not cached:  $(load devices="$devices" requests="$devices")"
echo "HMGET calls: $(calls); memory with $devices cached devices: $(memory)"
echo "cached:      $(load devices="$devices" requests=$((3 * devices)))"
redis-cli -s "$folder/redis.sock" config resetstat >/dev/null
redis-cli -s "$folder/redis.sock" HSET tls_domain:dev-999999999 password pw >/dev/null
echo "1,000 at once of one device: $(load devices=1 requests=1000 window=1000 first=999999999 same=1); HMGET calls: $(calls)"
