#!/usr/bin/env bash
# Installs the Phoenix that tests/end_to_end/test_phoenix.py shows spans to (850 MB), once per version, and prints where its Python is.
# Progress goes to stderr. Exit code 3: it cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=20.26.1
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}/phoenix-$version
if [ ! -e "$cache/installed" ]; then
  {
    echo "installing Phoenix $version (a minute, once)"
    rm -rf "$cache"
    python3 -m venv "$cache" && "$cache/bin/pip" install --quiet "arize-phoenix==$version"
  } >&2 || { echo "Phoenix could not be installed; see above" >&2; exit 3; }
  touch "$cache/installed"
fi
echo "$cache/bin/python"
