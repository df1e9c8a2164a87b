"""What scoring finds: J and F of every object in every frame, and the figures made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mamp.scoring.metrics import Decay, statistics

STATISTICS = ("J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
SEEN_GROUPS = ("J-Seen", "F-Seen", "J-Unseen", "F-Unseen")  # of YouTube-VOS


@dataclass(frozen=True)
class ObjectScores:
    """One object: the names of the frames it was scored in, and its J and F there, float64 (n,) each."""

    frames: tuple[str, ...]
    j: np.ndarray
    f: np.ndarray

    def statistics(self, decay: Decay = "exact") -> dict[str, float]:
        """The six figures of STATISTICS; NaN where the object was scored in no frame."""
        values = statistics(self.j, decay=decay) + statistics(self.f, decay=decay)
        return dict(zip(STATISTICS, values, strict=True))


@dataclass(frozen=True)
class Scores:
    """Scores of a set of videos.

    sequences: name -> object id -> its scores, in the order of the set. decay: how decay is computed.
    split: the list of the set, if one was used. seen: for (sequence, object) whether its category was in
    the training set, YouTube-VOS only; None where that is not known. notes: what the reader of the
    figures must know, one sentence each.
    """

    protocol: str
    sequences: Mapping[str, Mapping[int, ObjectScores]]
    decay: Decay = "exact"
    split: str | None = None
    seen: Mapping[tuple[str, int], bool] | None = None
    notes: tuple[str, ...] = field(default=())

    def objects(self) -> Iterator[tuple[str, int, dict[str, float]]]:
        """(sequence, object id, its six figures) in order."""
        for name, objects in self.sequences.items():
            for number, scores in objects.items():
                yield name, number, scores.statistics(self.decay)

    def means(self) -> dict[str, float]:
        """The figures of the whole set.

        The mean over all objects, each counting once however long its video; objects without a scored frame
        are left out, any other NaN spreads. With `seen`, J-Mean is the mean of J-Seen and J-Unseen (of the
        one that exists, where the other has no object), F-Mean likewise, so that J&F-Mean is YouTube-VOS's
        overall score.
        """
        rows = [(name, number, row) for name, number, row in self.objects() if not math.isnan(row["J-Mean"])]
        means = {key: _mean([row[key] for *_, row in rows]) for key in STATISTICS}
        groups: dict[str, float] = {}
        if self.seen is not None:
            for key in SEEN_GROUPS:
                letter, word = key.split("-")
                group = [row for name, number, row in rows if self.seen[name, number] == (word == "Seen")]
                groups[key] = _mean([row[f"{letter}-Mean"] for row in group])
            for letter in "JF":
                both = (groups[f"{letter}-Seen"], groups[f"{letter}-Unseen"])
                means[f"{letter}-Mean"] = _mean([value for value in both if not math.isnan(value)])
        return {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means, **groups}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
