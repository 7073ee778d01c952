"""The canary: one small artifact whose speed tells how fast the machine is right now."""

from pathlib import Path
from typing import Final

#: Below 10 kB; 10-30 ms on one core of a current machine. Made by `make_canary`.
MODEL_FILE: Final = Path(__file__).with_name("canary.tflite")
MODEL_SHA256: Final = "1bbdbbc160cade303f29cff5a9bec31a4e371678f983815ccb0fa74658bf4b59"
#: Its output for the seeded input, raw little-endian float32 of shape `OUTPUT_SHAPE`.
EXPECTED_FILE: Final = Path(__file__).with_name("canary_expected.f32")
INPUT_SHAPE: Final = (1, 8, 8, 12)
OUTPUT_SHAPE: Final = (1, 12)
SEED: Final = 20260
