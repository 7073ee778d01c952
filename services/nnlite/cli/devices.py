"""`nnlite devices`: lists devices and incidents, releases a device from quarantine."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from nnlite.cli.actions.session import reading, session
from nnlite.cli.parsing import options
from nnlite.cli.parsing.completion import complete_devices
from nnlite.cli.presenting import presentation
from nnlite.cli.presenting.output import note, paged, print_json, print_table
from nnlite.errors import NnliteError
from nnlite.host.adb_services import AttachedDevice, attached_devices, server_port
from nnlite.results import queries
from nnlite.results.reading import check_device

app = typer.Typer()
devices = typer.Typer()
app.add_typer(devices, name="devices")

#: Default of `incidents --limit`.
_INCIDENTS = 50


@devices.callback(invoke_without_command=True)
def devices_command(context: typer.Context, wide: options.Wide = False, json: options.Json = False) -> None:
    """List every device that a worker has ever owned, and the devices connected to this host.

    `recovery_step` is the step that a device's worker is running. If all fail, the device is quarantined:
    it takes no work before `nnlite devices release NAME`.

    What is plugged in is read from an adb server that already runs (port 5037, or ANDROID_ADB_SERVER_PORT);
    none is started. Workers have adb servers of their own, which no other program sees.
    """
    if context.invoked_subcommand:
        return
    with reading() as database:
        known = queries.devices(database)
    attached = _attached_here()
    rows = [row | _attachment(_holder(row["device"], attached or [])) for row in known]
    owned = {row["attached_serial"] for row in rows}
    free = [device for device in attached or [] if device.serial not in owned]
    if json:
        nothing = dict.fromkeys(rows[0] if rows else ("device",))
        print_json([*rows, *(nothing | _attachment(device) for device in free)])
        return
    shown = [presentation.device_row(row) for row in rows]
    if shown:
        columns = presentation.telling(
            presentation.DEVICE_COLUMNS, shown, "recovery_step", "reason", "variation", "last incident"
        )
        print_table(shown, columns, optional=presentation.OPTIONAL_OF_DEVICES, wide=wide)
    else:
        note("no worker has owned a device yet")
    if free:
        print_table(map(_free_row, free), ("serial", "state", "model", "measure on it"), title="No worker's")


@devices.command()
def release(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a device in quarantine; `nnlite devices` lists them.",
            autocompletion=complete_devices,
        ),
    ],
) -> None:
    """End the quarantine of a device: its worker prepares it again, starting with the first recovery step."""
    from nnlite.results.devices import release_device

    with session() as cluster:
        release_device(cluster.engine, name)
    note(f"released {name}; its worker tries it again")


@devices.command()
def incidents(
    name: Annotated[
        str | None, typer.Argument(help="Name of a device; default: all.", autocompletion=complete_devices)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number, newest first.")] = _INCIDENTS,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """List the incidents of devices: fault, recovery steps, and the time until recovery.

    Example: nnlite devices incidents avd:pixel4-1@lab --json
    """
    with reading() as database:
        if name:
            check_device(database, name)
        rows = queries.incidents(database, name, limit)
    if json:
        print_json(rows)
    elif rows:
        with paged(wide=wide):
            shown = [presentation.incident_row(row) for row in rows]
            optional = ("model", "recovery_steps", "healed")
            print_table(shown, presentation.INCIDENT_COLUMNS, optional=optional, wide=wide)
    else:
        note("no incident")


def _attached_here() -> list[AttachedDevice] | None:
    try:
        port = server_port()
    except ValueError as error:
        raise NnliteError(str(error)) from error
    attached = attached_devices(port)
    if attached is None:
        note(
            f"no adb server answers on port {port}: what is plugged in and no worker's is not listed "
            "(`adb start-server` starts one, but not next to workers that own phones)"
        )
    return attached


def _holder(name: str, attached: Iterable[AttachedDevice]) -> AttachedDevice | None:
    """Return the connected device `name`, such as `usb:SERIAL` or `tcp:HOST:PORT`."""
    serial = name.partition(":")[2]
    return next((device for device in attached if device.serial == serial), None)


def _attachment(device: AttachedDevice | None) -> dict[str, Any]:
    return {f"attached_{name}": device and getattr(device, name) for name in ("serial", "state", "model")}


def _free_row(device: AttachedDevice) -> dict[str, Any]:
    scheme = "tcp" if ":" in device.serial else "usb"
    argument = None if device.serial.startswith("emulator-") else f"--device {scheme}:{device.serial}"
    return vars(device) | {"measure on it": argument}
