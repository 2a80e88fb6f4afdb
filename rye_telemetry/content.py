"""Which version of an item a run was of: a hash of its file that a baked block does not change.

Every run of an item asks while its command is under way or has just ended, so nothing is imported before it is needed.
"""

from __future__ import annotations

import os
import stat
import sys

MAX_BYTES = 16 * 1024 * 1024  # no larger file is baked either
MAX_BAKED_BYTES = (
    128 * 1024
)  # taking a block out of Python or YAML this large takes 0.2 s, and a run's end waits for it
MARK = b"total_runs"  # no block of ours is without it
_BUILT_IN = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
_SMALL_BYTES = 1 << 20  # OpenSSL takes 3 ms to load and hashes five times as fast


def read_item(path: str) -> bytes | None:
    """Return an item's bytes; None where it is no regular file, too large, or cannot be read. Never waits for a FIFO."""
    try:
        fd = os.open(path, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_CLOEXEC") | _flag("O_BINARY"))
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return None
        parts, left = [], MAX_BYTES + 1
        while left > 0 and (part := os.read(fd, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts) if left > 0 else None  # else it grew meanwhile
    except OSError:
        return None
    finally:
        os.close(fd)


def hash_in_passing(data: bytes, filename: str) -> str | None:
    """Return `content_hash_of` where that is quick; None for a large file that may hold a block."""
    return None if len(data) > MAX_BAKED_BYTES and MARK in data else content_hash_of(data, filename)


def content_hash_of(data: bytes, filename: str) -> str:
    """Return the SHA-256, in hex, of an item without its telemetry block; of all of it where no block can be taken out."""
    if MARK in data:
        from rye_telemetry.bake import strip_bytes
        from rye_telemetry.errors import BakeRefused

        try:
            data = strip_bytes(data, filename).data
        except BakeRefused:
            return _sha256_hex(data)  # nothing was baked into it either
    return _sha256_hex(data)


def _sha256_hex(data: bytes) -> str:
    if len(data) <= _SMALL_BYTES:
        try:
            return str(__import__(_BUILT_IN).sha256(data).hexdigest())
        except ImportError:  # another interpreter than CPython
            pass
    from hashlib import sha256

    return sha256(data).hexdigest()


def _flag(name: str) -> int:
    return int(getattr(os, name, 0))
