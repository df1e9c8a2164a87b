#!/usr/bin/env bash
# Masks and scores of DAVIS-2017 val by SSM-VOS, as published.
#   bash scripts/test_ssm.sh ROOT OUT --weights FILE [key=value ...]
# A published checkpoint: mamp weights convert CHECKPOINT FILE --method ssm. Trained with cosine matching: method.network.matching=cosine
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 4 ] || fail "give ROOT, OUT and weights: bash scripts/test_ssm.sh ROOT OUT --weights FILE [key=value ...]"
prepare
run mamp evaluate davis2017 "$1" --split val --out "$2" method.name=ssm method.preset=published "${@:3}"
