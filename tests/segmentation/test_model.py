import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from scenes import scene, write_video

import mamp
from mamp import config, methods, weights
from mamp.errors import UserError
from mamp.segmentation.model import Model, pick_device


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
    code = "import mamp, sys; assert 'torch' not in sys.modules; dir(mamp); mamp.UserError; assert 'torch' not in sys.modules"
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
    with pytest.raises(UserError, match="no weights of method mamp come with the package; name a file"):
        mamp.load()


def test_a_device_that_is_not_there_is_refused():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:x", ""):
        with pytest.raises(UserError, match="is not known; use auto, cpu, cuda or mps"):
            pick_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda:0 is not on this machine"):
            pick_device("cuda:0")


def test_a_folder_an_array_a_tensor_and_a_generator_give_the_same_label_maps(tmp_path, stored):
    frames = write_video(tmp_path, frames=4)
    model = mamp.load(stored, device="cpu")
    first = tmp_path / "Annotations" / "clip" / "00000.png"
    named = list(mamp.segment_video(frames, first, weights=model))
    assert [name for name, _ in named] == ["00000", "00001", "00002", "00003"]
    from mamp.data.frames import open_frames

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
