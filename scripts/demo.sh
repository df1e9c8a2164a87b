#!/usr/bin/env bash
# First masks by the shipped weights, then some minutes of training without labels, then scores on unseen clips.
#   bash scripts/demo.sh [--out DIR] [--minutes M] [--video VIDEO --mask PNG]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare
run mamp demo "$@"
