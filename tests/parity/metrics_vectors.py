"""The recorded figures of the scoring, computed by the package from their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mamp.scoring import Scores, boundary_map, score_frame, score_sequence, statistics
from mamp.scoring.scores import STATISTICS, ObjectScores
from mamp.scoring.tables import official_csv

Inputs = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]


def run(inputs: Inputs, seed: str) -> Outputs:
    """Every key that `inputs` has the input for; the seed is not used, nothing is random here."""
    out: Outputs = {}
    for number in sorted(
        int(key.removeprefix("in.frame.size")) for key in inputs if key.startswith("in.frame.size")
    ):
        out |= _frames(inputs, number)
    if "in.stat.lengths" in inputs:
        out |= _statistics(inputs)
    if "in.stat.nan_values" in inputs:
        values = inputs["in.stat.nan_values"]
        mean, recall, exact = statistics(values)
        out["out.stat.nan"] = np.array([mean, recall, statistics(values, decay="official")[2], exact])
    names = [key.split(".")[2] for key in inputs if key.startswith("in.seq.") and key.endswith(".truth")]
    if names:
        out |= _sequences(inputs, names)
    if "in.long.frames" in inputs:
        frames = inputs["in.long.frames"]
        truth, result = (inputs[f"in.seq.beta.{side}"][frames] for side in ("truth", "result"))
        out["out.long.objects"] = _rows(score_sequence(truth, result, "longvideos"))
    if "in.youtube.truth" in inputs:
        out |= _youtube(inputs)
    return out


def mamp_script(videos: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, int]:
    """What MAMP's own script prints for (truth, result) label maps (T, H, W): mean J, mean F, J&F, number of
    values.

    It pools the values of all objects and frames, the last frame too, and looks in each frame only for
    objects up to the highest label of that frame's truth. Not a figure to compare with others'.
    """
    j, f = [], []
    for truth, result in videos:
        for true, found in zip(truth[1:], result[1:], strict=True):
            frame_j, frame_f = score_frame(true, found, range(1, int(true.max()) + 1))
            j.extend(frame_j)
            f.extend(frame_f)
    return float(np.mean(j)), float(np.mean(f)), float((np.mean(j) + np.mean(f)) / 2), len(j)


def _frames(inputs: Inputs, number: int) -> Outputs:
    width = int(inputs[f"in.frame.size{number}"][1])
    truth, result, void = (
        np.unpackbits(inputs[f"in.frame.{name}{number}"], axis=-1, count=width)
        for name in ("truth", "result", "void")
    )
    plain = np.array([np.concatenate(score_frame(t, r, [1])) for t, r in zip(truth, result, strict=True)])
    voided = np.array(
        [
            np.concatenate(score_frame(t, r, [1], void=v != 0))
            for t, r, v in zip(truth, result, void, strict=True)
        ]
    )
    out = {
        f"out.frame.j{number}": plain[:, 0],
        f"out.frame.f{number}": plain[:, 1],
        f"out.frame.j_void{number}": voided[:, 0],
        f"out.frame.f_void{number}": voided[:, 1],
    }
    if number == 1:
        out["out.frame.boundary1"] = np.packbits(np.stack([boundary_map(t) for t in truth]), axis=-1)
    return out


def _statistics(inputs: Inputs) -> Outputs:
    ends = np.cumsum(inputs["in.stat.lengths"])[:-1]
    lists = np.split(inputs["in.stat.values"], ends)
    mean, recall, exact = np.array([statistics(values) for values in lists]).T
    out = {"out.stat.mean": mean, "out.stat.recall": recall, "out.stat.decay_int": exact}
    for kind in ("official", "official_numpy2"):
        out[f"out.stat.decay_{kind}"] = np.array([statistics(values, decay=kind)[2] for values in lists])
    return out


def _sequences(inputs: Inputs, names: Sequence[str]) -> Outputs:
    videos = {name: (inputs[f"in.seq.{name}.truth"], inputs[f"in.seq.{name}.result"]) for name in names}
    without_void = {
        name: (np.where(truth == 255, 0, truth), result) for name, (truth, result) in videos.items()
    }
    scores = Scores(
        "davis2017", {name: score_sequence(*video, "davis2017") for name, video in videos.items()}
    )
    merged = [_rows(score_sequence(*video, "davis2016")) for video in without_void.values()]
    tables = official_csv(scores)
    means = scores.means()
    return {
        "out.seq.objects": np.concatenate([_rows(objects) for objects in scores.sequences.values()]),
        "out.seq.global": np.array([means[key] for key in ("J&F-Mean", *STATISTICS)]),
        "out.seq.csv_global": np.frombuffer(tables["global_results-val.csv"].encode(), dtype=np.uint8),
        "out.seq.csv_sequences": np.frombuffer(
            tables["per-sequence_results-val.csv"].encode(), dtype=np.uint8
        ),
        "out.seq.mamp_script": np.array(mamp_script(list(without_void.values()))),
        "out.seq.merged": np.concatenate(merged),
    }


def _youtube(inputs: Inputs) -> Outputs:
    first = {k: int(index) for k, index in enumerate(inputs["in.youtube.first"], start=1)}
    seen = {("video", k): not unseen for k, unseen in enumerate(inputs["in.youtube.unseen"], start=1)}
    objects = score_sequence(
        inputs["in.youtube.truth"], inputs["in.youtube.result"], "youtubevos", first=first
    )
    means = Scores("youtubevos", {"video": objects}, seen=seen).means()
    keys = ("J&F-Mean", "J-Seen", "F-Seen", "J-Unseen", "F-Unseen")
    return {
        "out.youtube.objects": _rows(objects)[:, [0, 3]],
        "out.youtube.global": np.array([means[key] for key in keys]),
    }


def _rows(objects: Mapping[int, ObjectScores]) -> np.ndarray:
    """The six figures of each object, (K, 6)."""
    return np.array([list(scores.statistics().values()) for scores in objects.values()])
