#!/usr/bin/env bash
# Installs the npm packages that the tests run, once per lock file, and prints where they are. Progress goes to stderr.
# Exit code 3: they cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for command in node npm; do
  command -v $command > /dev/null || { echo "$command is not installed" >&2; exit 3; }
done
lock=$(cksum < "$here/../node/package-lock.json" | cut -d ' ' -f 1)
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}
target=$cache/node-sdks-$lock
if [ -d "$target" ]; then echo "$target"; exit 0; fi
mkdir -p "$cache"
work=$(mktemp -d "$(cd "$cache" && pwd -P)/node-new.XXXXXX")  # npm takes a symbolic link for another package
trap 'rm -rf "$work"' EXIT
cp "$here/../node/package.json" "$here/../node/package-lock.json" "$work"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund >&2 \
  || { echo "the npm packages could not be installed; see above" >&2; exit 3; }
[ -d "$target" ] || mv "$work" "$target"
echo "$target"
