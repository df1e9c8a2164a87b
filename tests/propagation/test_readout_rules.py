"""Windows of other shapes, repeated and unbounded memories, and ties, against the dense affinity."""

import math

import pytest
import torch

from mamp.propagation.correlation import topk_readout, window_offsets


def dense(query, keys, values, *, radius, top_k, temperature, shape, ties, counts, free):
    """Every memory copy side by side, one affinity matrix: what published scripts do."""
    height, width = query.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    dy, dx = (v.flatten()[:, None] - v.flatten()[None] for v in (y, x))  # (key, query)
    distance = (dy**2 + dx**2).sqrt()
    outside = {
        "square": (dy.abs() > radius) | (dx.abs() > radius),
        "disc": distance > radius,
        "open_disc": distance >= radius,
    }[shape]
    copies = [(m, True) for m, count in enumerate(counts) for _ in range(count)] + [(m, False) for m in free]
    scores, labels = [], []
    for m, bounded in copies:
        score = keys[m].flatten(1).T @ query.flatten(1) / temperature
        scores.append(score.masked_fill(outside, -math.inf) if bounded else score)
        labels.append(values[m].flatten(1))
    scores = torch.cat(scores)
    best = scores.topk(min(top_k, len(scores)), dim=0)
    if ties == "kept":
        weights = scores.masked_fill(scores < best.values[-1], -math.inf).softmax(0)
    else:
        weights = torch.zeros_like(scores).scatter(0, best.indices, best.values.softmax(0))
    return (torch.cat(labels, dim=1) @ weights).unflatten(1, (height, width))


@pytest.mark.parametrize("shape", ["square", "disc", "open_disc"])
@pytest.mark.parametrize(
    ("counts", "free"), [((1, 1, 1), ()), ((4, 1, 2), (0,)), ((0, 1, 1), (0,)), ((0, 0, 0), (1, 2))]
)
@pytest.mark.parametrize("top_k", [1, 5, 400])
def test_the_readout_equals_the_dense_affinity(shape, counts, free, top_k):
    torch.manual_seed(0)
    query, keys, values = torch.randn(6, 9, 13), torch.randn(3, 6, 9, 13), torch.rand(3, 2, 9, 13)
    knobs = {"radius": 3, "top_k": top_k, "temperature": 0.7, "shape": shape, "counts": counts, "free": free}
    got = topk_readout(query, keys, values, **knobs, outside="masked", max_bytes=1)
    torch.testing.assert_close(got, dense(query, keys, values, **knobs, ties="cut"), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("counts", "free"), [((1, 1), ()), ((3, 1), (1,))])
def test_cells_as_good_as_the_kth_are_kept_where_ties_are(counts, free):
    torch.manual_seed(1)
    levels = torch.randint(0, 2, (2, 4, 8, 11)).float()  # small whole numbers: many exact ties
    query, values = torch.randint(0, 2, (4, 8, 11)).float(), torch.rand(2, 3, 8, 11)
    knobs = {"radius": 2, "top_k": 4, "temperature": 0.5, "shape": "disc", "counts": counts, "free": free}
    got = topk_readout(query, levels, values, **knobs, outside="masked", ties="kept", max_bytes=1)
    want = dense(query, levels, values, **knobs, ties="kept")
    cut = dense(query, levels, values, **knobs, ties="cut")
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    assert (want - cut).abs().max() > 0.05  # the case has ties that matter


def test_a_disc_leaves_out_the_corners_and_an_open_one_its_edge():
    assert [len(window_offsets(2, shape)) for shape in ("square", "disc", "open_disc")] == [25, 13, 9]
