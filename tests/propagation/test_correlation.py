"""Tiled correlation against plain definitions written here."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp.propagation.correlation import query_tiles, topk_readout, topk_window, untile, window_attention


def window_scores(query, keys, radius):
    """(M, P*P, h*w) dot products of every query with its window in every memory, zeros outside."""
    columns = F.unfold(keys, 2 * radius + 1, padding=radius)  # (M, C*P*P, h*w)
    columns = columns.reshape(len(keys), keys.shape[1], -1, columns.shape[-1])
    return torch.einsum("cq,mcpq->mpq", query.flatten(1), columns)


def plain_topk(query, keys, values, *, radius, top_k, temperature, outside):
    scores = window_scores(query, keys, radius) / temperature
    if outside == "masked":
        inside = F.unfold(torch.ones_like(keys[:, :1]), 2 * radius + 1, padding=radius)
        scores = scores.masked_fill(inside == 0, -math.inf)
    flat = scores.flatten(0, 1)
    top = flat.topk(min(top_k, len(flat)), dim=0)
    columns = F.unfold(values, 2 * radius + 1, padding=radius).reshape(
        len(values), values.shape[1], -1, flat.shape[1]
    )
    columns = columns.transpose(1, 2).flatten(0, 1)  # (M*P*P, V, h*w)
    picked = columns.gather(0, top.indices[:, None].expand(-1, values.shape[1], -1))
    return (top.values.softmax(0)[:, None] * picked).sum(0).unflatten(1, query.shape[1:])


shapes = st.tuples(
    st.integers(1, 19), st.integers(1, 21), st.integers(0, 7), st.integers(1, 3), st.integers(1, 40)
)


@given(
    shape=shapes, tile=st.integers(4, 9), seed=st.integers(0, 99), outside=st.sampled_from(["zero", "masked"])
)
@settings(max_examples=30)
def test_topk_readout_equals_the_plain_definition(shape, tile, seed, outside):
    height, width, radius, memories, top_k = shape
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(5, height, width, generator=generator)
    keys = torch.randn(memories, 5, height, width, generator=generator)
    values = torch.rand(memories, 3, height, width, generator=generator)
    knobs = {"radius": radius, "top_k": top_k, "temperature": 2.0, "outside": outside}
    got = topk_readout(query, keys, values, **knobs, tile=tile, max_bytes=1)
    torch.testing.assert_close(got, plain_topk(query, keys, values, **knobs), atol=2e-5, rtol=1e-4)


def test_working_memory_and_tile_change_nothing():
    torch.manual_seed(0)
    query, keys, values = torch.randn(8, 33, 29), torch.randn(3, 8, 33, 29), torch.rand(3, 2, 33, 29)
    knobs = {"radius": 6, "top_k": 9, "temperature": 1.0}
    whole = topk_readout(query, keys, values, **knobs, tile=16, max_bytes=1 << 30)
    for tile, max_bytes in ((4, 1), (8, 1 << 20), (31, 1 << 22)):
        torch.testing.assert_close(
            topk_readout(query, keys, values, **knobs, tile=tile, max_bytes=max_bytes), whole
        )


def test_many_values_are_read_in_parts():
    torch.manual_seed(0)
    query, keys, values = (
        torch.randn(8, 12, 13),
        list(torch.randn(3, 8, 12, 13)),
        list(torch.rand(3, 50, 12, 13)),
    )
    knobs = {"radius": 4, "top_k": 9, "temperature": 1.0}
    whole = topk_readout(query, keys, values, **knobs, max_bytes=1 << 30)
    torch.testing.assert_close(topk_readout(query, keys, values, **knobs, max_bytes=1 << 14), whole)
    alone = topk_readout(query, keys, [value[40:] for value in values], **knobs)
    torch.testing.assert_close(whole[40:], alone)


@pytest.mark.parametrize("memories", [1, 3])
def test_topk_readout_has_the_gradients_of_the_plain_definition(memories):
    torch.manual_seed(memories)
    inputs = [torch.randn(*shape, requires_grad=True) for shape in ((5, 9, 7), (memories, 5, 9, 7))]
    values = torch.rand(memories, 2, 9, 7)
    knobs = {"radius": 3, "top_k": 6, "temperature": 2.0, "outside": "masked"}
    slope = torch.randn(2, 9, 7)
    ours = torch.autograd.grad((topk_readout(*inputs, values, **knobs, max_bytes=1) * slope).sum(), inputs)
    plain = torch.autograd.grad((plain_topk(*inputs, values, **knobs) * slope).sum(), inputs)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_weights_are_descending_and_sum_to_one():
    torch.manual_seed(0)
    weights, index = topk_window(
        torch.randn(4, 9, 11), torch.randn(2, 4, 9, 11), radius=3, top_k=7, temperature=1.0
    )
    assert weights.shape == index.shape == (99, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(99))
    assert (weights.diff(dim=1) <= 0).all()


def test_outside_cells_take_weight_only_when_asked():
    query, keys = -torch.ones(1, 4, 4), torch.ones(1, 1, 4, 4)  # every score inside is negative
    values = torch.ones(1, 1, 4, 4)
    knobs = {"radius": 4, "top_k": 4, "temperature": 1.0}
    assert topk_readout(query, keys, values, **knobs, outside="zero").max() == 0
    torch.testing.assert_close(
        topk_readout(query, keys, values, **knobs, outside="masked"), torch.ones(1, 4, 4)
    )


def plain_attention(query, keys, values, *, radius, temperature):
    scores = torch.stack(
        [
            torch.cat([window_scores(q, k[None], radius) for q, k in zip(query, key, strict=True)])
            for key in keys
        ]
    )  # (r, B, P*P, h*w)
    weights = (scores / temperature).transpose(0, 1).flatten(1, 2).softmax(1)  # (B, r*P*P, h*w)
    columns = [F.unfold(v, 2 * radius + 1, padding=radius).unflatten(1, (v.shape[1], -1)) for v in values]
    return torch.einsum("bpq,bvpq->bvq", weights, torch.cat(columns, dim=2)).unflatten(2, query.shape[2:])


@given(
    size=st.tuples(st.integers(2, 13), st.integers(2, 13)),
    radius=st.integers(0, 5),
    references=st.integers(1, 3),
)
@settings(max_examples=15)
def test_window_attention_equals_the_plain_definition_forward_and_backward(size, radius, references):
    torch.manual_seed(references)
    query = torch.randn(2, 3, *size, requires_grad=True)
    keys = [torch.randn(2, 3, *size, requires_grad=True) for _ in range(references)]
    values = [torch.rand(2, 2, *size) for _ in range(references)]
    got = window_attention(query, keys, values, radius=radius, temperature=1.5, tile=4)
    expected = plain_attention(query, keys, values, radius=radius, temperature=1.5)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    slope = torch.randn_like(expected)
    ours = torch.autograd.grad((got * slope).sum(), [query, *keys])
    plain = torch.autograd.grad((expected * slope).sum(), [query, *keys])
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("tile", [4, 5, 8])
def test_untile_undoes_query_tiles(tile):
    x = torch.randn(2, 3, 13, 10)
    torch.testing.assert_close(untile(query_tiles(x, tile), 13, 10), x)


def test_attention_under_autocast_is_computed_in_float32():
    query = torch.randn(1, 4, 8, 8)
    value = torch.rand(1, 1, 8, 8)
    plain = window_attention(query, [query], [value], radius=2, temperature=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = window_attention(query, [query], [value], radius=2, temperature=1.0)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)
