#!/usr/bin/env bash
# Masks of one's own video by SSM-VOS, and a film of them.
#   bash scripts/demo_ssm.sh VIDEO MASK OUT --weights FILE [key=value ...]
# VIDEO is a file or a folder of images, MASK a PNG of its first frame.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 5 ] || fail "give VIDEO, MASK, OUT and weights: bash scripts/demo_ssm.sh VIDEO MASK OUT --weights FILE [key=value ...]"
prepare
run mamp segment "$1" --mask "$2" --out "$3" --overlay "$3/overlay.mp4" method.name=ssm method.preset=published "${@:4}"
