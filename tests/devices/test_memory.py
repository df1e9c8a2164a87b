"""Working memory by device, and constants that are made once."""

from __future__ import annotations

import pytest
import torch
from counting import frame_costs, worst
from pretend import pretend

from mamp import config
from mamp.core.devices import working_bytes
from mamp.core.errors import UserError
from mamp.core.files import MB
from mamp.ops import constants
from mamp.segmentation.record import claim

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_what_is_asked_for_holds_on_every_device(gpu, device):
    assert working_bytes(16, torch.device(device), on_cpu=8) == 16 * MB


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_without_a_gpu_the_default_is_the_methods_own(device):
    assert working_bytes(None, torch.device(device), on_cpu=8) == 8 * MB


@pytest.mark.parametrize(
    "free_mb, given_mb", [(80_000, 1024), (8 * 1024, 1024), (4 * 1024, 512), (800, 100), (100, 64), (0, 64)]
)
def test_on_cuda_it_is_an_eighth_of_what_is_free(possible, free_mb, given_mb):
    with pretend(free=free_mb * MB):
        assert working_bytes(None, CUDA, on_cpu=64) == given_mb * MB


def test_memory_that_torch_holds_and_does_not_use_is_free(possible, monkeypatch):
    with pretend(free=0):
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 4096 * MB)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 2048 * MB)
        assert working_bytes(None, CUDA, on_cpu=16) == 256 * MB


@pytest.mark.parametrize("method", ["mamp", "stm", "afb_urr", "probe"])
def test_a_setting_of_before_is_taken(method):
    line = f"method.name={method}", "method.propagation.max_mb=16"
    assert config.load(None, line).method.propagation.max_mb == 16
    assert config.load(None, line[:1]).method.propagation.max_mb is None


@pytest.mark.parametrize("label", ["mamp tuned", "mamp published", "mamp coarse"])
def test_chunks_of_a_gpu_take_fewer_operations(gpu, raft, label):
    kind = {"size": (48, 64), "warm": 0, "count": 1}
    whole = worst(frame_costs(gpu, label, raft, **kind))
    small = worst(frame_costs(gpu, label, raft, "method.propagation.max_mb=1", **kind))
    assert whole.launches < small.launches


@pytest.mark.parametrize("method", ["mamp", "stm", "afb_urr", "probe"])
def test_an_evaluation_goes_on_with_another_bound(tmp_path, method):
    def info(*more: str) -> dict:
        return {"config": config.load(None, [f"method.name={method}", *more]).model_dump(mode="json")}

    claim(tmp_path, info("method.propagation.max_mb=16"))
    claim(tmp_path, info())
    with pytest.raises(UserError, match="preset"):
        claim(tmp_path, info(f"method.preset={'crw' if method == 'probe' else 'published'}"))


def test_a_constant_is_made_once_for_a_size_and_a_device(gpu):
    made = []

    @constants.once
    def make(size: int, device: torch.device) -> torch.Tensor:
        made.append((size, device))
        return torch.zeros(size, device=device)

    assert make(3, CUDA) is make(3, CUDA) and make(3, CPU) is not make(3, CUDA)
    assert made == [(3, CUDA), (3, CPU)]


def test_constants_of_many_sizes_are_not_all_kept():
    made = []
    make = constants.once(lambda size, device: made.append(size) or torch.zeros(size, device=device))
    for _ in range(2):
        for size in range(constants.KEPT + 1):
            make(size, CPU)
    assert len(made) == 2 * (constants.KEPT + 1)


def test_a_constant_made_while_segmenting_can_be_learnt_with():
    with torch.inference_mode():
        made = constants.numbers((2.0, 3.0), CPU)
    weight = torch.ones(2, requires_grad=True)
    (made * weight).sum().backward()
    assert weight.grad.tolist() == [2.0, 3.0]
