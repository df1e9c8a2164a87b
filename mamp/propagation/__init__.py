"""Label propagation, step by step: correlate, read, carry, fit to edges; which frames are remembered;
motion.
"""
