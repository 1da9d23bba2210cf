#!/bin/sh
# The router alone, driven over its link without TLS. Needs `make build`.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
router=""
finish() {
    [ -z "$router" ] || kill "$router" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

MARTLET_BENCHMARKS=1 swift build -c release --static-swift-stdlib --product router-load >"$folder/build.log" 2>&1 ||
    { cat "$folder/build.log"; exit 1; }
mkdir -p "$folder/run" "$folder/state"
cat >"$folder/martlet.yaml" <<YAML
runtime_directory: $folder/run
state_directory: $folder/state
listeners:
  - name: devices
    addresses: ["127.0.0.1:1"]
    transport: tcp
    anonymous: true
authentication: {source: none}
authorization: {rules: {default: [{allow: all, topics: ["#"]}]}}
YAML
.build/release/martlet-router --config "$folder/martlet.yaml" >"$folder/log" 2>&1 &
router=$!
until grep -q " ready" "$folder/log"; do
    kill -0 "$router" 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.05
done
for load in "qos=0" "qos=0 filters=900" "qos=1" "qos=0 pairs=1 receivers=50" "qos=1 pairs=1 receivers=50"; do
    .build/release/router-load "$folder/run/router.sock" "$router" $load "$@"
done
