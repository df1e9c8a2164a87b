import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from mamp.core.devices import amp_dtype, backward_on, pick_device
from mamp.core.errors import UserError

CPU = torch.device("cpu")


def test_auto_is_a_device_of_this_machine():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_a_device_that_is_not_known_is_refused(name):
    with pytest.raises(UserError, match="is not known; use auto, cpu, cuda, cuda:N or mps"):
        pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="cuda:0 is not on this machine"):
        pick_device("cuda:0")


def test_formats_are_taken_by_name_and_fp16_only_on_cuda():
    assert amp_dtype("off", CPU) is None
    assert amp_dtype("bf16", CPU) == torch.bfloat16
    assert amp_dtype("fp16", torch.device("cuda")) == torch.float16
    with pytest.raises(UserError, match="amp=fp16 needs a CUDA GPU, and this is cpu"):
        amp_dtype("fp16", CPU)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bf16_where_the_processor_is_faster_at_it(monkeypatch, fast):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert amp_dtype("auto", CPU) == (torch.bfloat16 if fast else None)


NARROW = """
import torch
from torch import nn
from mamp.core.devices import backward_on

network = nn.Conv2d(8, 16, 1, stride=2).to(memory_format=torch.channels_last)
for _ in range(400):
    with backward_on(torch.device("cpu"), network):
        network(torch.randn(3, 8, 8, 12)).square().sum().backward()
    others = [torch.randn(n) for n in (7, 33, 100, 1000)]
"""


def test_a_narrow_network_survives_its_gradients(repository):
    env = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(repository)}
    assert subprocess.run([sys.executable, "-c", NARROW], env=env).returncode == 0


@pytest.mark.parametrize(
    "layer, kept",
    [
        (nn.Conv2d(8, 16, 1, stride=2), False),
        (nn.Conv2d(16, 32, 1, stride=2), True),
        (nn.Conv2d(8, 16, 3, stride=2), True),
    ],
)
def test_other_networks_keep_their_fast_gradients(layer, kept):
    with backward_on(CPU, nn.Sequential(layer)):
        assert torch.backends.mkldnn.enabled == kept
    assert torch.backends.mkldnn.enabled
