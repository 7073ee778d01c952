"""Command-line arguments and options that several commands share, with their help texts.

More than 300 lines: an option is stated once, with its help, whichever commands have it.
"""

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

#: Headings of options in the help.
MODELS, CONVERTING, MEASURING, CAMPAIGN = "Models", "Conversion", "Measurement", "Campaign"

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Model names, or a campaign file (night.toml); none: all that the options select.",
        autocompletion=complete_source_models,
    ),
]
Source = Annotated[
    str,
    typer.Option(
        help="Source of the models: lemur, nngpt or files; `nnlite models` lists them.",
        rich_help_panel=MODELS,
    ),
]
Paths = Annotated[
    list[Path] | None,
    typer.Option(
        "--path",
        help="Files or folders of the source, where it needs them; repeatable.",
        rich_help_panel=MODELS,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="An input of a network as forward takes it, once for each: 1x3x224x224, 1x128:int64, by keyword "
        "mask=1x16:bool, with named axes T16xF80 (N is the batch).",
        rich_help_panel=MODELS,
    ),
]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(
        "--layout",
        help="How artifacts take inputs of four dimensions; nhwc by default.",
        rich_help_panel=CONVERTING,
    ),
]
Configs = Annotated[
    str,
    typer.Option(
        help="Configurations of each architecture: best, all or a number; each makes another network.",
        rich_help_panel=MODELS,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many models.", rich_help_panel=MODELS)]
Match = Annotated[
    str | None,
    typer.Option(
        help="Only models whose name matches this glob, such as 'ga-*', and those that are named.",
        rich_help_panel=MODELS,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="With --limit: a random sample, the same for the same seed.", rich_help_panel=MODELS),
]
Backends = Annotated[
    list[str],
    typer.Option(
        "--backend",
        help="What executes the artifact: cpu (XNNPACK), gpu, npu, cpu-plain (no XNNPACK); on hosts "
        f"{', '.join(HOST_ONLY)} too; repeatable.",
        rich_help_panel=MEASURING,
        autocompletion=complete_backends,
    ),
]
Threads = Annotated[
    list[str] | None,
    typer.Option(
        "--threads",
        help="Numbers of threads of backends on the CPU, each measured by itself, such as 1,2,4 "
        "[default: as the worker is set].",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Measure each operator too, in one more pass; hosts only. See nnlite profile.",
        rich_help_panel=MEASURING,
    ),
]
Cores = Annotated[
    str,
    typer.Option(
        metavar="fast|all|MASK",
        help="Bind the measuring thread to cores: those of the highest clock, all, 4-7 or 2,3, or a mask as "
        "0xf0; of a host those that it measures on [default: as the scheduler likes].",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Sustained = Annotated[
    int,
    typer.Option(
        "--sustained",
        min=0,
        max=MAX_PASS_S,
        metavar="SECONDS",
        help="Run each artifact so long without pauses too, in one more pass: its latency over time. See "
        "nnlite sustained.",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Energy = Annotated[
    int,
    typer.Option(
        "--energy",
        min=0,
        max=MAX_PASS_S,
        metavar="SECONDS",
        help="Energy of an inference, from a pass of so long without pauses: of phones with power rails, of "
        "unplugged ones, of hosts whose RAPL counters can be read.",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Counters = Annotated[
    int,
    typer.Option(
        "--counters",
        min=0,
        max=MAX_PASS_S,
        metavar="SECONDS",
        help="Cycles, instructions and cache misses of an inference, from a pass of so long without pauses; "
        "phones with simpleperf only.",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Precisions = Annotated[
    list[str],
    typer.Option(
        "--precision",
        help="Numeric formats: fp32, fp16, dynamic, int8, mixed; with commas, or repeated.",
        rich_help_panel=CONVERTING,
        autocompletion=complete_precisions,
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|sklearn|noise",
        help="What int8 and mixed are calibrated on: a folder of images, or a .npy or .npz file "
        "[default: NNLITE_CALIBRATION_DIR, else scikit-learn's pictures].",
        show_default=False,
        rich_help_panel=CONVERTING,
    ),
]
Evaluate = Annotated[
    Path | None,
    typer.Option(
        help="Measure the accuracy of each artifact and of PyTorch: a folder with a sub-folder of images for "
        "each class, or a .npz file with x and y. LEMUR's models need --weights or --prebuilt.",
        rich_help_panel=CONVERTING,
    ),
]
EvaluateOnOption = Annotated[
    EvaluateOn,
    typer.Option(
        "--evaluate-on",
        help="With --evaluate: host; device: on each device and backend too.",
        rich_help_panel=CONVERTING,
    ),
]
Int8IO = Annotated[
    Int8Io,
    typer.Option(
        "--int8-io",
        help="What int8 artifacts take and return: floats, or scaled integers.",
        rich_help_panel=CONVERTING,
    ),
]
ModeOption = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="Timed runs: quick, 64 or 1 s; standard, as set; full, 1,024 and 60 s.",
        rich_help_panel=MEASURING,
    ),
]
Repeat = Annotated[
    int,
    typer.Option(
        min=1,
        max=1000,
        help="Measure each artifact this often, apart in time and in random order.",
        rich_help_panel=MEASURING,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        help="Name of the campaign; without one, the same request has the same name.",
        rich_help_panel=CAMPAIGN,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say how many models, converted already or not, hours and GB; submit nothing.",
        rich_help_panel=CAMPAIGN,
    ),
]
YesToAll = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Take all models without asking, where nothing chooses some.",
        rich_help_panel=MODELS,
    ),
]
Transform = Annotated[
    str | None, typer.Option(help="Only configurations with this transform.", rich_help_panel=MODELS)
]
Dataset = Annotated[
    str | None, typer.Option(help="Only configurations of this dataset.", rich_help_panel=MODELS)
]
Priority = Annotated[
    int,
    typer.Option(help=f"0-9, larger is sooner; the default is {DEFAULT_PRIORITY}.", rich_help_panel=CAMPAIGN),
]
OneModel = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of one model; `nnlite models` lists them.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder or zip file of trained weights of LEMUR's models, NAME.pth; only these are taken.",
        rich_help_panel=MODELS,
    ),
]
Prebuilt = Annotated[
    Path | None,
    typer.Option(
        help="Folder of ready .tflite files of LEMUR's models, fp32/NAME.tflite and so on; only these are "
        "taken, and nothing is converted.",
        rich_help_panel=MODELS,
    ),
]
ParamLimit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Efficiency counts up to this many parameters [default: 6,000,000 or as set].",
        rich_help_panel=CAMPAIGN,
    ),
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
