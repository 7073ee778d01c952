"""The machine itself as a device: LiteRT with XNNPACK in a process that ends."""
