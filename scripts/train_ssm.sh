#!/usr/bin/env bash
# Train SSM-VOS on YouTube-VOS by the published recipe; a killed run goes on where it was saved.
#   bash scripts/train_ssm.sh YOUTUBEVOS DAVIS [--run DIR] [key=value ...]
# J&F of DAVIS-2017 val is measured on the way; DAVIS is that data set's root. ImageNet weights come from torchvision: method.training.init=FILE has them here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 2 ] || fail "give YOUTUBEVOS and DAVIS: bash scripts/train_ssm.sh YOUTUBEVOS DAVIS [key=value ...]"
prepare
run mamp train "$root/configs/ssm_youtube.yaml" "data.root=$1" \
    validation.dataset=davis2017 "validation.root=$2" "${@:3}"
