"""The operator suite: networks of one operator, converted in every precision and compared with PyTorch."""
