"""All augmentation of training clips, on the device.

`batches.py` says what happens to a batch and draws every random number; a task's `prepare` calls it. The
other files compute: `moves.py` each frame by itself, `unlabelled.py` and `labelled.py` a clip as one,
`cutouts.py` one object cut out of a frame.
"""
