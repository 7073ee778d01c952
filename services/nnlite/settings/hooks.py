"""Settings of end-of-campaign hooks."""

import shlex

from pydantic import Field, field_validator

from nnlite.settings.groups import Group


class HookSettings(Group):
    """End-of-campaign hooks: a command, a webhook and a mail; run once by the reaper, or by `nnlite run`."""

    command: str | None = Field(None, description="program and arguments, no shell; gets JSON as its input")
    webhook_url: str | None = Field(None, description="http(s) URL that JSON is posted to; a credential")
    mail_to: tuple[str, ...] = Field((), description="addresses that sendmail of the system gets a mail for")
    timeout_s: float = Field(30, gt=0, description="longest that one hook may take")

    @property
    def any(self) -> bool:
        """Whether a hook is set."""
        return bool(self.command or self.webhook_url or self.mail_to)

    @field_validator("command")
    @classmethod
    def _has_words(cls, command: str | None) -> str | None:
        if command is not None and not shlex.split(command):
            raise ValueError("it names no program")
        return command

    @field_validator("webhook_url")
    @classmethod
    def _is_web(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("write http://... or https://...")
        return url
