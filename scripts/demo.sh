#!/usr/bin/env bash
# First masks within a minute, then training without labels and scores on unseen clips: about six minutes in all.
#   bash scripts/demo.sh [--out DIR] [--minutes M] [--video VIDEO --mask PNG]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare
run mamp demo "$@"
