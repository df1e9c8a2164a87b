"""Label propagation, step by step: correlate, read, carry, fit to edges; memory rules; motion."""
