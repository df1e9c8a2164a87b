import gc
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from scenes import scene, write_video

import mamp
from mamp import config, methods, weights
from mamp.core.errors import UserError
from mamp.methods.mamp import propagator as propagator_module
from mamp.methods.mamp.config import PRESETS, MampPropagation
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.model import Model, checksum, choose


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file of random weights of a narrow MAMP network."""
    torch.manual_seed(0)
    method = config.load(None, ["method.encoder.width=0.125", "method.encoder.features=8"]).method
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    state = methods.get("mamp").build_model(method).state_dict()
    kept = {"name": "mamp", "encoder": method.encoder.model_dump(mode="json")}
    weights.save(path, state, method=kept, provenance={})
    return path


def test_import_is_light_and_offers_the_public_names():
    code = (
        "import mamp, sys; assert 'torch' not in sys.modules; dir(mamp); mamp.UserError; assert 'torch' not"
        " in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(mamp.__all__) <= set(dir(mamp))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mamp.nonsense  # noqa: B018


def test_the_network_comes_with_the_config_kept_beside_its_weights(stored):
    model = mamp.load(stored, device="cpu", overrides=["method.propagation.top_k=3", "evaluate.amp=bf16"])
    assert model.config.method.encoder.width == 0.125
    assert model.config.method.propagation.top_k == 3
    assert model.config.evaluate.amp == "bf16"
    assert isinstance(model.segmenter(), mamp.Segmenter)


def test_without_shipped_weights_one_is_told_to_name_a_file(monkeypatch):
    monkeypatch.setattr(weights, "names", list)
    with pytest.raises(
        UserError, match="no weights of method mamp come with the package; name some with --weights"
    ):
        mamp.load()


def test_the_preset_and_overrides_decide_how_stored_weights_propagate(stored):
    found = weights.read(stored)
    whole = config.load(None, ["method.propagation.top_k=99"], base={"method": found.method}).method
    path = stored.with_name("whole.safetensors")
    weights.save(path, found.state, method=whole.model_dump(mode="json"), provenance={})
    usual = MampPropagation(**PRESETS["tuned"][""]["propagation"])
    assert mamp.load(path, device="cpu").config.method.propagation == usual
    published = mamp.load(path, device="cpu", overrides=["method.preset=published"], dataset="youtubevos")
    assert published.config.method.propagation.memory == "youtube"
    assert published.config.method.encoder.width == 0.125


def test_run_info_tells_networks_apart_whatever_their_file_is_called(stored):
    same = stored.with_name("same.safetensors")
    same.write_bytes(stored.read_bytes())
    first, second = (mamp.load(path, device="cpu").run_info() for path in (stored, same))
    assert first == second and len(first["weights"]["sha256"]) == 64
    state = {name: value + 1 for name, value in weights.read(stored).state.items()}
    assert checksum(state) != first["weights"]["sha256"]


def test_baselines_stand_where_a_model_does():
    narrow = ["method.encoder.width=0.125"]
    copy = choose(None, "copy", device="cpu", overrides=narrow)
    assert isinstance(copy.segmenter(), CopySegmenter)
    fresh = [
        choose(None, "untrained", device="cpu", overrides=[*narrow, "train.steps=1", f"train.seed={s}"])
        for s in (0, 0, 1)
    ]
    sums = [model.run_info()["weights"]["sha256"] for model in fresh]
    assert sums[0] == sums[1] != sums[2]
    assert copy.run_info() != fresh[0].run_info()
    with pytest.raises(UserError, match="baseline best is not known; use copy or untrained"):
        choose(None, "best", device="cpu")


def test_a_folder_an_array_a_tensor_and_a_generator_give_the_same_label_maps(tmp_path, stored):
    frames = write_video(tmp_path, frames=4)
    model = mamp.load(stored, device="cpu")
    first = tmp_path / "Annotations" / "clip" / "00000.png"
    named = list(mamp.segment_video(frames, first, weights=model))
    assert [name for name, _ in named] == ["00000", "00001", "00002", "00003"]
    from mamp.video.frames import open_frames

    decoded = np.stack([frame for _, frame in open_frames(frames).stream()])
    forms = [decoded, torch.from_numpy(decoded).permute(0, 3, 1, 2), (f for f in decoded), list(decoded)]
    masks = [scene(0)[1], torch.from_numpy(scene(0)[1]), {0: scene(0)[1]}, {0: first}]
    for video, mask in zip(forms, masks, strict=True):
        numbered = list(mamp.segment_video(video, mask, weights=model))
        assert [name for name, _ in numbered] == [0, 1, 2, 3]
        np.testing.assert_array_equal([m for _, m in numbered], [m for _, m in named])


def test_a_camera_that_never_ends_is_served_frame_by_frame(make_segmenter):
    model = type("Colour", (Model,), {"segmenter": lambda self: make_segmenter()})(None, None, None)
    taken = []

    def camera():
        for t in itertools.count():
            taken.append(t)
            yield scene(t % 8)[0]

    results = mamp.segment_video(camera(), scene(0)[1], weights=model)
    for t, labels in itertools.islice(results, 20):
        assert len(taken) == t + 1
        np.testing.assert_array_equal(labels, scene(t % 8)[1])


def test_the_narrow_network_carries_masks_and_keeps_a_bounded_memory(stored):
    segmenter = mamp.load(stored, device="cpu").segmenter()
    frame, truth = (np.repeat(np.repeat(x, 4, axis=0), 4, axis=1) for x in scene(0, ids=(7, 300)))
    held = []
    for t in range(14):
        labels = segmenter.step(frame, truth if t == 0 else None)
        held.append(segmenter.memory_bytes)
    assert (labels == truth).mean() > 0.9
    assert held[-1] == held[-2] > held[1] > 0


def test_objects_of_a_real_network_come_and_go_between_frames(stored):
    segmenter = mamp.load(stored, device="cpu").segmenter()
    frame, truth = (np.repeat(np.repeat(x, 4, axis=0), 4, axis=1) for x in scene(0, ids=(1, 7, 300)))
    segmenter.step(frame, np.where(truth == 300, 0, truth))
    segmenter.step(frame, np.where(truth == 300, 300, 0))
    before = segmenter.step(frame)
    assert set(np.unique(before)) >= {0, 1, 7}
    segmenter.remove([7])
    after = segmenter.step(frame)
    assert not (after == 7).any()
    assert ((after == 1) == (truth == 1)).mean() > 0.98


def live_tensors() -> tuple[int, int]:
    """How many tensors there are, and their bytes."""
    gc.collect()
    found = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor)]
    return len(found), sum(x.nbytes for x in found)


@pytest.mark.parametrize("knobs", [(), ("memory=budget", "budget_mb=0.02")])
def test_a_camera_that_never_ends_is_served_frame_by_frame_without_growth(stored, knobs):
    model = mamp.load(
        stored,
        device="cpu",
        overrides=[f"method.propagation.{knob}" for knob in ("short_side=null", "radius=4", *knobs)],
    )
    taken = []

    def camera():
        for t in itertools.count():
            taken.append(t)
            yield scene(t % 8)[0]

    results = mamp.segment_video(camera(), scene(0)[1], weights=model)
    sizes = []
    for index, labels in results:
        assert len(taken) == index + 1 and labels.shape == (24, 32)  # each frame is taken when it is wanted
        if index in (100, 400):
            sizes.append(live_tensors())
        if index == 400:
            break
    assert sizes[0] == sizes[1]


def test_each_video_has_a_motion_source_of_its_own(stored, monkeypatch):
    made, build = [], propagator_module.build_motion
    monkeypatch.setattr(
        propagator_module, "build_motion", lambda *a, **k: made.append(build(*a, **k)) or made[-1]
    )
    model = mamp.load(stored, device="cpu", overrides=["method.motion.source=coarse"])
    segmenters = [model.segmenter(), model.segmenter()]
    for segmenter in segmenters:
        segmenter.step(*scene(0))
        assert segmenter.step(scene(1)[0]).shape == (24, 32)
    first, second = made
    assert first is not second and sorted(first.kept) == [0, 1]


def test_compile_is_asked_of_torch_once_for_the_network(stored, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: asked.append(network))
    mamp.load(stored, device="cpu")
    assert not asked
    model = mamp.load(stored, device="cpu", overrides=["evaluate.compile=true"])
    assert asked == [model.network]


def test_a_compiled_network_gives_the_same_masks(stored):
    frame, mask = scene(0)
    second = scene(1)[0]
    labels = []
    for compiled in ("false", "true"):
        overrides = [f"evaluate.compile={compiled}", "evaluate.amp=off"]
        segmenter = mamp.load(stored, device="cpu", overrides=overrides).segmenter()
        segmenter.step(frame, mask)
        labels.append(segmenter.step(second))
    np.testing.assert_array_equal(*labels)


def test_weights_of_another_method_than_is_named_are_refused(stored):
    with pytest.raises(UserError, match=r"holds weights of method mamp, not stm; set method\.name=mamp"):
        mamp.load(stored, device="cpu", overrides=["method=stm"])


def test_another_default_dtype_in_the_process_changes_nothing(stored):
    frames, truth = [scene(t)[0] for t in range(3)], scene(0)[1]

    def masks():
        model = mamp.load(stored, device="cpu", overrides=["method.propagation.short_side=null"])
        return [labels for _, labels in mamp.segment_video(frames, truth, weights=model)]

    usual = masks()
    torch.set_default_dtype(torch.float64)
    try:
        doubled = masks()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(usual, doubled, strict=True):
        np.testing.assert_array_equal(one, other)
