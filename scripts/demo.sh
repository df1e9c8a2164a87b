#!/usr/bin/env bash
# A few minutes of training without labels, then masks, scores and an overlay of clips the network has not seen.
#   bash scripts/demo.sh [--out DIR] [--video VIDEO --mask PNG]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare
run mamp demo "$@"
