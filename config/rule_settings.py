"""The settings of rules, functions and the message-flow API. settings.py puts them together with the others."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from config.setting_kinds import Names, Seconds, Section


class RulesSettings(Section):
    """The operator's rules (docs/rules.md)."""

    file: Path | None = Field(None, description="TOML file with [[rule]] tables; none = no rules. Re-read on change.")
    outbound_precedence: Literal["restrictive", "listed"] = Field(
        "restrictive",
        description="Equally specific outbound rules: restrictive = DROP, BOUNCE, DEFAULT; listed = DEFAULT first.",
    )
    reload_seconds: float = Field(1.0, ge=0.1, le=60, description="Distance between two looks at the file.")


class FunctionsSettings(Section):
    """Functions that rules run (docs/migrating-from-workmail.md)."""

    message_flow_url: str = Field(
        "", description="Where functions of this machine find the message-flow API; empty = [api] host and port."
    )
    pass_environment: Names = Field(
        ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "AWS_REGION", "AWS_DEFAULT_REGION"),
        description="Variables of the worker that functions of this machine see; AWS_ENDPOINT_URL_* always go along.",
    )
    max_processes: int = Field(16, ge=1, le=256, description="Function processes at once in one worker process.")
    idle_seconds: Seconds = Field(300, description="A function process that was not used for this long is ended.")


class MessageFlowSettings(Section):
    """GetRawMessageContent and PutRawMessageContent."""

    access_seconds: Seconds = Field(86400, description="How long after its acceptance a function may read a message.")
    immutable_headers: Names = Field(
        ("Message-ID", "From", "Sender", "Date", "Received"),
        description="Headers whose values an update may not change.",
    )
    strict_s3_names: bool = Field(False, description="Only buckets and keys of the API model's patterns; else S3's.")
