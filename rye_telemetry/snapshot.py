"""`telemetry.yaml`: the published totals, derived from the index, written whole and atomically.

Every key and value is a JSON scalar, which each YAML 1.1 and 1.2 reader takes for the very same value, so no YAML library is
needed to write it. What YAML cannot hold as itself is escaped.
"""

from __future__ import annotations

import os

from rye_telemetry.files import open_fd, replace_file
from rye_telemetry.lines import encode_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "telemetry.yaml"
MARK = "# Written by rye-telemetry from its journal. Safe to read; what is edited here is not read back.\n"
# YAML readers give up looking for the colon of a key after 1,024 characters; an explicit key has no such limit.
_LONGEST_PLAIN_KEY = 1000


def render_item(key: str, published: Mapping[str, object]) -> str:
    """Return one item's block below `items:`."""
    name = render_scalar(key)
    lines = [f"  {name}:"] if len(name) < _LONGEST_PLAIN_KEY else [f"  ? {name}", "  :"]
    for field, value in published.items():
        if isinstance(value, list):
            lines.append(f"    {field}: [{', '.join(map(render_scalar, value))}]")
        else:
            lines.append(f"    {field}: {render_scalar(value)}")
    return "\n".join(lines) + "\n"


def render_scalar(value: object) -> str:
    """Return a JSON scalar that YAML 1.1 and 1.2 read as the same value."""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0") + "0" * (value == int(value))
    if not isinstance(value, str):
        return encode_json(value)
    if value.isascii():
        return encode_json(value).replace("\x7f", "\\u007f")
    text = encode_json(value.encode("utf-8", "backslashreplace").decode())
    if value.isprintable():
        return text
    return "".join(f"\\u{ord(char):04x}" if _needs_escape(ord(char)) else char for char in text)


def _needs_escape(code: int) -> bool:
    """Say whether YAML 1.1 takes the character for a line break or for not printable."""
    return 0x7F <= code <= 0x9F or code in (0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)


def write_snapshot(path: str, blocks: Iterable[str], *, updated: str | None) -> None:
    """Replace `path`; the caller holds the projection lock."""
    body = "".join(blocks)
    text = f"{MARK}version: 1\nupdated: {render_scalar(updated)}\nitems:{' {}' if not body else ''}\n{body}"
    replace_file(path, text.encode(), temporary=f"{path}.tmp")


def is_ours(path: str) -> bool:
    """Say whether the file was written here; a missing file is nobody's and counts as ours."""
    mark = MARK.encode()
    try:
        fd = open_fd(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return True
    try:
        return os.read(fd, len(mark)) == mark
    finally:
        os.close(fd)
