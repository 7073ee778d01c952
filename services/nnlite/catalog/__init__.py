"""Sources of models: what each offers, which configuration is chosen, and which models are skipped and why.

Nothing here executes a model's or a transform's code or imports LEMUR's own package: files are read as text.
"""
