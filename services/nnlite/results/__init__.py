"""Results: recording, queries, devices and runtime checks."""
