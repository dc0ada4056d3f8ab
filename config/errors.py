"""The two roots of every error the program raises on purpose, named after what the catcher must do.

A foreign error (Redis, aiohttp, botocore, OSError) is translated into one of these once, in the file that makes
the call. Anything else that is raised is a bug and is caught only at the edge of a process.
"""


class SluiceError(Exception):
    """Carries a reason that is safe to tell outside and a detail that only the log sees."""

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail or reason


class Refused(SluiceError):  # noqa: N818 - named after what the catcher must do
    """Permanent: the same request fails again until the caller changes something."""


class TryLater(SluiceError):  # noqa: N818 - named after what the catcher must do
    """Temporary: the same request may succeed after a while."""

    def __init__(self, reason: str, *, detail: str = "", after_seconds: float | None = None) -> None:
        super().__init__(reason, detail=detail)
        self.after_seconds = after_seconds
