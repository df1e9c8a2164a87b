"""What a training run gave, in numbers that a later run is compared with.

python tests/compat/training_results.py RUN > expected.json
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

OF_THE_MACHINE = ("clips_per_s", "wait", "memory", "time")  # what the log says of speed and memory
NEWER = ("epoch", "clips", "val_sequences")  # than the recorded runs


def machine() -> dict[str, Any]:
    """What floating-point sums depend on: the same machine gives the same bits."""
    import torch

    processor = [platform.processor()]
    if Path("/proc/cpuinfo").exists():
        names = ("model name", "cpu family", "model", "stepping", "cache size")
        pairs = (
            line.partition(":") for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        )
        processor = [value.strip() for name, _, value in pairs if name.strip() in names]
    return {
        "torch": torch.__version__,
        "processor": processor,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def results(run: Path) -> dict[str, Any]:
    """The log without times, each tensor's sum and norm, and a checksum of all weights."""
    from safetensors.torch import load_file

    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    log = [{key: value for key, value in line.items() if key not in OF_THE_MACHINE + NEWER} for line in log]
    state = load_file(run / "weights.safetensors")
    digest, tensors = hashlib.sha256(), {}
    for name in sorted(state):
        value = state[name]
        digest.update(value.numpy().tobytes())
        tensors[name] = [float(value.double().sum()), float(value.double().norm())]
    return {"log": log, "tensors": tensors, "sha256": digest.hexdigest()}


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), **results(Path(sys.argv[1]))}, indent=1))
