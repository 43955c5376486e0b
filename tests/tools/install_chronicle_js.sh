#!/usr/bin/env bash
# Prints where chronicle's npm package is: what GATEWAY_CHRONICLE_JS names, or installed from npm. Progress goes to stderr.
# Exit code 3: it cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
named=${GATEWAY_CHRONICLE_JS:-}
if [ -n "$named" ]; then
  [ -f "$named/dist/index.js" ] || { echo "GATEWAY_CHRONICLE_JS: $named has no dist/index.js; build it there" >&2; exit 3; }
  (cd "$named" && pwd); exit 0
fi
for command in node npm; do
  command -v $command > /dev/null || { echo "$command is not installed" >&2; exit 3; }
done
version=0.4.1
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}
target=$cache/chronicle-js-$version
package=$target/node_modules/@dimfeld/chronicle
if [ -d "$package" ]; then echo "$package"; exit 0; fi
mkdir -p "$cache"
work=$(mktemp -d "$(cd "$cache" && pwd -P)/chronicle-new.XXXXXX")
trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --ignore-scripts --no-audit --no-fund "@dimfeld/chronicle@$version" >&2 || {
  echo "npm has no @dimfeld/chronicle (its registry does not list it); name a built one by GATEWAY_CHRONICLE_JS" >&2
  exit 3
}
[ -d "$target" ] || mv "$work" "$target"
echo "$package"
