#!/usr/bin/env bash
# Masks of YouTube-VOS valid.
#   bash scripts/test_ytb.sh ROOT OUT [--weights FILE] [key=value ...]
# ROOT holds valid/JPEGImages/, valid/Annotations/ and valid/meta.json. Half precision: evaluate.amp=bf16
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 2 ] || fail "give ROOT and OUT: bash scripts/test_ytb.sh ROOT OUT [--weights FILE] [key=value ...]"
prepare
run mamp evaluate youtubevos "$1" --split valid --out "$2" "${@:3}"
