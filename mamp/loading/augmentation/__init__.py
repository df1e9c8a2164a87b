"""Every augmentation of training clips, on the device. All random numbers are drawn on the CPU, a row for
each clip.
"""
