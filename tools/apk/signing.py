"""Signs the app with a key that is created on first use in the user's configuration, never in the checkout.

Android updates an installed app only by one with the same signature, so a lab
that builds on several machines uses the same key on all of them.
"""

import os
from pathlib import Path
from typing import Final

from apk import REPOSITORY, BuildError
from apk.commands import run

#: The key's file, PKCS #12.
KEY: Final = "NNLITE_ANDROID_KEY"
#: Password of a key that was created here; the file's mode protects it.
KEY_PASSWORD: Final = "NNLITE_ANDROID_KEY_PASSWORD"  # noqa: S105
_OWN_PASSWORD: Final = "nnlite-android"  # noqa: S105
#: Fifty years: an app cannot be updated with another key.
VALID_DAYS: Final = 18_250


def key_file() -> Path:
    """Return the path of the key, which may not exist yet."""
    if chosen := os.environ.get(KEY):
        return Path(chosen).expanduser().absolute()
    configuration = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configuration) if configuration else Path.home() / ".config") / "nnlite" / "android-key.p12"


def password() -> str:
    """Return the key's password."""
    return os.environ.get(KEY_PASSWORD) or _OWN_PASSWORD


def ensure_key() -> Path:
    """Return the key, creating it if it does not exist.

    Raises:
        BuildError: it would lie in the checkout.
    """
    key = key_file()
    if REPOSITORY in key.parents:
        raise BuildError(f"{KEY} is {key}: a key does not belong into the checkout, choose another place")
    if not key.exists():
        _make(key)
    return key


def _make(key: Path) -> None:
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = key.with_name(f"{key.name}.{os.getpid()}")
    kind = ["-keyalg", "RSA", "-keysize", "3072", "-validity", str(VALID_DAYS)]
    run(
        [
            *("keytool", "-genkeypair", "-noprompt", "-storetype", "PKCS12", "-keystore", made),
            *("-storepass:env", KEY_PASSWORD, "-alias", "nnlite", "-dname", "CN=NN Lite benchmark", *kind),
        ],
        timeout_s=120,
        environment={KEY_PASSWORD: password()},
        way_out="keytool comes with the JDK.",
    )
    made.chmod(0o600)
    made.replace(key)


def sign(apk: Path, signed: Path, tool: list[str | Path], min_sdk: str) -> None:
    """Write a signed copy of an APK, by `tool`, the command line of apksigner."""
    key = ensure_key()
    signed.parent.mkdir(parents=True, exist_ok=True)
    made = signed.with_name(f".{signed.name}.{os.getpid()}")
    # Every device from `min_sdk` on verifies scheme v2; v1 would only cost time.
    schemes = ["--v1-signing-enabled", "false", "--v4-signing-enabled", "false"]
    command: list[str | Path] = [*tool, "sign", "--min-sdk-version", min_sdk, *schemes, "--ks", key]
    run(
        [*command, "--ks-type", "PKCS12", "--ks-pass", f"env:{KEY_PASSWORD}", "--out", made, apk],
        timeout_s=120,
        environment={KEY_PASSWORD: password()},
        way_out=f"{KEY} and {KEY_PASSWORD} say which key is used.",
    )
    made.replace(signed)
