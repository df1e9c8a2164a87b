"""Data sets as their authors pack them: their lists, and the sequences in them."""
