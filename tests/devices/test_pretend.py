"""The pretend device itself: it computes as the CPU does, and raises and counts as a GPU would."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn


def test_what_is_made_on_it_says_so_and_computes_as_the_cpu(gpu):
    a = torch.rand(3, 4)
    there = a.to("cuda")
    assert there.device == torch.device("cuda", 0) and there.is_cuda and not there.is_cpu
    torch.testing.assert_close((there @ there.T).softmax(0).cpu(), (a @ a.T).softmax(0))


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: torch.cat((there, here)),
        lambda there, here: there @ here,
        lambda there, here: here[there.long()],
        lambda there, here: torch.where(there > 0, there, here),
        lambda there, here: here.add_(there),
    ],
)
def test_tensors_of_both_devices_do_not_meet(gpu, mix):
    with pytest.raises(RuntimeError, match="cuda:0"):
        mix(torch.rand(3, 3, device="cuda"), torch.rand(3, 3))


def test_numbers_and_indices_of_the_cpu_are_taken(gpu):
    there = torch.rand(3, device="cuda")
    assert torch.equal((there * torch.tensor(2.0)).cpu(), 2 * there.cpu())
    gpu.reset()
    there[[2, 0]]
    assert sum(gpu.uploads.values()) == 1 and not gpu.stalls


def test_it_has_no_numpy(gpu):
    with pytest.raises(TypeError, match="cuda:0"):
        torch.rand(3, device="cuda").numpy()


def test_a_generator_of_the_cpu_draws_nothing_on_it(gpu):
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device="cuda", generator=torch.Generator())


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: float(x[0]),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0.5],
        lambda x: x.unique(),
        lambda x: x.long().bincount(),
        lambda x: x.repeat_interleave(torch.ones_like(x, dtype=torch.int64)),
        lambda x: f"{x.sum():.2f}",
        lambda x: torch.zeros(4).copy_(x),
    ],
)
@pytest.mark.parametrize("inference", [True, False])
def test_whoever_waits_for_it_is_counted_once(gpu, wait, inference):
    with torch.inference_mode(inference):
        x = torch.rand(4, device="cuda")
        gpu.reset()
        wait(x)
    assert sum(gpu.stalls.values()) == 1


def test_operations_are_counted_and_views_are_not(gpu):
    x = torch.rand(4, 4, device="cuda")
    gpu.reset()
    (x[:2].T.reshape(2, 4) + 1).relu_().view(-1)
    assert gpu.launches == {"clone": 1, "add": 1, "relu_": 1} and not gpu.stalls


def test_a_place_in_the_package_is_named(gpu):
    from mamp.propagation.labels import with_small_ones

    cells = torch.zeros(1, 2, 2, device="cuda")
    gpu.reset()
    with_small_ones(cells, torch.ones_like(cells))
    assert all(place.startswith("propagation/labels.py:") for _, place in gpu.stalls)


def _loss(network: nn.Module, device: str) -> torch.Tensor:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(device)
    return network(x).square().mean() + network(x.flip(-1)).amax()


@pytest.mark.parametrize("fused", [True, False])
def test_it_learns_as_the_cpu_does(gpu, fused):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    other = copy.deepcopy(network).to("cuda")
    for each, device in ((network, "cpu"), (other, "cuda")):
        optimizer = torch.optim.Adam(each.parameters(), fused=fused)
        for _ in range(2):
            optimizer.zero_grad()
            _loss(each, device).backward()
            optimizer.step()
    assert all(p.is_cuda for p in other.parameters())
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value.cpu(), network.state_dict()[name])
