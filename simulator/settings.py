"""What the operator of the simulator chooses. Three of them may be changed while it runs (PUT /settings)."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulated SES account and where it listens."""

    host: str = "127.0.0.1"
    port: int = 2581
    #: recipients per second; 0 = unlimited
    max_send_rate: float = 0.0
    #: recipients per rolling 24 hours; -1 = unlimited
    max_24_hour_send: float = -1.0
    #: added before every answer to a send, accepted or refused
    latency_seconds: float = 0.0
    #: where POST /save writes; nothing is ever written without that request
    data_dir: Path | None = None
    #: raw messages are kept up to this many bytes together, the newest win
    kept_message_bytes: int = 256 * MEBIBYTE
    #: ledger lines are kept up to this many, the newest win
    kept_ledger_lines: int = 1_000_000
    #: a larger request is refused with 413 while it is being read
    max_request_bytes: int = 60 * MEBIBYTE
