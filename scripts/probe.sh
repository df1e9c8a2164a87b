#!/usr/bin/env bash
# Masks and scores of DAVIS-2017 val by label propagation with any encoder: docs/probe.md.
#   bash scripts/probe.sh ROOT OUT ENCODER [--weights FILE] [--processes N] [key=value ...]
# ENCODER is torchvision:NAME, timm:NAME, MODULE:FUNCTION, FILE.py:FUNCTION, mamp or stm. Protocol: method.preset=dino|dinov3|crw|vfs|dul|...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 3 ] || fail "give ROOT, OUT and ENCODER: bash scripts/probe.sh ROOT OUT ENCODER [key=value ...]"
prepare timm
run mamp evaluate davis2017 "$1" --split val --out "$2" method.name=probe "method.encoder=$3" "${@:4}"
