"""Wider networks made of narrow ones: the same function, and room to learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp import config
from mamp.methods.mamp import widen
from mamp.methods.mamp.encoder import build_model


def network(channels, state=None):
    """One of `channels` in its first layer, with every entry of its batch norms drawn at random, or with
    `state`.
    """
    encoder = {"width": channels / 64, "features": 8}
    model = build_model(config.load(base={"method": {"name": "mamp", "encoder": encoder}}).method)
    for value in model.state_dict().values() if state is None else ():
        if value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5)
    if state is not None:
        model.load_state_dict(state)
    return model.eval()


def widened(small, channels, *, seed=0):
    shapes = {name: value.shape for name, value in network(channels).state_dict().items()}
    return widen.widened(small.state_dict(), shapes, seed=seed)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return network(8)


@settings(max_examples=8, deadline=None)
@given(channels=st.integers(9, 24), seed=st.integers(0, 9))
def test_without_noise_the_function_is_the_same_whatever_the_counts(channels, seed):
    torch.manual_seed(seed)
    narrow = network(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widen, "SPREAD", 0)
        state = widened(narrow, channels, seed=seed)
    x = torch.rand(1, 3, 24, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(channels, state)(x), narrow(x), atol=1e-4, rtol=1e-4)


def test_with_noise_the_features_hardly_differ(small):
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        likeness = torch.cosine_similarity(network(16, widened(small, 16))(x), small(x), dim=1)
    assert 0.98 < likeness.mean() < 1


def test_noise_tells_the_copies_of_a_filter_apart(small):
    one, other = widened(small, 16)["stem.0.weight"].chunk(2)
    assert (one - other).flatten(1).abs().sum(1).min() > 0
    torch.testing.assert_close((one + other) / 2, small.state_dict()["stem.0.weight"])


def test_copies_are_read_unevenly_and_in_all_as_the_one_before(small):
    old = small.state_dict()["head.weight"]  # (8, C, 3, 3): its outputs do not grow, so no noise
    one, other = widened(small, 16)["head.weight"].chunk(2, dim=1)
    torch.testing.assert_close(one + other, old)
    shares = (one / old)[0, :, 0, 0]
    assert shares.min() >= 0.4 and shares.max() <= 0.6 and shares.std() > 0.01


def test_what_would_shrink_is_refused(small):
    with pytest.raises(ValueError, match="is wider than"):
        widened(network(16), 8)
