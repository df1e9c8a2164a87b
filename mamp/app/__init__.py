"""The page in the browser on which a person draws, propagates and corrects the masks of one's own video."""
