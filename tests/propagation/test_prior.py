"""The prior for what is near by: as its definition, in every search, tile and size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mamp.propagation.blocks import block_readout
from mamp.propagation.correlation import topk_readout
from mamp.propagation.prior import CHANNELS, with_prior


def inputs(seed: int, size: tuple[int, int], memories: int = 3) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Query, keys and values with random numbers."""
    generator = torch.Generator().manual_seed(seed)
    query, *keys = torch.randn(1 + memories, 5, *size, generator=generator)
    return query, keys, list(torch.rand(memories, 2, *size, generator=generator))


def plain(query: Tensor, keys: list[Tensor], values: list[Tensor], *, prior: float, radius: int, top_k: int):
    """By the definition, cell by cell: similarity less prior * (d / radius)^2, the best k of the windows."""
    _, height, width = query.shape
    cells = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)
    cells = cells.flatten(0, 1).double()
    apart = cells[:, None] - cells[None]
    outside = (apart.abs() > radius).any(-1)
    lost = prior * apart.square().sum(-1) / max(radius, 1) ** 2
    scores = [query.flatten(1).T.double() @ key.flatten(1).double() - lost for key in keys]
    scores = torch.cat([score.masked_fill(outside, -torch.inf) for score in scores], dim=1)
    best = scores.topk(min(top_k, scores.shape[1]), dim=1)
    weights = best.values.softmax(dim=1)
    table = torch.cat([value.flatten(1) for value in values], dim=1).double().T  # (M*h*w, V)
    return (table[best.indices] * weights[..., None]).sum(1).T.unflatten(1, (height, width))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("size", "radius"), [((7, 9), 3), ((12, 5), 2), ((6, 6), 0), ((9, 16), 20)])
@pytest.mark.parametrize("prior", [0.05, 1.0, 8.0])
def test_similarities_are_less_by_the_squared_distance(seed, size, radius, prior):
    query, keys, values = inputs(seed, size)
    wanted = plain(query, keys, values, prior=prior, radius=radius, top_k=4)
    asked, known = with_prior(query, keys, prior=prior, radius=radius)
    assert len(asked) == len(query) + CHANNELS and len(known) == len(keys)
    found = topk_readout(
        asked, known, values, radius=radius, top_k=4, temperature=1.0, outside="masked", tile=4 + seed
    )
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_the_search_by_blocks_reads_the_same(seed, size):
    query, keys, values = inputs(seed, size)
    wanted = plain(query, keys, values, prior=0.5, radius=20, top_k=5)
    asked, known = with_prior(query, keys, prior=0.5, radius=20)
    found = block_readout(
        asked, known, values, radius=20, near=2, top_k=5, temperature=1.0, blocks=1000, tile=4
    )
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


def test_a_strong_prior_reads_the_place_itself():
    query, keys, values = inputs(0, (6, 8), memories=1)
    asked, known = with_prior(query, keys, prior=1e5, radius=3)
    found = topk_readout(asked, known, values, radius=3, top_k=3, temperature=1.0, outside="masked")
    torch.testing.assert_close(found, values[0], atol=1e-3, rtol=1e-3)


def test_what_is_given_stays_as_it_is():
    query, keys, _ = inputs(1, (4, 4))
    before = [x.clone() for x in (query, *keys)]
    with_prior(query, keys, prior=1.0, radius=2)
    assert all(torch.equal(a, b) for a, b in zip(before, (query, *keys), strict=True))
