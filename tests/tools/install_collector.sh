#!/usr/bin/env bash
# Builds the Collector that the tests run, once per version and choice of components, and prints where it is. Progress goes to stderr.
# Exit code 3: it cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(awk '/^  version:/ {print $2}' "$here/collector-builder.yaml")
parts=$(cksum < "$here/collector-builder.yaml" | cut -d' ' -f1)
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}/collector-$version-$parts
binary=$cache/otelcol-test
if [ -x "$binary" ]; then echo "$binary"; exit 0; fi
command -v go > /dev/null || { echo "the Collector is built with Go, which is not installed" >&2; exit 3; }
mkdir -p "$cache"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
{
  echo "building the Collector $version (some minutes, once)"
  GOBIN=$work/bin go install "go.opentelemetry.io/collector/cmd/builder@v$version"
  cp -r "$here/collector-builder.yaml" "$here/statusutil" "$work"
  (cd "$work" && GOFLAGS=-p=2 bin/builder --config collector-builder.yaml)
} >&2 || { echo "the Collector could not be built; see above" >&2; exit 3; }
mv "$work/otelcol-test/otelcol-test" "$binary.new"
mv "$binary.new" "$binary"
echo "$binary"
