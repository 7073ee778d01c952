"""The machine itself as a device: LiteRT with XNNPACK, one process per run."""
