#!/usr/bin/env bash
# Train AFB-URR on DAVIS-2017 by the published recipe; a killed run goes on where it was saved.
#   bash scripts/train_afb_urr.sh DAVIS [--run DIR] [key=value ...]
# DAVIS is the data set's root; J&F of its val split is measured every ten epochs. ImageNet weights come from torchvision: method.training.init=FILE has them here. A network that learnt on still pictures: train.init=FILE
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
[ $# -ge 1 ] || fail "give DAVIS: bash scripts/train_afb_urr.sh DAVIS [key=value ...]"
prepare
run mamp train "$root/configs/afb_urr_davis.yaml" "data.root=$1" \
    validation.dataset=davis2017 "validation.root=$1" "${@:2}"
