"""RAFT as MAMP uses it, equal to torchvision's own forward with the same random weights."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import optical_flow
from torchvision.models.optical_flow import raft as theirs

from mamp import config
from mamp.core.errors import UserError
from mamp.propagation.motion.build import build_motion
from mamp.propagation.motion.raft import RaftFlow, as_raft_takes_it, load_raft, published_iterations


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return optical_flow.raft_small(weights=None).eval()


def frames(count: int, size=(128, 136)) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        F.interpolate(torch.rand(1, 3, 16, 17), size, mode="bicubic")[0].clamp(0, 1) for _ in range(count)
    ]


def own_forward(monkeypatch, network, query, memory, iterations) -> torch.Tensor:
    """torchvision's flow at 1/8, caught before it is upsampled."""
    caught = []
    monkeypatch.setattr(theirs, "upsample_flow", lambda flow, up_mask=None: caught.append(flow) or flow)
    with torch.no_grad():
        network(as_raft_takes_it(query), as_raft_takes_it(memory), num_flow_updates=iterations)
    return caught[-1]


@pytest.mark.parametrize("iterations", [2, 5])
def test_it_is_torchvisions_own_forward(monkeypatch, network, iterations):
    first, second = frames(2)
    source = RaftFlow(network, iterations=iterations)
    source.see(0, first)
    source.see(1, second)
    ours, _ = source.low_resolution(source.kept[1], source.kept[0], iterations=iterations)
    expected = own_forward(monkeypatch, network, second, first, iterations)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    upsampled = 2 * F.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(source.flow(1, 0), upsampled, atol=1e-4, rtol=1e-4)


def test_the_large_network_is_the_same_and_its_mask_head_never_runs(monkeypatch):
    torch.manual_seed(0)
    network = optical_flow.raft_large(weights=None).eval()
    first, second = frames(2, (128, 128))
    source = RaftFlow(network, iterations=1)
    source.see(0, first)
    source.see(1, second)
    with monkeypatch.context() as patch:
        patch.setattr(network.mask_predictor, "forward", lambda *_: pytest.fail("the mask head ran"))
        ours = source.flow(1, 0)
    expected = own_forward(monkeypatch, network, second, first, 1)
    upsampled = 2 * F.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(ours, upsampled, atol=1e-4, rtol=1e-4)


def test_features_run_once_a_frame_and_context_once_a_query(network):
    calls = {"features": 0, "context": 0}

    def count(name):
        return lambda *_: calls.__setitem__(name, calls[name] + 1)

    handles = [
        network.feature_encoder.register_forward_hook(count("features")),
        network.context_encoder.register_forward_hook(count("context")),
    ]
    source = RaftFlow(network, iterations=1)
    for index, frame in enumerate(frames(4, (128, 128))):
        source.see(index, frame)
        for memory in range(index):
            source.flow(index, memory)
    for handle in handles:
        handle.remove()
    assert calls == {"features": 4, "context": 3}
    assert network.corr_block.corr_pyramid == []
    assert [seen.context is None for seen in source.kept.values()] == [True, True, True, False]


@pytest.mark.parametrize("size", [(40, 132), (129, 130)])
def test_the_flow_has_the_size_of_the_features_for_any_frame(network, size):
    source = RaftFlow(network)
    for index, frame in enumerate(frames(2, size)):
        source.see(index, frame)
    assert source.flow(1, 0).shape == (2, -(-size[0] // 4), -(-size[1] // 4))


def raft(*knobs: str):
    loaded = config.load(
        None, ["method.motion.source=raft", *(f"method.motion.{k}" for k in knobs)]
    ).method.motion
    return build_motion(loaded, features=lambda _: torch.empty(0))


def test_weights_come_from_a_file(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    source = raft("raft=small", f"weights={tmp_path / 'raft.pth'}")
    for name, value in source.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_wrong_or_absent_weights_are_told_in_a_sentence(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "small.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match="set method.motion.weights=FILE"):
        raft()
    with pytest.raises(UserError, match=r"absent\.pth does not exist"):
        raft(f"weights={tmp_path / 'absent.pth'}")
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        raft(f"weights={tmp_path / 'text.pth'}")
    with pytest.raises(UserError, match="does not hold the weights of torchvision's raft_large"):
        raft(f"weights={tmp_path / 'small.pth'}")


def test_a_download_that_fails_is_told_in_a_sentence(monkeypatch):
    def offline(*_, weights):
        raise OSError("no network")

    monkeypatch.setattr(optical_flow, "raft_large", offline)
    with pytest.raises(
        UserError, match=r"cannot be downloaded \(no network\); set method.motion.weights=FILE"
    ):
        load_raft("large", "torchvision")


def test_far_frames_get_more_iterations_as_published():
    assert [published_iterations(apart, far=15) for apart in (1, 15, 16)] == [2, 2, 5]


@pytest.mark.parametrize("kind", ["small", "large"])
def test_at_every_pixel_it_is_what_torchvision_returns(kind):
    torch.manual_seed(0)
    network = {"small": optical_flow.raft_small, "large": optical_flow.raft_large}[kind](weights=None).eval()
    first, second = frames(2, (128, 131))
    source = RaftFlow(network, iterations=2, stride=1)
    source.see(0, first)
    source.see(1, second)
    for query, memory, pair in ((1, 0, (second, first)), (0, 1, (first, second))):
        with torch.no_grad():
            expected = network(*map(as_raft_takes_it, pair), num_flow_updates=2)[-1][0, :, :, :131]
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(source.flow(query, memory), expected, atol=1e-3, rtol=1e-4)
