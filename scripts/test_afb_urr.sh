#!/usr/bin/env bash
# Masks and scores of DAVIS-2017 val by AFB-URR as published, and how full its feature banks were.
#   bash scripts/test_afb_urr.sh ROOT OUT --weights FILE [key=value ...]
# A published checkpoint: mamp weights convert CHECKPOINT FILE --method afb_urr. Less memory: method.propagation.budget=50000
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 4 ] || fail "give ROOT, OUT and weights: bash scripts/test_afb_urr.sh ROOT OUT --weights FILE [key=value ...]"
prepare
run mamp evaluate davis2017 "$1" --split val --out "$2" method.name=afb_urr method.preset=published "${@:3}"
