"""Copies of checkpoints to places that the operator of the log cannot take back: a file on write-once storage, an
HTTP address, a mailbox."""

import json
import mailbox
import os
from collections.abc import Callable
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from gateway.audit.checkpoint import SignedCheckpoint
from gateway.audit.checkpoint_folder import write_all
from gateway.audit.post import check_url, post

_TIMEOUT_S: Final = 5.0


class Copy(Protocol):
    """A place for copies. `put` raises `OSError` when the copy may not have arrived."""

    name: str

    def put(self, signed: SignedCheckpoint) -> None: ...


class FileCopy:
    """Appends to a file, one JSON string a line, synced."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def put(self, signed: SignedCheckpoint) -> None:
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            write_all(descriptor, json.dumps(str(signed), ensure_ascii=False).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class UrlCopy:
    """Posts the note. Any 2xx status says that it arrived."""

    def __init__(self, url: str) -> None:
        """Raises `ConfigurationError`."""
        check_url(url)
        self.name = url.partition("?")[0]
        self._url = url

    def put(self, signed: SignedCheckpoint) -> None:
        answer = post(self._url, str(signed).encode(), timeout_s=_TIMEOUT_S)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ConnectionError(f"it answered {answer.status}")


class SpoolCopy:
    """Puts a message into a Maildir, from which a mail system takes it to whoever shall hold it."""

    def __init__(self, folder: Path, address: str) -> None:
        self.name = str(folder)
        self._folder = folder
        self._address = address

    def put(self, signed: SignedCheckpoint) -> None:
        point = signed.checkpoint
        message = EmailMessage()
        message["To"] = self._address
        message["Subject"] = f"checkpoint {point.size} of {point.origin}"
        message.set_content(str(signed), cte="8bit")
        mailbox.Maildir(self._folder, create=True).add(message)


class Copies:
    """Takes each checkpoint to its places, to each at most once in `every_s`; what waits is replaced by what is
    newer. A place that fails is asked again next time and holds up nothing but this process."""

    def __init__(
        self, places: list[tuple[Copy, float]], *, clock: Callable[[], float], warn: Callable[[str], object]
    ) -> None:
        """Pairs of place and `every_s`. `clock` is monotonic, in seconds."""
        self._places = places
        self._clock = clock
        self._warn = warn
        self._sent: dict[str, float] = {}
        self._had: dict[str, int] = {}

    def offer(self, signed: SignedCheckpoint, *, final: bool = False) -> None:
        """`final` sends what a place does not have yet at once: the signer stops."""
        for place, every_s in self._places:
            due = self._sent.get(place.name, -every_s) + every_s <= self._clock()
            if (not due and not final) or self._had.get(place.name) == signed.checkpoint.size:
                continue
            self._sent[place.name] = self._clock()
            try:
                place.put(signed)
            except OSError as error:
                self._warn(
                    f"no copy of checkpoint {signed.checkpoint.size} to `{place.name}`: {error.strerror or error}"
                )
            else:
                self._had[place.name] = signed.checkpoint.size
