"""Video to training batches: clips, worker processes, augmentation."""
