#!/usr/bin/env bash
# Masks and scores of DAVIS-2017 val.
#   bash scripts/test_davis.sh ROOT OUT [--weights FILE] [key=value ...]
# ROOT holds JPEGImages/, Annotations/ and ImageSets/2017/. Half precision: evaluate.amp=bf16
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 2 ] || fail "give ROOT and OUT: bash scripts/test_davis.sh ROOT OUT [--weights FILE] [key=value ...]"
prepare
run mamp evaluate davis2017 "$1" --split val --out "$2" "${@:3}"
