#!/usr/bin/env bash
# Builds the Prometheus that the tests run, once per version, and prints where it is. Progress goes to stderr.
# Debian's is too old to take metrics over OTLP. Exit code 3: it cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(awk '/prometheus\/prometheus v/ {print $3}' "$here/prometheus/go.mod")
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}/prometheus-$version
binary=$cache/prometheus
if [ -x "$binary" ]; then echo "$binary"; exit 0; fi
command -v go > /dev/null || { echo "Prometheus is built with Go, which is not installed" >&2; exit 3; }
mkdir -p "$cache"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
{
  echo "building Prometheus $version (some minutes, once)"
  cp "$here"/prometheus/* "$work"
  # Without the web pages, and without finding targets in clouds, which is most of it.
  (cd "$work" && go mod tidy && go build -p 2 -tags remove_all_sd,netgo -o prometheus github.com/prometheus/prometheus/cmd/prometheus)
} >&2 || { echo "Prometheus could not be built; see above" >&2; exit 3; }
mv "$work/prometheus" "$binary.new"
mv "$binary.new" "$binary"
echo "$binary"
