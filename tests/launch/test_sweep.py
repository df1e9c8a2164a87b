from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.sweep import points, split
from mamp.core.errors import UserError


def test_settings_without_a_list_are_one_run_without_a_name():
    assert points(["train.lr=1", "data.intervals=[2,5,8]"]) == {"": ["train.lr=1", "data.intervals=[2,5,8]"]}


def test_lists_are_combined_and_runs_are_named_by_what_changes():
    assert points(["train.lr=1e-3,1e-4", "train.batch=8", "train.seed=0,1"]) == {
        "lr=1e-3,seed=0": ["train.batch=8", "train.lr=1e-3", "train.seed=0"],
        "lr=1e-3,seed=1": ["train.batch=8", "train.lr=1e-3", "train.seed=1"],
        "lr=1e-4,seed=0": ["train.batch=8", "train.lr=1e-4", "train.seed=0"],
        "lr=1e-4,seed=1": ["train.batch=8", "train.lr=1e-4", "train.seed=1"],
    }


def test_keys_that_end_alike_are_told_apart():
    names = list(points(["method.training.radius=6,7", "method.propagation.radius=8,9"]))
    assert names[0] == "training.radius=6,propagation.radius=8"


def test_what_a_folder_may_not_be_called_is_replaced_and_names_stay_apart():
    names = list(points(["data.root=/a/b,/a-b,/a/b c"]))
    assert len(set(names)) == 3
    assert not any(set(name) & set("/ $'\"") for name in names)


def test_a_long_name_is_cut():
    (first, second) = points([f"data.root={'x' * 500},{'y' * 500}"])
    assert len(first) < 140
    assert first != second


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (["slurm.time=1h,2h"], "the jobs of a sweep ask for the same"),
        (["train.lr=1,"], "an empty value"),
        (["train.lr=1,2", "train.lr=3,4"], "two lists"),
    ],
)
def test_what_is_no_sweep_is_told(settings: list[str], wrong: str):
    with pytest.raises(UserError, match=wrong):
        points(settings)


def test_commas_in_brackets_and_quotes_do_not_part():
    assert split("[1,2],(3,4),{a: 1, b: 2},'x,y'") == ["[1,2]", "(3,4)", "{a: 1, b: 2}", "'x,y'"]


@given(st.lists(st.text(alphabet="ab01.-", min_size=1), min_size=1, unique=True))
def test_every_value_is_a_run(values: list[str]):
    assert len(points([f"train.lr={','.join(values)}"])) == len(values)
