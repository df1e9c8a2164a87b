"""Layers of settings, and what is said about wrong ones."""

import re

import pytest

from mamp import config
from mamp.core.errors import UserError


def test_the_default_is_the_tuned_preset():
    assert config.load().method.preset == "tuned"


def test_published_sets_the_published_knobs_and_a_key_beside_it_wins():
    knobs = config.load(None, ["method.preset=published", "method.propagation.top_k=7"]).method.propagation
    assert (knobs.labels, knobs.memory, knobs.memory_length, knobs.outside, knobs.top_k) == (
        "hard",
        "davis",
        5,
        "zero",
        7,
    )


def test_published_differs_by_data_set():
    knobs = config.load(None, ["method.preset=published"], dataset="youtubevos").method.propagation
    assert (knobs.memory, knobs.memory_length, knobs.pad, knobs.subsample) == ("youtube", 4, 16, 2)


def test_later_layers_win(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {steps: 5, lr: 0.1}\n")
    loaded = config.load(tmp_path / "c.yaml", ["train.lr=0.2"], base={"train": {"batch": 3, "lr": 0.3}})
    assert (loaded.train.steps, loaded.train.lr, loaded.train.batch) == (5, 0.2, 3)


def test_what_is_dumped_loads_to_the_same(tmp_path):
    loaded = config.load(
        None, ["method.preset=published", "data.root=/a@8", "data.root=/b"], dataset="youtubevos"
    )
    (tmp_path / "c.yaml").write_text(config.dump(loaded))
    assert config.load(tmp_path / "c.yaml") == loaded


def test_roots_add_up_and_carry_their_rate():
    roots = config.load(None, ["data.root=/a@8", "data.root=/b"]).data.root
    assert [(str(r.path), r.fps) for r in roots] == [("/a", 8.0), ("/b", None)]


WRONG = [
    ("method.propagation.topk=3", "did you mean method.propagation.top_k"),
    ("mehtod.preset=tuned", "did you mean method"),
    ("top_k=3", "did you mean method.propagation.top_k"),
    ("train.lr=-1", "greater than 0"),
    ("method.preset=best", "'tuned' or 'published'"),
    ("data.interval_chances=[0.5, 0.2, 0.2]", "summing to 1"),
    ("data.augment.crop=[0.9, 0.2]", "smallest <= largest"),
    ("data.augment.scales=[100]", "multiples of 8"),
    ("nonsense", "is not key=value"),
    ("method.name=nothing", "is not a method; use one of mamp"),
    ("method=3", "method"),
]


@pytest.mark.parametrize(("argument", "words"), WRONG)
def test_a_wrong_argument_is_one_sentence_that_names_it(argument, words):
    with pytest.raises(UserError) as error:
        config.load(None, [argument])
    text = str(error.value)
    assert words in text and argument in text and "\n" not in text


def test_a_wrong_key_in_a_file_names_file_and_line(tmp_path):
    (tmp_path / "c.yaml").write_text("train:\n  seed: 1\n  bach: 4\n")
    with pytest.raises(
        UserError, match=r"c\.yaml line 3: train\.bach is not a key; did you mean train\.batch"
    ):
        config.load(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "text", ["train: [", "- 1\n- 2\n", "train: {seed: 1}\ntrain: {seed: 2}\n", "!!python/object:os.system {}"]
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml"):
        config.load(tmp_path / "c.yaml")


def test_every_knob_has_a_meaning():
    assert all(meaning for _, _, meaning in config.method_knobs("mamp"))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), None),
        (("train.lr=1",), None),
        (("method.preset=published",), None),
        (("method.name=stm",), "stm"),
        (("method={name: stm}",), "stm"),
    ],
)
def test_a_method_is_named_by_its_key_alone(words, name):
    assert config.named_method(words) == name


# ---------------------------------------------------------------- the recipes


def recipes(repository):
    return sorted((repository / "configs").glob("*.yaml"))


def test_a_recipe_that_validates_on_val_says_what_that_chooses_and_how_not_to(repository):
    on_val = [path for path in recipes(repository) if config.load(path).validation.split == "val"]
    named = [path for path in on_val if "split: val" in path.read_text()]
    assert len(named) >= 10
    for path in named:
        text = path.read_text()
        assert text.count("lets train.keep_best choose the checkpoint on the set that is reported") == 1, path
        assert "To choose elsewhere: " in text, path


def test_a_checkpoint_that_another_recipe_begins_with_is_kept(repository):
    begun = [
        int(step)
        for path in recipes(repository)
        for step in re.findall(r"step-(\d{8})\.pt", path.read_text())
    ]
    kept = config.load(repository / "configs" / "ssm_youtube.yaml").train.keep_at
    assert begun == [81_000, 81_000] and set(begun) <= set(kept)


def test_a_written_config_reads_back_with_and_without_libyaml(repository, tmp_path, monkeypatch):
    import yaml

    json_notes = 'tracking.notes="a: b # ü\\n- no list, and more than eighty letters in one line of the text"'
    for path in recipes(repository):
        loaded = config.load(path, [json_notes, "train.expect_loss={0.1: 1e-7}"])
        (tmp_path / "fast.yaml").write_text(config.dump(loaded), encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.delattr(yaml, "CSafeDumper", raising=False)
            (tmp_path / "slow.yaml").write_text(config.dump(loaded), encoding="utf-8")
        assert config.load(tmp_path / "fast.yaml") == config.load(tmp_path / "slow.yaml") == loaded


@pytest.mark.parametrize("levels", [65, 300, 5000])
@pytest.mark.parametrize("value", ["1", "{a: 1}", "yes", "017"])
def test_a_key_of_too_many_levels_is_refused(levels, value):
    with pytest.raises(UserError, match=rf"has {levels} levels; no setting has so many"):
        config.load(None, ["tracking.project" + ".a" * (levels - 2) + f"={value}"])
