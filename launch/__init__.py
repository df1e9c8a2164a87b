"""SLURM: `python -m launch.submit` sends runs of `mamp` to a cluster, `python -m launch.status` tells how
they are. No torch.
"""
