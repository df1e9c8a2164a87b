#!/usr/bin/env bash
# The whole suite, or what pytest's arguments choose; --collect-only -q only installs and lists; -n 2 --dist loadgroup takes two cores.
#   bash scripts/test.sh [PYTEST-ARG ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare test
cd "$root"
run pytest "$@"
