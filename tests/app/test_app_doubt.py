"""How wrong masks are expected to be, and which frame comes next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamp.app.doubt import doubts, next_place, worth
from mamp.app.project import Frame


def scene(edge: float, *, radius: int = 12, wave: float = 0.0) -> torch.Tensor:
    """Probabilities (3, 64, 96) of two discs, 0.5 on the border and surer the farther away, by `edge`; `wave`
    makes the borders ragged.
    """
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    discs = []
    for centre in (24, 72):
        angle = torch.atan2(y - 32, x - centre)
        discs.append(radius * (1 + wave * torch.sin(9 * angle)) - torch.hypot(y - 32, x - centre))
    odds = torch.stack([torch.zeros(64, 96), *(d / edge for d in discs)])
    return odds.softmax(dim=0)


@pytest.mark.parametrize("ids", [(1, 2), (7, 3)])
def test_each_object_has_a_doubt_of_its_own(ids):
    sure, vague = scene(0.5), scene(3.0)
    mixed = sure.clone()
    mixed[:, :, 48:] = vague[:, :, 48:]
    found = doubts(mixed, ids)
    assert list(found) == list(ids) and 0 < found[ids[0]] < 0.6 * found[ids[1]] < 0.6


@pytest.mark.parametrize("seed", range(8))
def test_a_doubt_is_not_saturated_and_grows_with_vague_ragged_and_small(seed):
    edge, radius = np.random.default_rng(seed).uniform((0.5, 7), (2, 15))
    usual = doubts(scene(edge, radius=radius), [1, 2])[1]
    assert 0 < usual < doubts(scene(2 * edge, radius=radius), [1, 2])[1] < 0.9
    assert usual < doubts(scene(edge, radius=radius, wave=0.3), [1, 2])[1]
    assert usual < doubts(scene(edge, radius=radius / 2), [1, 2])[1]


def test_what_is_sure_has_no_doubt_and_what_is_gone_is_wrong():
    one = torch.zeros(3, 8, 8)
    one[1, :4], one[0, 4:] = 1, 1
    assert doubts(one, [4, 9]) == {4: 0.0, 9: 1.0}


def frames(text: str, *errors: list[float]) -> list[Frame]:
    """d: drawn, f and b: computed, l: locked, .: nothing; errors of objects 1, 2, ..."""
    kinds = {"d": "drawn", "f": "forward", "b": "backward", "l": "forward", ".": ""}
    return [
        Frame(
            kinds[c], locked=c == "l", each={k + 1: e[i] for k, e in enumerate(errors)} if c in "fbl" else {}
        )
        for i, c in enumerate(text)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_next_frame_lies_early_among_the_doubtful_ones(seed):
    generator = np.random.default_rng(seed)
    begin, end = generator.integers(5, 20), generator.integers(50, 60)
    errors = [0.02] * begin + [0.5] * (end - begin) + [0.02] * (80 - end)
    place = next_place(frames("d" + "f" * 79, errors), [1])
    assert begin <= place.frame < (begin + end) / 2 and place[1:] == (1, 0.5)


@pytest.mark.parametrize("count", [10, 41, 100, 400])
def test_where_all_frames_are_as_doubtful_the_middle_is_next(count):
    place = next_place(frames("d" + "f" * (count - 1), [0.2] * count), [1])
    assert abs(place.frame - count / 2) <= max(1, 0.1 * count)


def test_backward_runs_are_looked_at_backward():
    errors = [0.4, 0.4, 0.4, 0.4, 0.4, 0.05, 0.05, 0.05, 0.05, 0]
    assert next_place(frames("bbbbbbbbbd", errors), [1]).frame in (2, 3, 4)


def test_the_object_that_is_worth_most_is_named():
    place = next_place(frames("dffffff", [0, *[0.1] * 6], [0, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5]), [1, 2])
    assert place.object == 2 and place.frame in (2, 3, 4)
    assert (
        next_place(frames("dffffff", [0, *[0.1] * 6], [0, 0.1, *[0.5] * 5]), [1]).object == 1
    )  # 2 is removed


@pytest.mark.parametrize("text", ["", ".....", "d....", "ddlld"])
def test_where_nothing_is_computed_there_is_no_next_frame(text):
    assert next_place(frames(text, [0.5] * 5), [1]) is None


def test_seen_drawn_and_locked_frames_are_passed_over():
    text = "d" + "f" * 10 + "l" * 10 + "d" + "f" * 18
    errors = [0.02 * i for i in range(40)]
    seen: list[int] = []
    while (place := next_place(frames(text, errors), [1], seen=seen)) is not None:
        assert text[place.frame] == "f" and all(abs(place.frame - i) > 2 for i in seen)
        seen.append(place.frame)
    assert len(seen) > 5


def test_a_long_video_takes_no_long_time_and_ends_a_stretch_at_a_drawn_frame():
    errors = list(np.linspace(0, 0.9, 5000))
    text = "d" + "f" * 4999
    saved = worth(frames(text, errors), [1])[1]
    assert saved[0] == 0 and saved[2500] > saved[4998] > 0
    cut = worth(frames(text[:2600] + "d" + text[2601:], errors), [1])[1]
    assert cut[2590] < saved[2590]


def test_a_project_of_an_earlier_version_has_one_doubt_for_all_objects():
    old = [Frame("drawn"), *(Frame("forward", unsure=u) for u in (0.1, 0.6, 0.6))]
    assert next_place(old, [1, 2]) in ((2, 1, 0.6), (3, 1, 0.6))
