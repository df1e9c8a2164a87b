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
    near: int,
    top_k: int,
    temperature: float,
    blocks: int,
) -> Tensor:
    """The definition: the cells near by, those of the best blocks of the window, cell by cell."""
    height, width = query.shape[-2:]
    result = torch.zeros(len(values[0]), height, width)
    for y in range(height):
        for x in range(width):
            cells = {
                (m, v, u)
                for m in range(len(keys))
                for v in range(max(0, y - near), min(height, y + near + 1))
                for u in range(max(0, x - near), min(width, x + near + 1))
            }
            for _, m, by, bx in best_blocks(query, keys, y // 2, x // 2, reach=math.ceil(radius / 2))[
                :blocks
            ]:
                cells |= {(m, v, u) for v in (2 * by, 2 * by + 1) for u in (2 * bx, 2 * bx + 1)}
            inside = [(m, v, u) for m, v, u in sorted(cells) if v < height and u < width]
            scores = torch.stack([query[:, y, x] @ keys[m][:, v, u] for m, v, u in inside]) / temperature
            top = scores.topk(min(top_k, len(inside)))
            read = torch.stack([values[m][:, v, u] for m, v, u in (inside[i] for i in top.indices)])
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
    near=st.integers(0, 3),
    top_k=st.integers(1, 7),
    blocks=st.sampled_from([1, 2, 3, 8, 400]),
)
def test_equals_the_definition(seed, size, memories, radius, near, top_k, blocks):
    query, keys, values = inputs(seed, size, memories)
    knobs = {"radius": radius, "near": near, "top_k": top_k, "temperature": 0.5, "blocks": blocks}
    found = block_readout(query, keys, values, **knobs, tile=4, max_bytes=1)
    torch.testing.assert_close(found, plain(query, keys, values, **knobs), atol=1e-5, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), size=SIZES, memories=st.integers(1, 3), top_k=st.integers(1, 9))
def test_all_blocks_of_a_window_that_holds_the_frame_are_the_exact_reading(seed, size, memories, top_k):
    query, keys, values = inputs(seed, size, memories)
    knobs = {"radius": 10, "top_k": top_k, "temperature": 0.3}
    found = block_readout(query, keys, values, **knobs, near=1, blocks=10_000)
    exact = topk_readout(query, keys, values, **knobs, outside="masked")
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=SIZES, blocks=st.integers(1, 9), top_k=st.integers(1, 9))
def test_weights_are_descending_and_sum_to_one_and_places_are_in_the_memories(seed, size, blocks, top_k):
    query, keys, _ = inputs(seed, size, 2)
    weights, index = block_window(query, keys, radius=3, near=1, top_k=top_k, temperature=0.1, blocks=blocks)
    assert weights.shape == index.shape == (size[0] * size[1], min(top_k, weights.shape[1]))
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    assert (weights.diff(dim=1) <= 0).all()
    assert index.min() >= 0 and index.max() < 2 * size[0] * size[1]


def test_working_memory_and_tile_change_nothing():
    query, keys, values = inputs(0, (23, 31), 3, labels=5)
    knobs = {"radius": 7, "near": 2, "top_k": 5, "temperature": 0.2, "blocks": 6}
    whole = block_readout(query, keys, values, **knobs, tile=16, max_bytes=1 << 30)
    for tile, max_bytes in ((4, 1), (8, 1 << 14), (12, 1 << 20)):
        found = block_readout(query, keys, values, **knobs, tile=tile, max_bytes=max_bytes)
        torch.testing.assert_close(found, whole)


def test_many_objects_are_read_as_each_alone():
    query, keys, values = inputs(1, (9, 13), 2, labels=60)
    knobs = {"radius": 4, "near": 1, "top_k": 5, "temperature": 0.2, "blocks": 4, "max_bytes": 1 << 12}
    together = block_readout(query, keys, values, **knobs)
    for one in (0, 31, 59):
        alone = block_readout(query, keys, [value[one : one + 1] for value in values], **knobs)
        torch.testing.assert_close(together[one : one + 1], alone)


def test_a_frame_is_found_again_in_itself():
    query, _, values = inputs(2, (14, 17), 1, channels=32)
    query = torch.nn.functional.normalize(query, dim=0)
    found = block_readout(query, [query], values, radius=6, near=0, top_k=1, temperature=0.07, blocks=1)
    torch.testing.assert_close(found, values[0])


def test_what_moved_far_is_found_by_its_block():
    generator = torch.Generator().manual_seed(0)
    key = torch.nn.functional.normalize(torch.randn(32, 20, 20, generator=generator), dim=0)
    query = torch.roll(key, (8, 6), dims=(1, 2))
    label = torch.zeros(1, 20, 20)
    label[:, 4:8, 4:8] = 1
    found = block_readout(query, [key], [label], radius=10, near=2, top_k=1, temperature=0.07, blocks=2)
    torch.testing.assert_close(found[:, 12:16, 10:14], torch.ones(1, 4, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 2), (5, 8)])
def test_every_size_is_read_without_a_gap(size):
    query, keys, _ = inputs(3, size, 2)
    labels = torch.ones(1, *size)
    found = block_readout(
        query, keys, [labels, labels], radius=2, near=1, top_k=5, temperature=0.07, blocks=2
    )
    torch.testing.assert_close(found, labels)
