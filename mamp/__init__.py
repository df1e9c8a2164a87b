"""Video object segmentation without labels: train, propagate masks, evaluate.

`import mamp` is cheap: torch is imported when a function below is called.
"""

__version__ = "0.1.0"
