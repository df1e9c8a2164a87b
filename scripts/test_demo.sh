#!/usr/bin/env bash
# Masks of one's own videos, from a mask of each one's first frame.
#   bash scripts/test_demo.sh ROOT OUT [--weights FILE] [key=value ...]
# ROOT (say valid_demo) holds JPEGImages/NAME/ and Annotations/NAME/00000.png. One video alone: mamp segment
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 2 ] || fail "give ROOT and OUT: bash scripts/test_demo.sh ROOT OUT [--weights FILE] [key=value ...]"
prepare
run mamp evaluate folder "$1" --out "$2" "${@:3}"
