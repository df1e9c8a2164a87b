"""Commands that are cut short, begun twice, or out of room: the short form of interruptions.py, and the long
one with `-m durability`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import interruptions
from interruptions import SIGNALS, Tally, World

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
COMMANDS = ("train", "evaluate", "segment", "data pack", "report", "export", "score")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def assert_sound(tally):
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.equal == tally.moments > 0


@pytest.mark.parametrize(("name", "kind"), zip(COMMANDS, SIGNALS + SIGNALS[:3], strict=True))
def test_a_command_that_was_cut_short_ends_as_if_nothing_had_been(world, name, kind):
    tally = Tally()
    interruptions.interrupt(world, name, kind, tally, moment=0.5)
    assert_sound(tally)


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGHUP"])
def test_a_signal_inside_the_write_of_a_checkpoint_harms_nothing(world, kind):
    tally = Tally()
    interruptions.interrupt(world, "train", kind, tally, moment=0, inside=True)
    assert_sound(tally)


@pytest.mark.parametrize("name", ["train", "segment"])
def test_the_same_command_twice_on_one_folder_gives_one_whole_result(world, name):
    tally = Tally()
    interruptions.twice(world, name, tally)
    assert_sound(tally)


@pytest.mark.parametrize("name", ["train", "export"])
def test_a_full_disk_is_one_sentence_and_goes_on_once_there_is_room(world, name, tmp_path):
    if not interruptions.can_mount(tmp_path):
        pytest.skip("needs the right to mount a file system")
    tally = Tally()
    interruptions.full_disk(world, name, tally, part=0.4)
    assert_sound(tally)


# ---------------------------------------------------------------- the long form


@pytest.fixture
def long(request):
    if "durability" not in request.config.option.markexpr:
        pytest.skip("takes minutes: -m durability")
    return random.Random(0)


@pytest.mark.durability
@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", COMMANDS)
def test_ten_random_moments(world, long, name, kind):
    tally = Tally()
    for number in range(10):
        inside = name == "train" and number == 0
        interruptions.interrupt(world, name, kind, tally, moment=long.uniform(0.02, 1), inside=inside)
    assert_sound(tally)


@pytest.mark.durability
@pytest.mark.parametrize("name", COMMANDS)
def test_twice_at_once_and_on_a_full_disk(world, long, name):
    tally = Tally()
    for _ in range(3):
        interruptions.twice(world, name, tally)
        if interruptions.can_mount(world.folder / "results"):
            interruptions.full_disk(world, name, tally, part=long.uniform(0.02, 0.95))
    assert_sound(tally)
