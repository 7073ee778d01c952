"""`make rig-campaign` in a small size: three models, three devices, and what goes wrong at the start."""

import os

from device.campaign import INCONVERTIBLE, Demonstration, home_folder, lab_in

#: Their files have less than a megabyte.
MODELS = ["rl-init-2a44b82bd55bc4bb9787225ac8875838", "alt-138c6fd98788be69bfa0c94e9bf7b316", INCONVERTIBLE]


def test_a_small_campaign_loses_nothing_and_leaves_a_page(tmp_path):
    output = tmp_path / "campaign.md"
    with home_folder() as home, lab_in(home, os.environ["NNLITE_LEMUR"]) as lab:
        wrong = Demonstration(lab).run(MODELS, output, small=True)
    page = output.read_text()
    assert wrong == [], page
    for model in MODELS[:2]:
        assert f"| {model} |" in page
    assert "never completes | boot_timeout | restart the emulator | 1 of 1 |" in page
    assert "| rig-0 | cold | 1 |" in page
