"""Where models come from: sources, the choice of a configuration for each model, what is left out and why.

Nothing here executes a model's or a transform's code, and nothing imports LEMUR's own package: its files
are read as text.
"""
