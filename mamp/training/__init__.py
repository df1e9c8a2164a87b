"""One training engine for every method: steps, checkpoints, the run folder. Start reading at engine.py."""
