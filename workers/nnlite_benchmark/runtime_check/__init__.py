"""Does the version of TensorFlow Lite that phones have run what was converted, and compute the same?"""
