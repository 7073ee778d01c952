"""`python -m apk`: build the benchmark app; `make apk` runs it."""

import argparse
import sys
import tempfile
from pathlib import Path

from apk import REPOSITORY, BuildError
from apk.building import Toolchain, build_unsigned
from apk.cache import Cache
from apk.host import build_host_app, build_runtime, host_dependencies, remove_host_app
from apk.lock import Use, locked, properties
from apk.shim import MACHINES
from apk.signing import key_file, sign

NAME = "nnlite-benchmark.apk"


def main() -> int:
    """Fetch missing dependencies, build and sign; exit code 1 and one message on failure."""
    parser = argparse.ArgumentParser(prog="apk", description=__doc__)
    parser.add_argument("--cache", type=Path, default=REPOSITORY / ".nnlite" / "android", help="downloads")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / NAME, help="the signed APK")
    parser.add_argument("--fetch", action="store_true", help="only fetch, also what the tests need")
    parser.add_argument(
        "--host-app", type=Path, metavar="FOLDER", help="build the app for this Linux host instead"
    )
    parser.add_argument(
        "--levels", type=int, nargs="*", default=[30], help="with --fetch, --host-app: API levels to test on"
    )
    parser.add_argument(
        "--runtime", type=Path, metavar="FOLDER", help="only build the app's TensorFlow Lite for this host"
    )
    parser.add_argument("--abi", choices=tuple(MACHINES), default="x86_64", help="with --runtime")
    parser.add_argument("--unsigned", type=Path, metavar="APK", help="only build, without a signature")
    arguments = parser.parse_args()
    try:
        _run(Cache(folder=arguments.cache.absolute()), arguments)
    except BuildError as error:
        print(f"apk: {error}", file=sys.stderr)
        return 1
    return 0


def _run(cache: Cache, arguments: argparse.Namespace) -> None:
    if arguments.fetch or arguments.host_app:
        built_with = locked(Use.APP, Use.PLATFORM, Use.TOOL, Use.TEST)
        cache.fill([*built_with, *host_dependencies(arguments.levels)])
    if arguments.fetch:
        return
    if arguments.runtime:
        cache.fill(locked(Use.APP))
        build_runtime(Toolchain(cache=cache), arguments.runtime, arguments.abi)
        return
    cache.fill(locked(Use.APP, Use.PLATFORM, Use.TOOL))
    tools = Toolchain(cache=cache)
    if arguments.host_app:
        remove_host_app(arguments.host_app)
        build_host_app(tools, arguments.host_app, arguments.levels)
        return
    with tempfile.TemporaryDirectory(prefix="nnlite-apk-") as folder:
        if arguments.unsigned:
            build_unsigned(tools, Path(folder) / "work", arguments.unsigned)
            return
        unsigned = Path(folder) / NAME
        build_unsigned(tools, Path(folder) / "work", unsigned)
        sign(unsigned, arguments.output, tools.apksigner, properties()["minSdk"])
    print(f"Built {arguments.output}, signed with {key_file()}.")


if __name__ == "__main__":
    sys.exit(main())
