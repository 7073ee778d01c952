"""Parses the output of `pm install` and maps each error to a remedy; `app` applies the remedies.

The reasons are the constants of AOSP's `PackageManager`, which `pm` prints in
brackets:
https://android.googlesource.com/platform/frameworks/base/+/refs/heads/main/core/java/android/content/pm/PackageManager.java
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_TEXT_CHARS: Final = 1000
#: How much of the output is read: a stack trace is shorter.
_MAX_READ_CHARS: Final = 20_000

#: Reasons for output without a constant of `PackageManager`.
NO_ANSWER: Final = "NO_ANSWER"
NOT_READY: Final = "PACKAGE_MANAGER_NOT_READY"
INSUFFICIENT_STORAGE: Final = "INSTALL_FAILED_INSUFFICIENT_STORAGE"
UNKNOWN: Final = "UNKNOWN"
#: A phone that asked its user, who said no or did not answer.
REFUSED_BY_USER: Final = "INSTALL_FAILED_USER_RESTRICTED"
#: The shell lacks a permission that it has on other phones.
SHELL_RESTRICTED: Final = "SHELL_RESTRICTED"

_SUCCESS: Final = re.compile(r"^[ \t]*Success[ \t\r]*$", re.MULTILINE)
_REASON: Final = re.compile(r"\b(INSTALL_(?:PARSE_)?FAILED_[A-Z0-9_]{1,80})\b")
_BY_USER: Final = re.compile(
    r"INSTALL_CANCELL?ED_BY_USER|(?:cancell?ed|rejected|denied) by (?:the )?user|user rejected", re.IGNORECASE
)
_RESTRICTED: Final = re.compile(r"SecurityException.*\bandroid\.permission\.", re.DOTALL)
_NO_SPACE: Final = re.compile(r"not enough space|no space left|ENOSPC", re.IGNORECASE)
_NOT_READY: Final = re.compile(
    r"can't find service: package|is the system running|broken pipe|failure calling service package|"
    r"DeadObjectException|DeadSystemException|transport endpoint",
    re.IGNORECASE,
)
_EXCEPTION: Final = re.compile(r"\b((?:java|android)\.[\w.$]{1,120}(?:Exception|Error))\b")


class Remedy(StrEnum):
    """What to do before the next try."""

    CLEAN = "clean"  # remove nnlite's files from the device
    UNINSTALL = "uninstall"  # uninstall the existing app
    RETRY = "retry"  # nothing: the error is temporary
    ASK_OWNER = "ask_owner"  # the phone's owner must allow it; see `advice_for`
    GIVE_UP = "give_up"  # no further try: the device never accepts this package


@dataclass(frozen=True, kw_only=True)
class InstallOutcome:
    """Result of `pm install`."""

    #: None: installed.
    reason: str | None
    #: The output, truncated.
    text: str


_REMEDIES: Final = {
    Remedy.CLEAN: (
        INSUFFICIENT_STORAGE,
        # "not enough storage or the validation failed"
        "INSTALL_FAILED_DEXOPT",
    ),
    Remedy.UNINSTALL: (
        "INSTALL_FAILED_ALREADY_EXISTS",
        "INSTALL_FAILED_DUPLICATE_PACKAGE",
        "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
        "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE",
        "INSTALL_FAILED_REPLACE_COULDNT_DELETE",
        "INSTALL_FAILED_CONFLICTING_PROVIDER",
        "INSTALL_FAILED_UID_CHANGED",
        "INSTALL_FAILED_VERSION_DOWNGRADE",
        "INSTALL_FAILED_PERMISSION_MODEL_DOWNGRADE",
        "INSTALL_FAILED_SANDBOX_VERSION_DOWNGRADE",
        "INSTALL_FAILED_DUPLICATE_PERMISSION",
        "INSTALL_FAILED_DUPLICATE_PERMISSION_GROUP",
        "INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES",
    ),
    Remedy.RETRY: (
        NO_ANSWER,
        NOT_READY,
        "INSTALL_FAILED_ABORTED",
        "INSTALL_FAILED_CONTAINER_ERROR",
        "INSTALL_FAILED_INTERNAL_ERROR",
        "INSTALL_FAILED_MEDIA_UNAVAILABLE",
        "INSTALL_FAILED_OTHER_STAGED_SESSION_IN_PROGRESS",
        "INSTALL_FAILED_PACKAGE_CHANGED",
        "INSTALL_FAILED_VERIFICATION_TIMEOUT",
    ),
}
#: What the owner of a phone has to switch, in the words of its settings.
_ADVICE: Final = {
    REFUSED_BY_USER: "switch on 'Install via USB' in the phone's developer options, and allow the "
    "installation where the phone asks",
    # A POCO F6 says so where "Install via USB" is off (https://github.com/joaomgcd/TaskerSettings/issues/80).
    "INSTALL_FAILED_VERIFICATION_FAILURE": "switch off 'Verify apps over USB' in the phone's developer "
    "options and, where it has that, switch on 'Install via USB'; Play Protect may refuse the app too",
    SHELL_RESTRICTED: "switch on 'USB debugging (Security settings)' (Xiaomi) or 'Disable permission "
    "monitoring' (OPPO, realme, OnePlus, vivo) in the phone's developer options",
}
_BY_REASON: Final = {reason: remedy for remedy, reasons in _REMEDIES.items() for reason in reasons} | {
    reason: Remedy.ASK_OWNER for reason in _ADVICE
}


def parse_install(text: str) -> InstallOutcome:
    """Parse the output of `pm install` or `adb install`, stdout and stderr."""
    text = text[:_MAX_READ_CHARS]
    shown = " ".join(text.split())[:MAX_TEXT_CHARS]
    if _BY_USER.search(text):
        return InstallOutcome(reason=REFUSED_BY_USER, text=shown)
    if match := _REASON.search(text):
        # The package manager reports a full disk with several constants.
        return InstallOutcome(reason=INSUFFICIENT_STORAGE if _NO_SPACE.search(text) else match[1], text=shown)
    if _SUCCESS.search(text) and "Failure" not in text:
        return InstallOutcome(reason=None, text=shown)
    return InstallOutcome(reason=_other_reason(text), text=shown)


def remedy_for(reason: str) -> Remedy:
    """Return what to do about a reason; GIVE_UP for an unknown one."""
    return _BY_REASON.get(reason, Remedy.GIVE_UP)


def advice_for(reason: str) -> str:
    """Return what the phone's owner has to do about a reason whose remedy is ASK_OWNER."""
    return _ADVICE[reason]


def _other_reason(text: str) -> str:
    if not text.strip():
        return NO_ANSWER
    if _NO_SPACE.search(text):
        return INSUFFICIENT_STORAGE
    if _NOT_READY.search(text):
        return NOT_READY
    if _RESTRICTED.search(text):
        return SHELL_RESTRICTED
    match = _EXCEPTION.search(text)
    return match[1] if match else UNKNOWN
