"""Video and masks in, pictures and films out."""
