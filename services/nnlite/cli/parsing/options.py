"""Command-line arguments and options that several commands share, with their help texts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnlite.backends import HOST_ONLY
from nnlite.cli.parsing.completion import (
    complete_backends,
    complete_campaigns,
    complete_precisions,
    complete_source_models,
)
from nnlite.vocabulary import DEFAULT_PRIORITY, MAX_PASS_S, EvaluateOn, Int8Io, Layout, Mode

#: Options by their heading in the help.
_of_models = partial(typer.Option, rich_help_panel="Models")
_of_conversion = partial(typer.Option, rich_help_panel="Conversion")
of_measurement = partial(typer.Option, rich_help_panel="Measurement")
of_campaign = partial(typer.Option, rich_help_panel="Campaign")
#: A pass of continuous inference after each measurement, of so many seconds.
_pass_s = partial(of_measurement, min=0, max=MAX_PASS_S, metavar="SECONDS", show_default=False)

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Model names, or a campaign file (night.toml); none: all that the options select.",
        autocompletion=complete_source_models,
    ),
]
Source = Annotated[
    str, _of_models(help="Source of the models: lemur, nngpt or files; `nnlite models` lists them.")
]
Paths = Annotated[
    list[Path] | None,
    _of_models("--path", help="Files or folders of the source, where it needs them; repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    _of_models(
        "--input",
        help="Of --source files: an input of a network as forward takes it, once for each: 1x3x224x224, "
        "1x128:int64, by keyword mask=1x16:bool, with named axes T16xF80 (N is the batch).",
    ),
]
LayoutOption = Annotated[
    Layout | None, _of_conversion(help="How artifacts take inputs of four dimensions; nhwc by default.")
]
Configs = Annotated[
    str,
    _of_models(
        help="Configurations of each architecture: best, all or a number; each makes another network."
    ),
]
Limit = Annotated[int | None, _of_models(min=1, help="At most this many models.")]
Match = Annotated[
    str | None,
    _of_models(help="Only models whose name matches this glob, such as 'ga-*', and those that are named."),
]
Seed = Annotated[int | None, _of_models(help="With --limit: a random sample, the same for the same seed.")]
Backends = Annotated[
    list[str],
    of_measurement(
        help="What executes the artifact: cpu (XNNPACK), gpu, npu, cpu-plain (no XNNPACK); on hosts "
        f"{', '.join(HOST_ONLY)} too; repeatable.",
        autocompletion=complete_backends,
    ),
]
Threads = Annotated[
    list[str] | None,
    of_measurement(
        help="Numbers of threads of backends on the CPU, each measured by itself, such as 1,2,4 "
        "[default: as the worker is set].",
        show_default=False,
    ),
]
Profile = Annotated[
    bool,
    of_measurement(
        "--profile", help="Measure each operator too, in one more pass; hosts only. See nnlite profile."
    ),
]
Cores = Annotated[
    str,
    of_measurement(
        metavar="fast|all|MASK",
        help="Bind the measuring thread to cores: those of the highest clock, all, 4-7 or 2,3, or a mask as "
        "0xf0; of a host those that it measures on [default: as the scheduler likes].",
        show_default=False,
    ),
]
Sustained = Annotated[
    int,
    _pass_s(
        help="Run each artifact so long without pauses too, in one more pass: its latency over time. See "
        "nnlite sustained."
    ),
]
Energy = Annotated[
    int,
    _pass_s(
        help="Energy of an inference, from a pass of so long without pauses: of phones with power rails, of "
        "unplugged ones, of hosts whose RAPL counters can be read."
    ),
]
Counters = Annotated[
    int,
    _pass_s(
        help="Cycles, instructions and cache misses of an inference, from a pass of so long without pauses; "
        "phones with simpleperf only."
    ),
]
Precisions = Annotated[
    list[str],
    _of_conversion(
        help="Numeric formats: fp32, fp16, dynamic, int8, mixed; with commas, or repeated.",
        autocompletion=complete_precisions,
    ),
]
Calibration = Annotated[
    str | None,
    _of_conversion(
        metavar="PATH|sklearn|noise",
        help="What int8 and mixed are calibrated on: a folder of images, or a .npy or .npz file "
        "[default: NNLITE_CALIBRATION_DIR, else scikit-learn's pictures].",
        show_default=False,
    ),
]
Evaluate = Annotated[
    Path | None,
    _of_conversion(
        help="Measure the accuracy of each artifact and of PyTorch: a folder with a sub-folder of images for "
        "each class, or a .npz file with x and y. LEMUR's models need --weights or --prebuilt."
    ),
]
EvaluateOnOption = Annotated[
    EvaluateOn, _of_conversion(help="With --evaluate: host; device: on each device and backend too.")
]
Int8IO = Annotated[
    Int8Io, _of_conversion(help="What int8 artifacts take and return: floats, or scaled integers.")
]
ModeOption = Annotated[
    Mode, of_measurement(help="Timed runs: quick, 64 or 1 s; standard, as set; full, 1,024 and 60 s.")
]
Repeat = Annotated[
    int,
    of_measurement(
        min=1, max=1000, help="Measure each artifact this often, apart in time and in random order."
    ),
]
Name = Annotated[
    str | None,
    of_campaign(help="Name of the campaign; without one, the same request has the same name."),
]
DryRun = Annotated[
    bool,
    of_campaign(
        "--dry-run", help="Say how many models, converted already or not, hours and GB; submit nothing."
    ),
]
YesToAll = Annotated[
    bool, _of_models("--yes", "-y", help="Take all models without asking, where nothing chooses some.")
]
Transform = Annotated[str | None, _of_models(help="Only configurations with this transform.")]
Dataset = Annotated[str | None, _of_models(help="Only configurations of this dataset.")]
Priority = Annotated[int, of_campaign(help=f"0-9, larger is sooner; the default is {DEFAULT_PRIORITY}.")]
OneModel = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of one model; `nnlite models` lists them.")
]
Weights = Annotated[
    Path | None,
    _of_models(
        help="Folder or zip file of trained weights of LEMUR's models, NAME.pth; only these are taken."
    ),
]
Prebuilt = Annotated[
    Path | None,
    _of_models(
        help="Folder of ready .tflite files of LEMUR's models, fp32/NAME.tflite and so on; only these are "
        "taken, and nothing is converted."
    ),
]
ParamLimit = Annotated[
    int | None,
    of_campaign(min=1, help="Efficiency counts up to this many parameters [default: 6,000,000 or as set]."),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="At most this many rows; 0: all [default: 50 in a terminal, else all].",
        show_default=False,
    ),
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Every column, nothing wrapped; the pager scrolls sideways.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")]
Like = Annotated[str | None, typer.Option(help="Only models like this; `*` stands for anything.")]
Campaign = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN",
        help="Name of a campaign; `nnlite status` lists them.",
        autocompletion=complete_campaigns,
    ),
]
OptionalCampaign = Annotated[
    str | None,
    typer.Argument(
        metavar="CAMPAIGN", help="Name of a campaign; none: all of them.", autocompletion=complete_campaigns
    ),
]
