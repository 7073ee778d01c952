"""Runtime checks: runs artifacts with the phones' version of TensorFlow Lite and compares their outputs."""
