"""Stateless functions of tensors: colour, sizes, crops, folding of batch norms, Pillow's resizing."""
