"""The settings of everything but sending: one class a section of the file. settings.py puts them together."""

import ipaddress
import re
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from config.setting_kinds import (
    NAME_PATTERN,
    ContentPlace,
    DomainPatterns,
    Names,
    Networks,
    Port,
    PortOrNone,
    RedisUrl,
    Seconds,
    Section,
)

MIB = 1024 * 1024
# SES takes 40 MiB after base64 through v2, which is 30 MiB of raw message with our Received line in it.
SES_MAX_RAW_BYTES = 30 * MIB - 2048


class DataSettings(Section):
    """Where things that survive a restart live."""

    dir: Path = Field(Path("var"), description="Folder of the embedded Redis, big contents, users and events.")


class SmtpSettings(Section):
    """The SMTP door."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all IPv4, :: for all.")
    port: Port = Field(2525, description="Port for plain SMTP and STARTTLS.")
    tls_port: PortOrNone = Field(0, description="Port for implicit TLS (often 465); 0 = none.")
    processes: int = Field(1, ge=1, le=64, description="Gateway processes that share the port.")
    hostname: str = Field(
        default_factory=socket.getfqdn, description="Our name in the banner and in the Received line."
    )
    tls_certificate_file: Path | None = Field(
        None, description="PEM certificate chain; with it STARTTLS is offered. Re-read when it changes."
    )
    tls_key_file: Path | None = Field(None, description="PEM private key of the certificate.")
    allowed_networks: Networks = Field(
        (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="Networks that may submit without a user name.",
    )
    users_file: Path | None = Field(
        None, description="SMTP users (mailsluice user add); default: smtp-users.json in the data dir."
    )
    auth_without_tls: bool = Field(False, description="Offer AUTH on connections without TLS.")
    local_domains: DomainPatterns = Field(
        (), description="Domains of one's own, domain or *.domain: mail to them is INBOUND for the rules."
    )
    max_message_bytes: int = Field(
        SES_MAX_RAW_BYTES, ge=1024, le=SES_MAX_RAW_BYTES, description="Largest message, raw bytes."
    )
    max_recipients: int = Field(500, ge=1, le=10_000, description="Most recipients of one message.")
    max_line_bytes: int = Field(2048, ge=998, le=1_000_000, description="Longest line of a message without its CRLF.")
    max_header_bytes: int = Field(102_400, ge=1024, le=MIB, description="Largest header section of a message.")
    max_command_line_bytes: int = Field(4096, ge=512, le=65536, description="Longest command line.")
    max_commands: int = Field(
        25_000,
        ge=10,
        description="Commands of one connection before it is closed; MAIL, RCPT and DATA of accepted mail are free. At "
        "least 100 more than max_recipients.",
    )
    max_errors: int = Field(
        10, ge=1, description="Refused commands, RCPT aside, before a connection is closed; accepted mail resets them."
    )
    max_connections: int = Field(1000, ge=1, description="Connections at once to one gateway process.")
    max_connections_per_address: int = Field(
        100, ge=1, description="Connections at once from one address to one gateway process."
    )
    max_received_headers: int = Field(50, ge=5, description="Received lines that mean a mail loop.")
    idle_timeout_seconds: Seconds = Field(300, description="Silence after which a connection is closed.")
    memory_budget_bytes: int = Field(
        256 * MIB, ge=MIB, description="Bytes of unfinished messages in one gateway process; over it: 452."
    )
    commit_timeout_seconds: Seconds = Field(
        30,
        le=240,
        description="Longest wait for the spool after the final dot; then 451 (RFC 5321 lets clients wait 600).",
    )
    shutdown_grace_seconds: Seconds = Field(15, description="Time for running transactions after SIGTERM.")

    @field_validator("memory_budget_bytes")
    @classmethod
    def _has_room_for_a_message(cls, budget_bytes: int, others: ValidationInfo) -> int:
        largest: int = others.data.get("max_message_bytes", 0)  # missing when it is wrong itself
        if budget_bytes < largest:
            raise ValueError(f"must be at least max_message_bytes ({largest})")
        return budget_bytes


class ApiSettings(Section):
    """The HTTP door: /healthz, /metrics, /admin/ and the AWS operations."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(2580, description="Port of all HTTP services.")
    admin_token: str = Field(
        "",
        repr=False,
        description="Bearer token of /admin/, at least 16 characters; empty = /admin/ is closed.",
    )

    access_keys_file: Path | None = Field(
        None, description="Keys of the AWS API (mailsluice key add); default: access-keys.json in the data dir."
    )
    trust_loopback: bool = Field(
        False, description="AWS requests from this machine need no known key and no signature."
    )
    memory_budget_bytes: int = Field(
        256 * MIB, ge=64 * MIB, description="Bytes of unfinished SES requests in the process; over it: 503, try again."
    )
    commit_timeout_seconds: Seconds = Field(
        25, le=240, description="Longest wait for the spool before a send is answered with 503 (boto3 waits 60)."
    )

    @field_validator("admin_token")
    @classmethod
    def _long_enough(cls, token: str) -> str:
        if token and not re.fullmatch(r"[\x21-\x7e]{16,}", token):
            raise ValueError("must have at least 16 printable characters without blanks")
        return token


class SimulatorSettings(Section):
    """The local SES."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(2581, description="Port of the simulator's API and web page.")
    max_send_rate: float = Field(0.0, ge=0, description="Recipients per second; 0 = unlimited.")
    max_24_hour_send: float = Field(-1.0, ge=-1, description="Recipients per rolling 24 hours; -1 = unlimited.")
    latency_seconds: float = Field(0.0, ge=0, le=600, description="Wait before each answer.")
    sandbox: bool = Field(False, description="Only verified identities may send and be sent to, as in a new account.")
    verified_identities: Names = Field((), description="Addresses and domains that the sandbox knows.")


class FlowerSettings(Section):
    """Flower, the view on the Celery workers. It has no login: keep it on loopback."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: PortOrNone = Field(5555, description="Port of the web page; 0 = no Flower.")


class RedisSettings(Section):
    """The server that holds the spool."""

    url: RedisUrl = Field(
        "",
        repr=False,
        description="redis://, rediss:// or unix://; empty = embedded.",
    )
    durability: Literal["always", "everysec", "none"] = Field(
        "always",
        description="Weakest append-only policy accepted. Anything but always can lose accepted mail.",
    )
    memory_high_water_percent: int = Field(
        80, ge=10, le=95, description="Share of maxmemory above which new mail gets 452."
    )
    min_free_disk_bytes: int = Field(
        256 * MIB, ge=0, description="Free space of the data dir under which new mail gets 452."
    )
    embedded_max_memory_bytes: int = Field(2048 * MIB, ge=64 * MIB, description="maxmemory of the embedded server.")


class BrokerSettings(Section):
    """Where Celery's queues live."""

    url: RedisUrl = Field(
        "",
        repr=False,
        description="Another Redis for the nudges; empty = the spool's.",
    )


class SpoolSettings(Section):
    """How messages are kept."""

    inline_content_bytes: int = Field(
        128 * 1024, ge=0, le=8 * MIB, description="Larger contents go to the content store."
    )
    content_store: ContentPlace = Field(
        "",
        description="Folder or s3://bucket/prefix; empty = data dir.",
    )
    environment: str = Field(
        "",
        pattern=rf"^({NAME_PATTERN})?$",
        description="Name of this installation, for instance production; a spool with another name is refused.",
    )
    keep_finished_seconds: Seconds = Field(
        86400, description="How long mailsluice show knows a finished message (its content goes at once)."
    )


class WorkerSettings(Section):
    """The Celery worker."""

    processes: int = Field(1, ge=1, le=64, description="Worker processes that mailsluice up starts.")
    threads: int = Field(32, ge=1, le=256, description="Tasks at once in one worker process.")
    concurrent_calls: int = Field(16, ge=1, le=256, description="SES calls in flight in one worker process.")
    lease_seconds: float = Field(
        30, ge=1, le=3600, description="A worker that is silent for this long loses its messages to others."
    )
    max_failures: int = Field(5, ge=1, le=100, description="Errors inside a step before a message is held.")
    max_crashes: int = Field(10, ge=2, le=1000, description="Lost workers while holding a message before it is held.")
    sweep_seconds: float = Field(1.0, ge=0.05, le=60, description="Distance between two looks for due work.")
    stall_seconds: float = Field(
        120, ge=5, description="The worker exits when work is due and it claimed nothing for this long."
    )
    shutdown_grace_seconds: Seconds = Field(40, description="Time for running SES calls after SIGTERM.")


class LogSettings(Section):
    """What the processes write to stderr."""

    format: Literal["auto", "console", "json"] = Field("auto", description="auto = console on a terminal.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level written.")
