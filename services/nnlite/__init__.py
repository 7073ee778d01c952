"""nnlite: how fast thousands of PyTorch models really run on Android."""

__version__ = "0.1.0"
