"""AFB-URR: adaptive feature bank and uncertain-region refinement (Liang, Li, Jafari and Chen, NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame), `bank.py` (what is remembered) and
`task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.afb_urr.config import PRESETS, AfbConfig
from mamp.methods.base import Method, Published, later

_AUTHORS, _LICENCE = "http://www.ece.lsu.edu/xinli/Codes", "academic use only"

METHOD = Method(
    name="afb_urr",
    description=(
        "adaptive feature bank and uncertain-region refinement, for long videos (Liang et al., NeurIPS 2020)"
    ),
    config=AfbConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.afb_urr.propagator:AfbPropagator"),
    build_model=later("mamp.methods.afb_urr.network:build_model"),
    task=later("mamp.methods.afb_urr.task:AfbTask"),
    learns_from_masks=True,
    from_published=later("mamp.methods.afb_urr.published:from_published"),
    published=(
        Published(
            "afb-urr-pretrain",
            "static images, to train on from",
            f"{_AUTHORS}/NeurIPS20_level0_PreTrain.pth",
            "plain",
            _LICENCE,
            "none",
        ),
        Published(
            "afb-urr-davis17",
            "DAVIS-2017",
            f"{_AUTHORS}/NeurIPS20_level1_DAVIS17.pth",
            "plain",
            _LICENCE,
            "DAVIS-2017 val J&F 74.6 (J 73.0, F 76.1)",
        ),
        Published(
            "afb-urr-youtubevos",
            "YouTube-VOS, and for long videos",
            f"{_AUTHORS}/NeurIPS20_level2_YouTubeVOS.pth",
            "plain",
            _LICENCE,
            "YouTube-VOS 2018 valid, overall 79.6",
        ),
    ),
    trunk=later("mamp.methods.afb_urr.trunk:AfbTrunk"),
)
