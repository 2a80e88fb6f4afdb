"""What every kind of item file has in common: it is read whole, bounded, and never changed."""

from __future__ import annotations

import os
import stat

from rye_telemetry.errors import ItemNotRunnable

MAX_ITEM_BYTES = 16 * 1024 * 1024
# More than any kernel reads of a first line.
HEAD_BYTES = 4096


def check_item(path: str) -> os.stat_result:
    """Return the file's status; ItemNotRunnable unless it is a regular file that can be read."""
    try:
        status = os.stat(path)
    except OSError as e:
        raise ItemNotRunnable(f"{path} cannot be read: {e.strerror}") from e
    if not stat.S_ISREG(status.st_mode):
        raise ItemNotRunnable(f"{path} is not a regular file")
    if not os.access(path, os.R_OK):
        raise ItemNotRunnable(f"{path} cannot be read: allow it with chmod u+r")
    return status


def check_size(path: str, size_bytes: int) -> None:
    """Raise ItemNotRunnable for a file larger than any item is."""
    if size_bytes > MAX_ITEM_BYTES:
        raise ItemNotRunnable(f"{path} is larger than {MAX_ITEM_BYTES >> 20} MiB, which no item may be")


def read_head(path: str) -> bytes:
    """Return the first bytes of a file, enough for any first line."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEAD_BYTES) or b""
    except OSError as e:
        raise ItemNotRunnable(f"{path} cannot be read: {e.strerror}") from e


def read_text(path: str) -> str:
    """Return the whole file as text: its bytes decoded as UTF-8, BOM and line endings as they are."""
    check_size(path, check_item(path).st_size)
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
    except OSError as e:
        raise ItemNotRunnable(f"{path} cannot be read: {e.strerror}") from e
    check_size(path, len(data))
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise ItemNotRunnable(f"{path} is not UTF-8 text: byte {e.start} is 0x{data[e.start]:02x}") from e
