"""Contents too large for Redis, in a folder; bucket_contents.py keeps them in S3.

Theory of operation
1. The content is written, flushed to the disk (file and folders) and named before the message is committed.
2. A crash between 1 and the commit leaves a content without a message: the collector (orphans.py) removes it.
3. The message's end removes the content after the end is committed. A crash in between leaves the same orphan.
4. What a function made of a message is a content of its own, `<message_id>-u<32 hex digits>`, written before the
   verdict that names it. It belongs to the message and goes with it, whether a verdict names it or not.
Invariant: a message in the spool whose `content_ref` is set has its content, and so has every part of its verdict.
"""

import asyncio
import hashlib
import os
import re
import secrets
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from config.errors import TryLater
from spool.keys import is_message_id


class ContentUnavailable(TryLater):
    """The content store cannot be reached or is full."""


class ContentMissing(ContentUnavailable):
    """The store answers and does not have it: a repeat helps only when somebody puts it back."""


class ContentStore(Protocol):
    """What the spool asks of a content store. The name of a content is the message_id, or that of an update."""

    async def put(self, message_id: str, content: bytes) -> str:
        """Keeps the content safely and returns its reference. Raises ContentUnavailable."""
        ...

    def reference_of(self, name: str) -> str:
        """The reference that `put` returns for a content of this name."""
        ...

    async def get(self, reference: str) -> bytes:
        """The bytes. Raises ContentMissing or ContentUnavailable."""
        ...

    def stream(self, reference: str) -> AsyncGenerator[bytes, None]:
        """The bytes in pieces of at most STREAM_BYTES. Raises as `get` does, ContentMissing before the first piece.

        Who does not read to the end closes it. A content that is removed meanwhile is read to its end all the same.
        """
        ...

    async def delete(self, reference: str) -> None:
        """Removes it; a missing one is no error. Raises ContentUnavailable."""
        ...

    def older_than(self, age_seconds: float, now: float) -> AsyncIterator[tuple[str, str]]:
        """(name, reference) of everything written before now - age; now in epoch seconds."""
        ...

    @property
    def mark_place(self) -> str:
        """Where the mark is, for people."""
        ...

    async def mark(self) -> str:
        """The id of the spool that the contents belong to; "" = they are not marked. Raises ContentUnavailable."""
        ...

    async def set_mark(self, spool_id: str) -> None:
        """Says whose the contents are from now on. Raises ContentUnavailable."""
        ...

    async def close(self) -> None:
        """Ends connections that are kept open."""
        ...


#: What a stream holds in memory.
STREAM_BYTES = 256 * 1024

# No message_id of ours ends like this.
_UPDATE_NAME = re.compile(r"(?P<message_id>[a-z0-9-]+)-u[0-9a-f]{32}")


def update_name(message_id: str, content: bytes) -> str:
    """The name of an updated content: a repeat after a crash writes the same one again."""
    return f"{message_id}-u{hashlib.blake2b(content, digest_size=16).hexdigest()}"


def owner_of(name: str) -> str:
    """The message that a content in the spool belongs to."""
    found = _UPDATE_NAME.fullmatch(name)
    return found["message_id"] if found else name


#: The mark lies beside the contents; its name is no message_id.
MARK_NAME = ".spool-id"

# A content that is being written is called `<message_id>.<16 hex digits>.new`; a crash may leave one.
_FILE_NAME = re.compile(r"(?P<message_id>[a-z0-9-]{1,120})(?:\.[0-9a-f]{16}\.new)?")


class FolderContents:
    """Contents as files, spread over 256 folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, reference: str) -> Path:
        name = reference.removeprefix("file:")
        found = _FILE_NAME.fullmatch(name)
        if found is None:
            raise ValueError("not a reference to a content")
        return self._folder / f"{zlib.crc32(found['message_id'].encode()) & 0xFF:02x}" / name

    async def put(self, message_id: str, content: bytes) -> str:
        if not is_message_id(message_id):
            raise ValueError("not a message id")
        try:
            await asyncio.to_thread(_write_durably, self._path(message_id), content)
        except OSError as error:
            raise ContentUnavailable("the content store cannot be written", detail=str(error)) from error
        return self.reference_of(message_id)

    def reference_of(self, name: str) -> str:
        return f"file:{name}"

    async def get(self, reference: str) -> bytes:
        with _reading():
            return await asyncio.to_thread(self._path(reference).read_bytes)

    async def stream(self, reference: str) -> AsyncGenerator[bytes, None]:
        with _reading():
            file = await asyncio.to_thread(os.open, self._path(reference), os.O_RDONLY)
        try:
            position = 0
            while True:
                # By position: a read that is cancelled goes on in its thread, where it must not move anything.
                with _reading():
                    piece = await asyncio.to_thread(os.pread, file, STREAM_BYTES, position)
                if not piece:
                    return
                yield piece
                position += len(piece)
        finally:
            os.close(file)

    async def delete(self, reference: str) -> None:
        path = self._path(reference)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise ContentUnavailable("the content cannot be removed", detail=str(error)) from error

    async def older_than(self, age_seconds: float, now: float) -> AsyncIterator[tuple[str, str]]:
        try:
            names = await asyncio.to_thread(lambda: list(_names_older_than(self._folder, now - age_seconds)))
        except OSError as error:
            raise ContentUnavailable("the content store cannot be listed", detail=str(error)) from error
        for name in names:
            yield name.partition(".")[0], f"file:{name}"

    @property
    def mark_place(self) -> str:
        return str(self._folder / MARK_NAME)

    async def mark(self) -> str:
        try:
            return (await asyncio.to_thread((self._folder / MARK_NAME).read_text, "utf-8", "replace")).strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ContentUnavailable("the content store's mark cannot be read", detail=str(error)) from error

    async def set_mark(self, spool_id: str) -> None:
        try:
            await asyncio.to_thread(_write_durably, self._folder / MARK_NAME, f"{spool_id}\n".encode())
        except OSError as error:
            raise ContentUnavailable("the content store cannot be marked", detail=str(error)) from error

    async def close(self) -> None:
        """Nothing is kept open."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ContentMissing("the content is not there", detail=str(error)) from error
    except OSError as error:
        raise ContentUnavailable("the content cannot be read", detail=str(error)) from error


def _write_durably(path: Path, content: bytes) -> None:
    _make_folder_durably(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _make_folder_durably(folder: Path) -> None:
    """A new folder is on the disk only after the folder it lies in is."""
    if folder.is_dir():
        return
    _make_folder_durably(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names_older_than(folder: Path, instant: float) -> Iterator[str]:
    for path in folder.glob("??/*"):
        try:
            is_old = path.stat().st_mtime < instant
        except FileNotFoundError:  # finished meanwhile
            continue
        if is_old and _FILE_NAME.fullmatch(path.name):
            yield path.name
