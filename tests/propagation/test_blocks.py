"""Reading by blocks against its definition, one query cell after the other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mamp.propagation.blocks import block_readout, block_window, pooled
from mamp.propagation.correlation import topk_readout

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def inputs(seed: int, size: tuple[int, int], memories: int, *, channels: int = 6, labels: int = 3):
    generator = torch.Generator().manual_seed(seed)
    query, *keys = torch.randn(memories + 1, channels, *size, generator=generator).unbind()
    values = torch.rand(memories, labels, *size, generator=generator).unbind()
    return query, keys, list(values)


def plain(
    query: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    *,
    radius: int,
    top_k: int,
    temperature: float,
    blocks: int,
) -> Tensor:
    """The definition: blocks of the window by their mean, then the cells of the best, cell by cell."""
    height, width = query.shape[-2:]
    result = torch.zeros(len(values[0]), height, width)
    for y in range(height):
        for x in range(width):
            chosen = best_blocks(query, keys, y // 2, x // 2, reach=math.ceil(radius / 2))[:blocks]
            cells = [
                (m, v, u) for _, m, by, bx in chosen for v in (2 * by, 2 * by + 1) for u in (2 * bx, 2 * bx +
                1) if v < height and u < width
            ]  # fmt: skip
            scores = torch.stack([query[:, y, x] @ keys[m][:, v, u] for m, v, u in cells]) / temperature
            top = scores.topk(min(top_k, len(cells)))
            read = torch.stack([values[m][:, v, u] for m, v, u in (cells[i] for i in top.indices)])
            result[:, y, x] = top.values.softmax(0) @ read
    return result


def best_blocks(query: Tensor, keys: list[Tensor], by: int, bx: int, *, reach: int):
    """(score, memory, row, column) of the blocks around block (by, bx), best first."""
    means = [pooled(key) for key in keys]
    rows, columns = means[0].shape[-2:]
    found = [
        (float(pooled(query)[:, by, bx] @ mean[:, v, u]), m, v, u)
        for m, mean in enumerate(means)
        for v in range(max(0, by - reach), min(rows, by + reach + 1))
        for u in range(max(0, bx - reach), min(columns, bx + reach + 1))
    ]
    return sorted(found, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=SIZES,
    memories=st.integers(1, 3),
    radius=st.integers(0, 5),
    top_k=st.integers(1, 7),
    blocks=st.sampled_from([1, 2, 3, 8, 400]),
)
def test_equals_the_definition(seed, size, memories, radius, top_k, blocks):
    query, keys, values = inputs(seed, size, memories)
    knobs = {"radius": radius, "top_k": top_k, "temperature": 0.5, "blocks": blocks}
    found = block_readout(query, keys, values, **knobs, tile=4, max_bytes=1)
    torch.testing.assert_close(found, plain(query, keys, values, **knobs), atol=1e-5, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), size=SIZES, memories=st.integers(1, 3), top_k=st.integers(1, 9))
def test_all_blocks_of_a_window_that_holds_the_frame_are_the_exact_reading(seed, size, memories, top_k):
    query, keys, values = inputs(seed, size, memories)
    knobs = {"radius": 10, "top_k": top_k, "temperature": 0.3}
    found = block_readout(query, keys, values, **knobs, blocks=10_000)
    exact = topk_readout(query, keys, values, **knobs, outside="masked")
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=SIZES, blocks=st.integers(1, 9), top_k=st.integers(1, 9))
def test_weights_are_descending_and_sum_to_one_and_places_are_in_the_memories(seed, size, blocks, top_k):
    query, keys, _ = inputs(seed, size, 2)
    weights, index = block_window(query, keys, radius=3, top_k=top_k, temperature=0.1, blocks=blocks)
    assert weights.shape == index.shape == (size[0] * size[1], min(top_k, weights.shape[1]))
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    assert (weights.diff(dim=1) <= 0).all()
    assert index.min() >= 0 and index.max() < 2 * size[0] * size[1]


def test_working_memory_and_tile_change_nothing():
    query, keys, values = inputs(0, (23, 31), 3, labels=5)
    knobs = {"radius": 7, "top_k": 5, "temperature": 0.2, "blocks": 6}
    whole = block_readout(query, keys, values, **knobs, tile=16, max_bytes=1 << 30)
    for tile, max_bytes in ((4, 1), (8, 1 << 14), (12, 1 << 20)):
        found = block_readout(query, keys, values, **knobs, tile=tile, max_bytes=max_bytes)
        torch.testing.assert_close(found, whole)


def test_many_objects_are_read_as_each_alone():
    query, keys, values = inputs(1, (9, 13), 2, labels=60)
    knobs = {"radius": 4, "top_k": 5, "temperature": 0.2, "blocks": 4, "max_bytes": 1 << 12}
    together = block_readout(query, keys, values, **knobs)
    for one in (0, 31, 59):
        alone = block_readout(query, keys, [value[one : one + 1] for value in values], **knobs)
        torch.testing.assert_close(together[one : one + 1], alone)


def test_a_frame_is_found_again_in_itself():
    query, _, values = inputs(2, (14, 17), 1, channels=32)
    query = torch.nn.functional.normalize(query, dim=0)
    found = block_readout(query, [query], values, radius=6, top_k=1, temperature=0.07, blocks=8)
    same = (found == values[0]).all(0)
    assert same.float().mean() > 0.95  # a cell may be hidden in the mean of its block


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 2), (5, 8)])
def test_every_size_is_read_without_a_gap(size):
    query, keys, _ = inputs(3, size, 2)
    labels = torch.ones(1, *size)
    found = block_readout(query, keys, [labels, labels], radius=2, top_k=5, temperature=0.07, blocks=2)
    torch.testing.assert_close(found, labels)
