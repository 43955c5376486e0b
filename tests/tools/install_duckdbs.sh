#!/usr/bin/env bash
# Installs the DuckDBs that the tests read the store with, each once: the oldest and the newest for Python, and the
# command line. Prints what to run, one a line: two Python interpreters, then `duckdb`. Progress goes to stderr.
# Exit code 3: they cannot be had here, and why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${GATEWAY_TEST_CACHE:-$here/../../.cache}
python=${PYTHON:-python3}
command -v "$python" > /dev/null || { echo "DuckDB is installed with Python, and $python is not installed" >&2; exit 3; }
install() { # PACKAGE VERSION FOLDER
  if [ -e "$3/installed" ]; then return; fi
  echo "installing $1 $2" >&2
  rm -rf "$3"
  mkdir -p "$cache"
  { "$python" -m venv "$3" && "$3/bin/python" -m pip install --quiet --disable-pip-version-check "$1==$2"; } >&2 \
    || { rm -rf "$3"; echo "$1 $2 could not be installed; see above" >&2; exit 3; }
  touch "$3/installed"
}
for version in 1.5.5 2.0.1; do
  install duckdb "$version" "$cache/duckdb-$version"
  echo "$cache/duckdb-$version/bin/python"
done
install duckdb-cli 1.5.6 "$cache/duckdb-cli-1.5.6"
# The binary itself: what is in bin/ starts it as a child.
"$cache/duckdb-cli-1.5.6/bin/python" -c 'import duckdb_cli; print(duckdb_cli.__path__[0] + "/duckdb")'
