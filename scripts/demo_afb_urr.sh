#!/usr/bin/env bash
# Masks of one's own video, however long, by AFB-URR, and a film of them in its published style.
#   bash scripts/demo_afb_urr.sh VIDEO MASK OUT --weights FILE [--overlay-style contour] [key=value ...]
# VIDEO is a file or a folder of images, MASK a PNG of its first frame.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 5 ] || fail "give VIDEO, MASK, OUT and weights: bash scripts/demo_afb_urr.sh VIDEO MASK OUT --weights FILE [key=value ...]"
prepare
run mamp segment "$1" --mask "$2" --out "$3" --overlay "$3/overlay.mp4" --overlay-style rim \
    method.name=afb_urr "${@:4}"
