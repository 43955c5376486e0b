#!/usr/bin/env bash
# Builds the real Jaeger that tests/end_to_end/test_jaeger_real.py compares the gateway with, once per version, and prints where it
# is. Progress goes to stderr. Exit code 3: it cannot be had here, and why. The UI in a Go build is a placeholder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=1.76.0  # the last one with a tag that Go's module proxies take for a version: Jaeger 2.13
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}/jaeger-$version
binary=$cache/jaeger
if [ -x "$binary" ]; then echo "$binary"; exit 0; fi
command -v go > /dev/null || { echo "Jaeger is built with Go, which is not installed" >&2; exit 3; }
mkdir -p "$cache"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
{
  echo "building Jaeger $version (some minutes, once)"
  cd "$work"
  go mod init jaeger-test
  # Jaeger's own go.mod says so; what is replaced there does not hold for who requires it.
  go mod edit -require="github.com/jaegertracing/jaeger@v$version" \
    -replace=github.com/Shopify/sarama=github.com/Shopify/sarama@v1.33.0
  GOFLAGS="-mod=mod -p=2" go build -trimpath -ldflags="-s -w" -o jaeger github.com/jaegertracing/jaeger/cmd/jaeger
} >&2 || { echo "Jaeger could not be built; see above" >&2; exit 3; }
mv "$work/jaeger" "$binary.new"
mv "$binary.new" "$binary"
echo "$binary"
