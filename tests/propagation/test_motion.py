"""Motion sources find known motion, look at each frame once, and forget what they are told to."""

import builtins

import pytest
import torch

from mamp import config
from mamp.core.errors import UserError
from mamp.propagation.motion.build import build_motion, build_source
from mamp.propagation.motion.config import SourceConfig
from mamp.propagation.motion.dis import to_cells
from mamp.propagation.motion.source import Composed, Source, chain

SIZE = (96, 128)


def texture(seed: int = 0, channels: int = 3, size=(160, 200), grain: int = 6) -> torch.Tensor:
    """Smooth noise in [0, 1]."""
    noise = torch.rand(
        1, channels, *(side // grain for side in size), generator=torch.Generator().manual_seed(seed)
    )
    return torch.nn.functional.interpolate(noise, size, mode="bicubic")[0].clamp(0, 1)


def view(x: int, y: int) -> torch.Tensor:
    """The texture seen by a camera at (x, y): what is at p in this view is at p + (x, y) - (x', y') in
    view(x', y').
    """
    return texture()[:, 24 + y : 24 + y + SIZE[0], 24 + x : 24 + x + SIZE[1]]


def motion(*knobs: str, features=None):
    """A source by its knobs; features: the ones of the frame being shown."""
    loaded = config.load(None, [f"method.motion.{knob}" for knob in knobs]).method.motion
    return build_motion(loaded, features=features or blank)


def blank(frame: torch.Tensor) -> torch.Tensor:
    """No features."""
    return torch.empty(0)


def middle(flow: torch.Tensor) -> torch.Tensor:
    """Flow away from the border, where a part of the view left the frame."""
    return flow[:, 6:-6, 6:-6]


def test_none_is_no_source():
    assert motion("source=none") is None


def test_dis_finds_a_shift_in_cells_from_the_query_to_the_memory():
    source = motion("source=dis")
    source.see(0, view(0, 0))
    source.see(1, view(8, -4))
    flow = source.flow(1, 0)
    assert flow.shape == (2, 24, 32)
    torch.testing.assert_close(middle(flow).mean((1, 2)), torch.tensor([2.0, -1.0]), atol=0.1, rtol=0)


def test_dis_has_a_motion_for_each_pixel_and_cells_have_their_mean():
    cells, pixels = (build_source(SourceConfig(source="dis"), features=blank, stride=n) for n in (4, 1))
    for source in (cells, pixels):
        source.see(0, view(0, 0))
        source.see(1, view(3, -2))
    flow = pixels.flow(1, 0)
    assert flow.shape == (2, *SIZE)
    torch.testing.assert_close(
        flow[:, 24:-24, 24:-24].mean((1, 2)), torch.tensor([3.0, -2.0]), atol=0.1, rtol=0
    )
    torch.testing.assert_close(cells.flow(1, 0), to_cells(flow))


@pytest.mark.parametrize("size", [(5, 7), (9, 33), (16, 16)])
def test_dis_takes_frames_of_any_size(size):
    source = motion("source=dis", "dis_preset=ultrafast")
    source.see(0, torch.rand(3, *size))
    source.see(1, torch.rand(3, *size))
    assert source.flow(1, 0).shape == (2, -(-size[0] // 4), -(-size[1] // 4))


def test_dis_without_opencv_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match="mamp\\[opencv\\]"):
        motion("source=dis")


def test_a_message_names_the_key_where_the_source_was_asked_for():
    knobs = SourceConfig(source="raft")
    with pytest.raises(
        UserError, match=r"^method.propagation.source=raft .* method.propagation.weights=FILE"
    ):
        build_source(knobs, features=blank, section="method.propagation")


def test_a_cell_has_the_mean_motion_of_the_pixels_around_its_centre():
    ramp = torch.stack((torch.arange(12.0).expand(9, 12), torch.full((9, 12), 8.0)))
    cells = to_cells(ramp)
    assert cells.shape == (2, 3, 3)
    assert cells[0, 1].tolist() == [0.25, 1.0, 2.0] and (cells[1] == 2).all()


def coarse_at(places, **knobs: float):
    """A coarse source that has seen a camera at each of these places, by features of 16 channels, as far as
    they go.
    """
    world = texture(3, 16, (100, 120), 3) - 0.5
    shown = iter([world[:, 20 + y : 60 + y, 20 + x : 80 + x] for x, y in places])
    source = motion("source=coarse", *(f"{k}={v}" for k, v in knobs.items()), features=lambda _: next(shown))
    for index in range(len(places)):
        source.see(index, torch.empty(3, 160, 240))
    return source


@pytest.mark.parametrize(("x", "y"), [(12, 0), (-16, 8), (0, -20)])
def test_coarse_matching_finds_motion_far_beyond_a_window(x, y):
    flow = coarse_at([(0, 0), (x, y)]).flow(1, 0)
    assert flow.shape == (2, 40, 60)
    inside = flow[:, max(0, -y) + 4 : 40 - max(0, y) - 4, max(0, -x) + 4 : 60 - max(0, x) - 4]
    wrong = (inside - torch.tensor([x, y]).view(2, 1, 1)).norm(dim=0)
    assert wrong.median() < 0.5 and (wrong < 2).float().mean() > 0.9


def test_coarse_matching_leaves_even_areas_where_they_are():
    even = torch.ones(8, 21, 18)
    source = motion("source=coarse", features=lambda _: even)
    source.see(0, torch.empty(3, 84, 72))
    source.see(1, torch.empty(3, 84, 72))
    assert source.flow(1, 0).abs().max() < 1e-5


class Counting(Source):
    """Frames are numbers here: a frame's flow to another is the difference, and each pair is noted."""

    def __init__(self):
        super().__init__()
        self.pairs = []

    def _keep(self, frame):
        return frame

    def _between(self, query, memory, *, apart):
        self.pairs.append((float(query[0, 0, 0]), float(memory[0, 0, 0]), apart))
        return (query - memory)[:2]


def number(value: float) -> torch.Tensor:
    return torch.full((3, 4, 5), float(value))


def test_a_pair_is_worked_out_once():
    source = Counting()
    for index in range(3):
        source.see(index, number(index))
    for _ in range(2):
        source.flow(2, 0)
        source.flow(2, 1)
    assert source.pairs == [(2, 0, 2), (2, 1, 1)]


def test_a_forgotten_frame_is_not_held():
    source = Counting()
    for index in range(10):
        source.see(index, number(index))
        source.forget(index - 2)
        assert len(source.kept) <= 2


def test_composed_flow_needs_one_new_pair_a_frame_and_adds_up():
    source = Counting()
    chained = Composed(source)
    for index in range(6):
        chained.see(index, number(index))
    torch.testing.assert_close(chained.flow(5, 0), number(5)[:2])
    torch.testing.assert_close(chained.flow(5, 3), number(2)[:2])
    assert [pair[:2] for pair in source.pairs] == [(i + 1, i) for i in range(5)]


def test_composed_flow_holds_the_latest_frame_and_what_was_not_forgotten():
    chained = Composed(Counting())
    for index in range(20):
        chained.see(index, number(index))
        if index:
            chained.forget(index)  # never wanted as a memory, but the next frame is chained to it
    assert list(chained.source.kept) == [19] and list(chained.flows) == [0]
    torch.testing.assert_close(chained.flow(19, 0), number(19)[:2])


@pytest.mark.parametrize("make", [Counting, lambda: Composed(Counting())])
def test_a_twin_goes_on_by_itself(make):
    first = make()
    for index in range(3):
        first.see(index, number(index))
    second = first.twin()
    for source, value in ((first, 5), (second, 8)):
        source.see(3, number(value))
    for source, value in ((first, 5), (second, 8)):
        torch.testing.assert_close(source.flow(3, 0), number(value)[:2])
    second.forget(0)
    torch.testing.assert_close(first.flow(3, 0), number(5)[:2])


def test_a_chain_follows_the_first_flow_before_it_reads_the_second():
    first, second = torch.zeros(2, 5, 6), torch.zeros(2, 5, 6)
    first[0] = 2  # everything was two cells to the right
    second[1, :, 3] = 1  # and what was in column 3 came from one row below
    total = chain(first, second)
    assert (total[0] == 2).all()
    assert (total[1, :, 1] == 1).all() and total[1, :, [0, 2, 3, 4, 5]].abs().max() < 1e-6


def test_composed_dis_agrees_with_direct_dis_on_a_steady_shift():
    direct, composed = motion("source=dis"), motion("source=dis", "compose=true")
    for index in range(4):
        for source in (direct, composed):
            source.see(index, view(4 * index, 0))
    a, b = (middle(source.flow(3, 0)) for source in (direct, composed))
    assert (a - b).abs().median() < 0.1
