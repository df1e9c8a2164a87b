#!/usr/bin/env bash
# Train STM-Cycle on DAVIS and YouTube-VOS by the published recipe; a killed run goes on where it was saved.
#   bash scripts/train_stm.sh DAVIS YOUTUBEVOS [--run DIR] [key=value ...]
# DAVIS and YOUTUBEVOS are the data sets' roots; J&F of DAVIS-2017 val is measured after each epoch. ImageNet weights come from torchvision: method.training.init=FILE has them here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 2 ] || fail "give DAVIS and YOUTUBEVOS: bash scripts/train_stm.sh DAVIS YOUTUBEVOS [key=value ...]"
prepare
run mamp train "$root/configs/stm_cycle_hybrid.yaml" "data.root=$1" "data.root=$2" \
    validation.dataset=davis2017 "validation.root=$1" "${@:3}"
