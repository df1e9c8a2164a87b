"""Stands in for mamp in jobs whose schedule matters and whose learning does not: `train CONFIG --run RUN`,
without torch.

A step is a tenth of a second and leaves a checkpoint; signals save and end with 75. STAND_IN says what goes
wrong.
"""

import os
import signal
import sys
import time
from pathlib import Path

import yaml

config = yaml.safe_load(Path(sys.argv[2]).read_text())
run = Path(sys.argv[4])
trouble = os.environ.get("STAND_IN", "")
rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))
with (run / "places").open("a") as places:
    places.write(f"{rank}/{os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', 1))}\n")
caught = []
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
    signal.signal(number, lambda number, _: caught.append(number))

if trouble == "a mistake":
    print("mamp: that is wrong; correct it", file=sys.stderr)
    sys.exit(2)
if trouble == "a task dies" and rank == 1:
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
checkpoints = run / "checkpoints"
checkpoints.mkdir(exist_ok=True)
step = max((int(path.stem[5:]) for path in checkpoints.iterdir()), default=0)
while step < config["train"]["steps"] and not (rank and (run / "weights.safetensors").exists()):
    time.sleep(0.1)
    if not rank and trouble != "no progress":
        step += 1
        (checkpoints / f"step-{step:08d}.pt").touch()
        with (run / "log.jsonl").open("a") as log:
            log.write(f'{{"step": {step}, "loss": 1.0}}\n')
    if caught:
        sys.exit(75)
(run / "weights.safetensors").touch()
