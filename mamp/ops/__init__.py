"""Stateless functions of tensors: colour, padding, warping, local correlation."""
