"""What every carrier has in common: which bytes can be text at all, where lines end, and a change of one place."""

from __future__ import annotations

import re
from typing import NamedTuple

from rye_telemetry.errors import BakeRefused

MAX_BYTES = 16 * 1024 * 1024
BOM = "\ufeff"
_LONE_CR = re.compile(r"\r(?!\n)")
_ASCII = bytes(range(128))  # a block is in it
_RYE_SIGNATURE = re.compile(rb"(?:#|//|--|<!--)[ \t]{0,8}rye(?:os)?:signed:\S{1,64}:[0-9a-f]{64}:")
_LFS = b"version https://git-lfs.github.com/spec/"
# Behind these nothing may stand: nuclei's digest, Authenticode, OpenPGP and PKCS #7.
_LAST_SIGNATURE = re.compile(
    rb"(?:#|//|--|<!--)?[ \t]{0,8}(?:digest:[ \t]{0,8}[0-9a-fA-F]{32}|SIG (?:#|//|--) End signature block"
    rb"|-----END (?:PGP|PKCS7|CMS|SSH) ?(?:SIGNATURE|SIGNED MESSAGE)?-----)"
)


LEADERS = (  # of a comment to the end of its line
    dict.fromkeys((".py", ".pyi", ".sh", ".bash", ".rb", ".pl", ".r", ".toml"), "#")
    | dict.fromkeys((".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts"), "//")
    | dict.fromkeys((".sql", ".lua"), "--")
)


class Source(NamedTuple):
    """A file as its carrier gets it: text, name without folders, suffix in small letters."""

    text: str
    name: str
    suffix: str


def is_skill(name: str) -> bool:
    """Say whether it is an Agent Skill's file, whose validators know six keys and no other."""
    return name.lower() == "skill.md"


class Edit(NamedTuple):
    """Replace text[start:end] by `new`."""

    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


def check_size(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise BakeRefused(
            "too_large", f"{name} is larger than {MAX_BYTES >> 20} MiB with its block, which no item may be"
        )


def check_bytes(data: bytes, name: str) -> None:
    """Refuse what no carrier may touch."""
    check_size(data, name)
    if data.startswith(_LFS):
        raise BakeRefused("lfs_pointer", f"{name} is a Git LFS pointer: its content is elsewhere (`git lfs pull`)")
    if _is_signed_last(data):
        raise BakeRefused("trailing_signature", f"{name} ends in a signature, behind which nothing may stand")


def _is_signed_last(data: bytes) -> bool:
    """Say whether a signature stands at the end. The place of RYE's own is the first line, or the second."""
    last = data[-8192:].rstrip().rpartition(b"\n")[2].strip()
    if _LAST_SIGNATURE.match(last):
        return True
    return _RYE_SIGNATURE.match(last) is not None and data.rstrip().count(b"\n") > 1


def check_text(data: bytes, name: str) -> None:
    if b"\x00" in data:
        raise BakeRefused("binary", f"{name} is not text: it has a NUL byte at {data.index(0)}")


def decode(data: bytes, name: str, encoding: str = "utf-8") -> str:
    """Return the text, a byte order mark as its first character; refuse what would not come back as the same bytes."""
    try:
        text = data.decode(encoding)
        same = encoding == "utf-8" or (text.encode(encoding) == data and _ASCII.decode(encoding) == _ASCII.decode())
    except (UnicodeError, LookupError) as e:
        at = (
            f": byte {e.start} is 0x{data[e.start]:02x}"
            if isinstance(e, UnicodeDecodeError) and e.object == data
            else ""
        )
        raise BakeRefused("not_utf8", f"{name} is not {encoding.upper()} text{at}: save it as UTF-8") from e
    if not same:
        raise BakeRefused("not_utf8", f"{name} does not keep its bytes as {encoding}: save it as UTF-8")
    if (lone := _LONE_CR.search(text)) is not None:
        line = text.count("\n", 0, lone.start()) + 1
        raise BakeRefused("cr_only", f"{name}, line {line}: a carriage return alone ends no line here: save it with LF")
    return text


def line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Return where the next line starts, or the text ends."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def eol_of(text: str, at: int) -> str:
    r"""Return how the line around `at` ends, "" where the text ends first."""
    found = text.find("\n", at)
    if found < 0:
        return ""
    return "\r\n" if text[max(found - 1, 0) : found] == "\r" else "\n"


def eol_before(text: str, at: int) -> str:
    """Return the line end that stands nearest before `at`, else the first one behind it, else LF."""
    found = text.rfind("\n", 0, at)
    if found < 0:
        return eol_of(text, at) or "\n"
    return "\r\n" if text[max(found - 1, 0) : found] == "\r" else "\n"


def remove_lines(text: str, start: int, end: int) -> Edit:
    """Take whole lines out; at an end without a line end, the one before them was theirs."""
    if end == len(text) and not text.endswith("\n") and start > 0:
        start -= 2 if text[:start].endswith("\r\n") else 1
    return Edit(start, end, "")
