#!/usr/bin/env bash
# Train by a recipe; a killed run goes on where it was saved.
#   bash scripts/train.sh configs/mamp_youtube.yaml data.root=PATH/TO/YouTubeVOS [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
prepare
run mamp train "$@"
