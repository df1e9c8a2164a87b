"""How long a propagation step takes, against one pass of the encoder and against the published way.

    python scripts/benchmarks/propagation.py [--quick] [--runs N] [--device D] [--amp A] [--json FILE]
        [--shipped WxH ...] [--only-shipped]

The weights that ship, one object, every preset: seconds a frame and peak memory at 854x480, or at the sizes
of --shipped; as on a processor without AVX-512 and bf16, on one thread:
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 \
        python scripts/benchmarks/propagation.py --amp off --only-shipped --shipped 854x480 1920x1080

The rest: random weights of full width; a rendered clip at 240 px, enlarged for 360 and 480. The step is that
of the preset `published` with five memory frames (radius 12, top 36), frame in, probabilities out; beside it
other numbers of objects, every motion source, and the preset `tuned`. Steps run in the precision that `mamp
evaluate` takes by itself on the device (`--amp auto`), and once more in float32 where that is another one;
the plain encoder runs in float32. The published way encodes all memories anew for every frame, correlates by
one shift at a time and unfolds the masks of seven classes. Figures are medians of the runs, which take turns,
so that a busy machine is fair to all. RAFT's weights are random: its time is right, its flow is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import peak, processor

from mamp import config
from mamp.core.devices import amp_dtype, pick_device
from mamp.core.errors import UserError
from mamp.core.files import MB
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import build_model
from mamp.methods.mamp.propagator import MampPropagator as build_propagator
from mamp.ops.colour import rgb_to_lab
from mamp.ops.folding import fold_batch_norms
from mamp.ops.sizes import pad_to_multiple, resize
from mamp.segmentation import model as models
from mamp.video.synthetic import render_clip

MEMORIES, RADIUS, TOP_K, CLASSES = 5, 12, 36, 7
FIVE_MEMORIES = [
    "method.preset=published",
    "method.propagation.memory=recent",
    f"method.propagation.memory_length={MEMORIES - 1}",
]
MOTION = {
    "coarse": ["source=coarse"],
    "DIS": ["source=dis"],
    "DIS composed": ["source=dis", "compose=true"],
    "RAFT (random weights)": ["source=raft", "weights={raft}"],
}  # fmt: skip
SHIPPED, PRESETS = "mamp-small", ("tuned", "fast", "exact", "published")
FRAMES = 8  # of the clip: as many as fill the memory of any preset, then again from the start
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny frames and network: only to see that it runs"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each that the medians are of")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--amp", default="auto", help="off, auto, bf16 or fp16; of the step, not of the plain encoder"
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument(
        "--shipped",
        nargs="+",
        metavar="WxH",
        help="sizes of frames for the shipped weights (default 854x480; with --quick 96x54)",
    )
    parser.add_argument("--only-shipped", action="store_true", help="leave out the random weights")
    parser.add_argument("--peak-of", nargs=2, metavar=("PRESET", "WxH"), help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(json.dumps(peaks(args.peak, quick=args.quick)))
        return
    device = pick_device(args.device)
    if args.peak_of:
        print(peak_of(*args.peak_of, device=device, amp=args.amp))
        return
    figures: Figures = {"machine": machine(device, args.amp)}
    print("\n".join(f"{key}: {value}" for key, value in figures["machine"].items()))
    runs = 1 if args.quick else args.runs
    figures["shipped"] = {}
    for size in args.shipped or ["96x54" if args.quick else "854x480"]:
        figures["shipped"][size] = shipped(size, runs=runs, device=device, amp=args.amp)
        print_shipped(size, figures["shipped"][size])
    if not args.only_shipped:
        figures |= memory(quick=args.quick)
    for height in () if args.only_shipped else (48,) if args.quick else (240, 360, 480):
        figures[str(height)] = measure(height, runs=runs, device=device, amp=args.amp, quick=args.quick)
        print_table(height, figures[str(height)])
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def machine(device: torch.device, amp: str) -> Figures:
    """What figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "hardware": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "step in": str(amp_dtype(amp, device) or torch.float32), "plain encoder in": "torch.float32",
    }  # fmt: skip


# ---------------------------------------------------------------- time


@torch.inference_mode()
def measure(height: int, *, runs: int, device: torch.device, amp: str, quick: bool) -> Figures:
    """Medians and ratios at one size."""
    width = round(height * 854 / 480)
    frames = clip(height, width, device)
    network = encoder(quick=quick).to(device)
    folded = fold_batch_norms(network)
    lab = pad_to_multiple(rgb_to_lab(frames[0], "exact"), 4)[None].contiguous()
    jobs: dict[str, Callable[[], object]] = {
        "encoder, plain": lambda: network(lab),
        "encoder, folded, channels last": lambda: folded(lab.contiguous(memory_format=torch.channels_last)),
        "published way": published_way(network, frames),
    }
    dtype = amp_dtype(amp, device)
    for count in (1, 5, 10):
        name = f"step, {count} object{'s' if count > 1 else ''}"
        jobs[name] = stepper(folded, frames, method(FIVE_MEMORIES), objects=count, dtype=dtype)
    skipped = {}
    for name, knobs in MOTION.items():
        try:
            jobs[f"step, 1 object, {name}"] = with_motion(folded, frames, knobs, dtype=dtype, quick=quick)
        except UserError as error:
            skipped[name] = str(error)
    jobs["step, 1 object, preset tuned"] = stepper(folded, frames, method([]), objects=1, dtype=dtype)
    if dtype is not None:
        jobs["step, 1 object, float32"] = stepper(
            folded, frames, method(FIVE_MEMORIES), objects=1, dtype=None
        )
    seconds, cpu = timed(jobs, runs=runs, device=device)
    ratios = ratios_of(seconds)
    return {
        "size": [width, height], "runs": runs, **ratios, "by_cpu_seconds": ratios_of(cpu),
        "seconds": seconds, "cpu_seconds": cpu, "skipped": skipped,
    }  # fmt: skip


def ratios_of(seconds: dict[str, float]) -> dict[str, float]:
    """The figures that are aimed at."""
    plain, step = seconds["encoder, plain"], seconds["step, 1 object"]
    exact = seconds.get("step, 1 object, float32", step)
    return {
        "step_over_encoder": step / plain,
        "step_over_folded_encoder": step / seconds["encoder, folded, channels last"],
        "tuned_over_encoder": seconds["step, 1 object, preset tuned"] / plain,
        "published_over_encoder": seconds["published way"] / plain,
        "published_over_step": seconds["published way"] / step,
        "ten_objects_over_one": seconds["step, 10 objects"] / step,
        "float32_step_over_encoder": exact / plain,
        "published_over_float32_step": seconds["published way"] / exact,
    }


def timed(
    jobs: dict[str, Callable[[], object]], *, runs: int, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds by the clock and of processor time, for each job, after one run that does not count."""
    clock: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            if not clock[name] and name != "published way":  # that one is long, and nothing in it warms up
                job()
            began, cpu_began = time.perf_counter(), time.process_time()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize()
            clock[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - cpu_began)
    return tuple({name: statistics.median(v) for name, v in all_.items()} for all_ in (clock, cpu))  # type: ignore[return-value]


def clip(height: int, width: int, device: torch.device) -> list[torch.Tensor]:
    """Frames (3, H, W) in [0, 1] of a rendered clip, 240 px high or less, enlarged."""
    small = min(height, 240)
    rendered = render_clip(0, frames=FRAMES, size=(small, round(small * 854 / 480)), objects=2).frames
    frames = torch.from_numpy(rendered).movedim(-1, 1).to(device).float() / 255
    return list(resize(frames, (height, width)).clamp(0, 1))


def encoder(*, quick: bool) -> torch.nn.Module:
    """The encoder at full width with random weights, batch norms not folded."""
    torch.manual_seed(0)
    width = 0.125 if quick else 1
    return build_model(config.load(None, [f"method.encoder.width={width}"]).method).eval()


def squares(count: int, size: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(K, H, W) masks of objects in a row."""
    masks = torch.zeros(count, *size, device=device)
    side = size[1] // count
    for k in range(count):
        masks[k, size[0] // 4 : size[0] // 2, k * side : k * side + side - side // 4] = 1
    return masks


def stepper(
    network: torch.nn.Module,
    frames: list[torch.Tensor],
    method: MampConfig,
    *,
    objects: int,
    dtype: torch.dtype | None,
) -> Callable[[], object]:
    """A step of a propagator whose memory is full."""
    device = frames[0].device
    propagator = build_propagator(network, method, device=device, dtype=dtype)
    propagator.start(frames[0], squares(objects, frames[0].shape[1:], device))
    upcoming = endless(frames)
    for _ in range(method.propagation.memory_length):
        propagator.step(next(upcoming))
    return lambda: propagator.step(next(upcoming))


def method(knobs: list[str]) -> MampConfig:
    """MAMP's config with these settings."""
    return config.load(None, knobs).method


def endless(frames: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The frames forth and back for ever, from the second on."""
    there = frames[1:] + frames[-2::-1]
    while True:
        yield from there


def with_motion(
    network: torch.nn.Module,
    frames: list[torch.Tensor],
    knobs: list[str],
    *,
    dtype: torch.dtype | None,
    quick: bool,
) -> Callable[[], object]:
    """A step with a motion source; RAFT's weights are written to a file and read as a user's would be."""
    import tempfile

    from torchvision.models import optical_flow

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "raft.pth"
        if any("{raft}" in knob for knob in knobs):
            raft = optical_flow.raft_small if quick else optical_flow.raft_large
            torch.save(raft(weights=None).state_dict(), file)
            knobs = [*knobs, f"raft={'small' if quick else 'large'}"]
        chosen = [f"method.motion.{knob.format(raft=file)}" for knob in knobs]
        return stepper(network, frames, method(FIVE_MEMORIES + chosen), objects=1, dtype=dtype)


# ---------------------------------------------------------------- the shipped weights


@torch.inference_mode()
def shipped(size: str, *, runs: int, device: torch.device, amp: str) -> Figures:
    """Seconds a frame and peak memory of each preset with the shipped weights, frames of `size`."""
    dtype = amp_dtype(amp, device)
    jobs = {preset: shipped_step(preset, size, device=device, dtype=dtype) for preset in PRESETS}
    seconds, cpu = timed(jobs, runs=runs, device=device)
    command = [sys.executable, __file__, "--device", str(device), "--amp", amp, "--peak-of"]
    peaks = {
        preset: int(
            subprocess.run([*command, preset, size], check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        for preset in PRESETS
    }
    return {
        "seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peaks,
        "over_exact": {preset: value / seconds["exact"] for preset, value in seconds.items()},
    }  # fmt: skip


def shipped_step(
    preset: str, size: str, *, device: torch.device, dtype: torch.dtype | None
) -> Callable[[], object]:
    """A step of the shipped weights by this preset."""
    model = models.load(SHIPPED, device=str(device), overrides=[f"method.preset={preset}"])
    width, height = map(int, size.split("x"))
    frames = clip(height, width, device)
    assert isinstance(model.config.method, MampConfig)
    return stepper(model.network.to(device), frames, model.config.method, objects=1, dtype=dtype)


@torch.inference_mode()
def peak_of(preset: str, size: str, *, device: torch.device, amp: str) -> int:
    """Most bytes that a process held which has only carried masks by this preset."""
    step = shipped_step(preset, size, device=device, dtype=amp_dtype(amp, device))
    for _ in range(2):
        step()
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak()


def print_shipped(size: str, figures: Figures) -> None:
    """A row for each preset."""
    print(f"\n{SHIPPED}, {size}, one object{'':<14} seconds   CPU seconds   / exact   peak MB")
    for preset, seconds in figures["seconds"].items():
        cpu, ratio = figures["cpu_seconds"][preset], figures["over_exact"][preset]
        megabytes = figures["peak_bytes"][preset] / MB
        print(f"  {preset:<36} {seconds:10.3f} {cpu:13.3f} {ratio:9.3f} {megabytes:9.0f}")


# ---------------------------------------------------------------- the published way


def published_way(network: torch.nn.Module, frames: list[torch.Tensor]) -> Callable[[], object]:
    """One step with five memories as the published program does it, in plain PyTorch."""
    labs = torch.stack([pad_to_multiple(rgb_to_lab(frame, "exact"), 4) for frame in frames[: MEMORIES + 1]])
    labels = torch.zeros(MEMORIES, *labs.shape[-2:], dtype=torch.long, device=labs.device)
    labels[:, ::3] = 1

    def step() -> torch.Tensor:
        features = [network(lab[None]) for lab in labs]
        query, keys = features[-1], features[:-1]
        scores = torch.cat([shifted_products(query, key) for key in keys], dim=1) / query.shape[1] ** 0.5
        best, places = scores.topk(TOP_K, dim=1)  # (1, k, h*w) of (1, M*P*P, h*w)
        weights = best.softmax(dim=1)
        onehot = F.one_hot(labels[:, ::4, ::4], CLASSES).movedim(-1, 1).float()  # (M, 7, h, w)
        read = []
        for channel in onehot.unbind(1):
            unfolded = F.unfold(channel[:, None], 2 * RADIUS + 1, padding=RADIUS)  # (M, P*P, h*w)
            read.append((unfolded.flatten(0, 1)[None].gather(1, places) * weights).sum(1))
        carried = torch.stack(read, dim=1).unflatten(2, query.shape[-2:])
        full = F.interpolate(carried, labs.shape[-2:], mode="bilinear", align_corners=False)
        return full.argmax(1)

    return step


def shifted_products(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """(1, C, h, w) twice -> (1, P*P, h*w) dot products, one shift of the window at a time."""
    height, width = query.shape[-2:]
    padded = F.pad(key, (RADIUS,) * 4)
    rows = [
        (query * padded[:, :, y : y + height, x : x + width]).sum(1)
        for y in range(2 * RADIUS + 1)
        for x in range(2 * RADIUS + 1)
    ]
    return torch.stack(rows, dim=1).flatten(2)


# ---------------------------------------------------------------- memory


def memory(*, quick: bool) -> Figures:
    """Most memory held after so many frames at 96 px, by a process that does nothing else."""
    counts = [20, 40] if quick else [100, 1000]
    command = [sys.executable, __file__, "--peak", *map(str, counts), *(["--quick"] if quick else [])]
    first, last = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(
        f"peak memory at 96 px: {first / MB:.1f} MB after {counts[0]} frames, {last / MB:.1f} MB after"
        f" {counts[1]}"
    )
    return {
        f"peak_{counts[1]}_over_{counts[0]}": last / first,
        "peak_bytes": {counts[0]: first, counts[1]: last},
    }


@torch.inference_mode()
def peaks(counts: list[int], *, quick: bool) -> list[int]:
    """Peak bytes of this process after each of these numbers of frames."""
    height = 48 if quick else 96
    frames = clip(height, round(height * 854 / 480), torch.device("cpu"))
    step = stepper(
        fold_batch_norms(encoder(quick=quick)), frames, method(FIVE_MEMORIES), objects=5, dtype=None
    )
    found, done = [], MEMORIES
    for count in counts:
        for _ in range(count - done):
            step()
        done = count
        found.append(peak())
    return found


def print_table(height: int, figures: Figures) -> None:
    """Seconds of each, beside the plain encoder's, then the ratios."""
    width, runs = figures["size"][0], figures["runs"]
    plain = figures["seconds"]["encoder, plain"]
    print(f"\n{width}x{height}, medians of {runs}{'':<30} seconds   CPU seconds   / plain encoder")
    for name, seconds in figures["seconds"].items():
        print(f"  {name:<48} {seconds:8.3f} {figures['cpu_seconds'][name]:12.3f} {seconds / plain:15.2f}")
    for name, why in figures["skipped"].items():
        print(f"  {name}: left out, {why}")
    for name, ratio in figures["by_cpu_seconds"].items():
        print(f"  {name}: {figures[name]:.2f} ({ratio:.2f} by CPU seconds)")


if __name__ == "__main__":
    main()
