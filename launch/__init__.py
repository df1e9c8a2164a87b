"""SLURM: `python -m launch.submit` sends runs of `mamp`, `python -m launch.status` shows how they are.

No torch.
"""
