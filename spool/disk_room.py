"""Whether the disks of this machine have room for mail: the embedded server's and the content store's.

No server is asked, so that this is known too when a full disk has ended the server.
"""

import shutil
from pathlib import Path

from config.settings import MIB, RedisSettings, Settings

# Full ends when this much more than the least disk space is free.
HYSTERESIS_DISK = 1.05


def disk_sentence(free_disk_bytes: int | None, policy: RedisSettings, *, was_full: bool = False) -> str:
    """What is wrong with so much free space, "" = nothing; None = not known. Full ends a little above its mark."""
    least = policy.min_free_disk_bytes * (HYSTERESIS_DISK if was_full else 1)
    if free_disk_bytes is None or free_disk_bytes >= least:
        return ""
    return (
        f"Only {free_disk_bytes // MIB} MiB of disk are free (least: {policy.min_free_disk_bytes // MIB} MiB): "
        "make room in the data dir."
    )


def disk_problem(settings: Settings) -> str:
    """What is wrong with the disk now, "" = it has room; for who cannot ask a server that is gone."""
    return disk_sentence(least_free_disk_bytes(watched_folders(settings)), settings.redis)


def watched_folders(settings: Settings) -> tuple[Path, ...]:
    """Folders whose disk must have room: the embedded server's and the content store's."""
    store = settings.spool.content_store
    folders = [] if settings.redis.url else [settings.data.dir]
    if not store.startswith("s3://"):
        folders.append(Path(store) if store else settings.data.dir)
    return tuple(dict.fromkeys(folders))


def least_free_disk_bytes(folders: tuple[Path, ...]) -> int | None:
    """Free bytes for an ordinary user on the fullest of these disks; a folder not made yet counts as its parent.

    None when there is no folder, or one that this user may not look at (a put there is refused by itself).
    """
    try:
        return min((shutil.disk_usage(_existing(folder)).free for folder in folders), default=None)
    except OSError:
        return None


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
