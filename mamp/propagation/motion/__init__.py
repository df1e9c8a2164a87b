"""Where things were: flow from a query frame to its memory frames, on the grid of the features."""
