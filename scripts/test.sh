#!/usr/bin/env bash
# The whole suite, or what pytest's arguments choose, a file to each core; --collect-only -q only installs and lists; -n 0 is one process.
#   bash scripts/test.sh [PYTEST-ARG ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare test
cd "$root"
run pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
