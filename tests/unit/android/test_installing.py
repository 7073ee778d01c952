"""Each output of `pm install` has one reason, and each reason one remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlite_benchmark.android.app.installing import Remedy, advice_for, parse_install, remedy_for


@pytest.mark.parametrize(
    "text",
    [
        "Success\n",
        "Success\r\n",
        "Performing Streamed Install\nSuccess\n",
        "\tpkg: /data/local/tmp/app.apk\nSuccess\n",
        "WARNING: linker: unsupported flags DT_FLAGS_1=0x8000001\nSuccess\n",
    ],
)
def test_success_has_no_reason(text):
    assert parse_install(text).reason is None


# The first four were printed in public, on github.com: RapierXbox/ShellyElevate/issues/71,
# ReVanced/revanced-cli/issues/386, mlm-games/flicky/issues/34, caoyongfeng0214/cpcn-react-native/issues/5.
@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        (
            "Performing Streamed Install\nadb: failed to install a.apk: Failure "
            "[INSTALL_FAILED_UPDATE_INCOMPATIBLE: Package me.rapierxbox.shellyelevatev2 signatures do not "
            "match the previously installed version; ignoring!]",
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_FAILED_CONFLICTING_PROVIDER: Scanning Failed.: Can't install because provider "
            "name x (in package y) is already used by z]",
            "INSTALL_FAILED_CONFLICTING_PROVIDER",
            Remedy.UNINSTALL,
        ),
        (
            "Success: created install session [1816024230]\nSuccess: streamed 8150954 bytes\n"
            "Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: Package com.aurora.store signatures do not match "
            "previously installed version; ignoring!]\n",
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
            Remedy.UNINSTALL,
        ),
        (
            "com.android.ddmlib.InstallException: INSTALL_FAILED_UPDATE_INCOMPATIBLE: Existing package "
            "com.jiub signatures do not match newer version; ignoring!",
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_FAILED_TEST_ONLY: installPackageLI]",
            "INSTALL_FAILED_TEST_ONLY",
            Remedy.GIVE_UP,
        ),
        (
            "Failure [INSTALL_FAILED_VERSION_DOWNGRADE: Downgrade detected: version code 1 is older than 2]",
            "INSTALL_FAILED_VERSION_DOWNGRADE",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE]",
            "INSTALL_FAILED_INSUFFICIENT_STORAGE",
            Remedy.CLEAN,
        ),
        (
            "Failure [INSTALL_FAILED_INTERNAL_ERROR: write failed: ENOSPC (No space left on device)]",
            "INSTALL_FAILED_INSUFFICIENT_STORAGE",
            Remedy.CLEAN,
        ),
        (
            "Error: java.io.IOException: Requested internal only, but not enough space",
            "INSTALL_FAILED_INSUFFICIENT_STORAGE",
            Remedy.CLEAN,
        ),
        ("Failure [INSTALL_FAILED_INTERNAL_ERROR]", "INSTALL_FAILED_INTERNAL_ERROR", Remedy.RETRY),
        ("Failure [INSTALL_FAILED_ABORTED: Session relinquished]", "INSTALL_FAILED_ABORTED", Remedy.RETRY),
        (
            "Failure [INSTALL_FAILED_SHARED_USER_INCOMPATIBLE]",
            "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES: Failed to collect certificates]",
            "INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_FAILED_DUPLICATE_PERMISSION perm=a.b pkg=c.d]",
            "INSTALL_FAILED_DUPLICATE_PERMISSION",
            Remedy.UNINSTALL,
        ),
        (
            "Failure [INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113]",
            "INSTALL_FAILED_NO_MATCHING_ABIS",
            Remedy.GIVE_UP,
        ),
        ("Failure [INSTALL_FAILED_OLDER_SDK]", "INSTALL_FAILED_OLDER_SDK", Remedy.GIVE_UP),
        (
            "Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]",
            "INSTALL_FAILED_USER_RESTRICTED",
            Remedy.ASK_OWNER,
        ),
        (
            "Failure [INSTALL_PARSE_FAILED_NOT_APK: Failed to parse base.apk]",
            "INSTALL_PARSE_FAILED_NOT_APK",
            Remedy.GIVE_UP,
        ),
        ("Failure [INSTALL_FAILED_SOMETHING_NEW]", "INSTALL_FAILED_SOMETHING_NEW", Remedy.GIVE_UP),
        ("", "NO_ANSWER", Remedy.RETRY),
        ("\r\n", "NO_ANSWER", Remedy.RETRY),
        ("cmd: Can't find service: package\n", "PACKAGE_MANAGER_NOT_READY", Remedy.RETRY),
        (
            "Error: Could not access the Package Manager.  Is the system running?",
            "PACKAGE_MANAGER_NOT_READY",
            Remedy.RETRY,
        ),
        (
            "cmd: Failure calling service package: Broken pipe (32)",
            "PACKAGE_MANAGER_NOT_READY",
            Remedy.RETRY,
        ),
        (
            "Exception occurred while executing 'install':\njava.lang.SecurityException: Shell may\n\tat a",
            "java.lang.SecurityException",
            Remedy.GIVE_UP,
        ),
        (
            "Error: java.lang.IllegalArgumentException: Unknown option -g",
            "java.lang.IllegalArgumentException",
            Remedy.GIVE_UP,
        ),
        ("Failure [null]", "UNKNOWN", Remedy.GIVE_UP),
        ("Failure\nSuccess\n", "UNKNOWN", Remedy.GIVE_UP),
    ],
)
def test_each_error_has_a_reason_and_a_remedy(text, reason, remedy):
    outcome = parse_install(text)

    assert outcome.reason == reason
    assert remedy_for(outcome.reason) is remedy
    assert outcome.text == " ".join(text.split())


@given(st.text())
def test_any_output_has_an_outcome(text):
    outcome = parse_install(text)

    assert outcome.reason is None or remedy_for(outcome.reason) in Remedy
    assert len(outcome.text) <= 1000


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]", "'Install via USB'"),
        ("Failure [INSTALL_FAILED_USER_RESTRICTED: Invalid apk]", "'Install via USB'"),
        ("Failure [INSTALL_CANCELED_BY_USER]", "'Install via USB'"),
        ("Failure [INSTALL_FAILED_ABORTED: User rejected permissions]", "'Install via USB'"),
        # Redmi Note 8 Pro, MIUI 12 (oasisfeng/island/issues/154).
        ("INSTALL_FAILED_USER_RESTRICTED: : Failed INSTALL_CANCELLED_BY_USER", "'Install via USB'"),
        # Galaxy Note 10+, Android 11 (Aefyr/SAI/issues/196).
        ("Failure [INSTALL_FAILED_VERIFICATION_FAILURE]", "'Verify apps over USB'"),
        # POCO F6, Android 16; "Install via USB" was off (joaomgcd/TaskerSettings/issues/80).
        (
            "Performing Streamed Install\nadb.exe: failed to install x.apk: Failure "
            "[INSTALL_FAILED_VERIFICATION_FAILURE: Install not allowed for file:///data/app/vmdl2116103098.tmp]",
            "'Install via USB'",
        ),
        # A Redmi with Android 10 (appium/appium/issues/17126), which was asked for `-g`.
        (
            "Security exception: You need the android.permission.INSTALL_GRANT_RUNTIME_PERMISSIONS "
            "permission to use the PackageManager.INSTALL_GRANT_RUNTIME_PERMISSIONS flag\n\n"
            "java.lang.SecurityException: You need the android.permission.INSTALL_GRANT_RUNTIME_PERMISSIONS "
            "permission to use the PackageManager.INSTALL_GRANT_RUNTIME_PERMISSIONS flag\n"
            "\tat com.android.server.pm.PackageInstallerService.createSessionInternal(PackageInstallerService"
            ".java:553)\n\tat com.android.server.pm.PackageInstallerService.createSession(PackageInstaller"
            "Service.java)\n",
            "'USB debugging (Security settings)'",
        ),
        # A Redmi Note 5 with Android 8.1 (appium/appium/issues/14340).
        (
            "Error: java.lang.SecurityException: You need the "
            "android.permission.INSTALL_GRANT_RUNTIME_PERMISSIONS permission to use the "
            "PackageManager.INSTALL_GRANT_RUNTIME_PERMISSIONS flag",
            "'USB debugging (Security settings)'",
        ),
    ],
)
def test_what_only_the_phones_owner_can_allow_is_said_in_the_words_of_its_settings(text, advice):
    reason = parse_install(text).reason

    assert remedy_for(reason) is Remedy.ASK_OWNER
    assert advice in advice_for(reason)


def test_a_full_disk_is_no_matter_of_the_owner():
    assert (
        remedy_for(parse_install("Failure [INSTALL_FAILED_ABORTED: No space left on device]").reason)
        is Remedy.CLEAN
    )


@pytest.mark.parametrize("garbage", ["SecurityException", "\n", " ", "Success", "INSTALL_FAILED_", "java."])
def test_a_megabyte_of_garbage_has_an_outcome(garbage):
    assert len(parse_install(garbage * (1_000_000 // len(garbage))).text) <= 1000
