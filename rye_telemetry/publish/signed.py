"""Signed items: whether the hash in a signature holds, what to do when a bake breaks it, and signing anew."""

from __future__ import annotations

import enum
import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.errors import SigningFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BOM = b"\xef\xbb\xbf"
MAX_ARGUMENT_BYTES = 100_000  # of paths in one call; Linux takes more, others not much more
_MARKDOWN = (".md", ".mdx", ".mdc", ".qmd", ".markdown")
_SHEBANG = re.compile(rb"\A#![^\n]*\n")
_LINE = re.compile(rb"(?:#|//|--|<!--)[ \t]*rye(?:os)?:signed:[^\n]*(?:\n|\Z)")
_HASH = re.compile(rb"[0-9a-f]{64}")
_KEY = re.compile(rb"(?:[0-9a-f]{64}|[0-9a-f]{16})")
_DIRECTIVE, _DIRECTIVE_END = "<directive", "</directive>"
_FENCE = "---"
_NEWER_KEY_LENGTH = 64


class Policy(enum.Enum):
    """What happens to a file whose signature stood so before a bake, and so after it."""

    BAKE = "bake"
    BAKE_AND_SAY_INVALID_ALREADY = "bake and say that it was invalid already"
    BAKE_AND_WARN = "bake and warn"
    SKIP = "skip"
    RESIGN = "resign"


class _Signature(NamedTuple):
    content_hash: str  # empty where the line is not as any engine writes it
    is_newer: bool
    before: bytes  # a shebang, or nothing
    after: bytes


def signature_state(data: bytes, filename: str) -> str | None:
    """Return `verified` or `broken`, by the hash in the signature line; None where there is no such line.

    Only the hash is looked at, by the rule of the engine that signed; whether the key may be trusted is for RYE to say.
    """
    signature = _find(data)
    if signature is None:
        return None
    hashed = [signature.after] if signature.is_newer else _hashed_by_older(signature, filename)
    holds = any(hashlib.sha256(content).hexdigest() == signature.content_hash for content in hashed)
    return "verified" if holds else "broken"


def policy(before: str | None, after: str | None, *, hook: bool, setting: str) -> Policy:
    """Return what to do with a file, by its signature before and after the bake and by `bake.signed`."""
    if before is None or after == "verified":
        return Policy.BAKE
    if before == "broken":  # signing it anew would vouch for whatever broke it
        return Policy.BAKE_AND_SAY_INVALID_ALREADY
    if setting == "resign":
        return Policy.RESIGN
    return Policy.SKIP if hook else Policy.BAKE_AND_WARN


def resign(paths: Sequence[str], *, command: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
    """Run `bake.sign_command` on files, in one call unless their names are too long; it talks on stderr.

    SigningFailed where it fails. Whether what it left is signed is for the caller to look at.
    """
    if not any("{path}" in word for word in command):
        raise SigningFailed("bake.sign_command has no {path}: write one, such as [rye, sign, '{path}']")
    for some in _batches(paths):
        _run([*_filled(command, some)], env=env, cwd=cwd)


def _find(data: bytes) -> _Signature | None:
    start = len(BOM) if data.startswith(BOM) else 0
    shebang = _SHEBANG.match(data[start:])
    line = _LINE.match(data, start + shebang.end() if shebang else start)
    if line is None:
        return None
    before, after = data[start : line.start()], data[line.end() :]
    content_hash, key = _fields(line[0])
    return _Signature(content_hash, is_newer=len(key) == _NEWER_KEY_LENGTH, before=before, after=after)


def _fields(line: bytes) -> tuple[str, bytes]:
    """Return hash and key of a signature line; from its end, for TIME holds colons."""
    text = line.rstrip().removesuffix(b"-->").rstrip()
    fields = text.rsplit(b":", 3)[1:]
    if len(fields) < 3:
        return "", b""
    key = fields[2].partition(b"|")[0]  # behind it stands what a registry attests
    return (fields[0].decode(), key) if _HASH.fullmatch(fields[0]) and _KEY.fullmatch(key) else ("", b"")


def _hashed_by_older(signature: _Signature, filename: str) -> Iterator[bytes]:
    r"""Yield what the older engine may have hashed.

    It read files as text, where every line ends in \n; the bytes as they are cover what was signed elsewhere. No other
    reading may be added lightly: one that is not the engine's would call a signature whole that the engine refuses.
    """
    is_markdown = filename.lower().endswith(_MARKDOWN)
    hashed = signature.after if is_markdown else _SHEBANG.sub(b"", signature.before + signature.after)
    for content in dict.fromkeys((hashed, hashed.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))):
        yield from _hashed_markdown(content) if is_markdown else (content,)


def _hashed_markdown(content: bytes) -> Iterator[bytes]:
    text = content.decode("utf-8", "surrogateescape")
    for part in (_directive(text), _body(text)):
        if part is not None:
            yield part.encode("utf-8", "surrogateescape")


def _directive(text: str) -> str | None:
    start, end = text.find(_DIRECTIVE), text.rfind(_DIRECTIVE_END)
    return text[start : end + len(_DIRECTIVE_END)] if 0 <= start < text.find(">", start) <= end else None


def _body(text: str) -> str:
    """Return knowledge behind its header, which for that engine ends with the next three dashes, wherever they stand."""
    if not text.startswith(_FENCE):
        return text
    end = text.find(_FENCE, len(_FENCE))
    return text if end < 0 else text[end + len(_FENCE) :].strip()


def _batches(paths: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for path in paths:
        if some and size + len(os.fsencode(path)) + 1 > MAX_ARGUMENT_BYTES:
            yield some
            some, size = [], 0
        some.append(path)
        size += len(os.fsencode(path)) + 1
    if some:
        yield some


def _filled(command: Sequence[str], paths: Sequence[str]) -> Iterator[str]:
    for word in command:
        if "{path}" in word:
            yield from (word.replace("{path}", _plain(path)) for path in paths)
        else:
            yield word


def _plain(path: str) -> str:
    return os.path.join(os.curdir, path) if path.startswith("-") else path


def _run(argv: list[str], *, env: Mapping[str, str], cwd: str) -> None:
    import subprocess

    name = " ".join(argv[:2])
    instead = "try it by hand, and see bake.sign_command and bake.signed in the settings"
    try:
        done = subprocess.run(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=2, check=False)
    except (OSError, ValueError) as e:
        said = e.strerror if isinstance(e, OSError) else e
        raise SigningFailed(f"nothing was signed: {name!r} cannot be started: {said}: {instead}") from e
    if done.returncode:
        how = f"exit {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise SigningFailed(f"signing failed: {name!r} ended with {how}: {instead}")
