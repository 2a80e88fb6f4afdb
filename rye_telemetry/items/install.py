"""Put the six RYE tools into a project, without ever overwriting what its owner changed."""

from __future__ import annotations

import os

from rye_telemetry.errors import BakeRefused, RyeTelemetryError, UsageInvalid

TOOLS = ("lib.py", "configure.py", "status.py", "clear.py", "export.py", "run_with.py")
FOLDER = os.path.join(".ai", "tools", "rye", "telemetry")
_SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rye_tools")
# SHA-256 of every version that was ever released, with LF line ends: how an older file of ours is told from an edited.
# Add to it, never take away: tests/test_rye_tools.py wants today's files in it.
RELEASED: dict[str, tuple[str, ...]] = {
    "lib.py": ("cadfb922f43dc89082f73d8483fb2337befbb513941d38f04503361e65d1c90f",),
    "configure.py": ("e21691ebb55e4aa250b355aab87f9eac2164dc5fecd0935ec5f3d1533b11339b",),
    "status.py": ("1fd972874c63bd3d5b2980750f7da3d96d8aee2882261b308fee585168a951d4",),
    "clear.py": ("9dac507ac336e6026c27f9cd956d61ccc45e01b3609b1d5dd5989c0f93927cd1",),
    "export.py": (
        "7d27b8ee8e33502cfee6889e3170e6d9ceb299b61382ced61ab7fbce2516b774",
        "5d42d3e50854e5af3c445d1736518350b99d022af61632ef54cf75ad9b4a8ef5",
    ),
    "run_with.py": ("92eb7bcaae643135d8bfd677b339047cde78f7cbf83e96301d747264458484af",),
}


def install_tools(project_path: str) -> list[tuple[str, str]]:
    """Write the tools into `.ai/tools/rye/telemetry/` and return (path, state) of each.

    States: `written` (new, or an older one of ours renewed), `unchanged`, `edited` (not ours any more, left alone).
    """
    if not os.path.isdir(project_path):
        raise UsageInvalid(f"{project_path!r} is not a directory: name the project's with --path")
    folder = os.path.join(os.path.abspath(project_path), FOLDER)
    try:
        os.makedirs(folder, exist_ok=True)
        return [(os.path.join(folder, name), _install(name, folder)) for name in TOOLS]
    except OSError as e:
        raise RyeTelemetryError(
            f"{e.filename or folder!r} cannot be written ({e.strerror}): check its permissions"
        ) from e


def _install(name: str, folder: str) -> str:
    with open(os.path.join(_SOURCE, name), "rb") as f:
        ours = _lf(f.read())
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as f:
            there = _unbaked(f.read(), name)
    except FileNotFoundError:
        _write(path, ours, mode=0o666)
        return "written"
    if _lf(there) == ours or _lf(_unsigned(there)) == ours:
        return "unchanged"
    if _sha256(there) not in RELEASED[name]:  # a signed older version is somebody's decision too
        return "edited"
    _write(path, ours, mode=os.stat(path).st_mode & 0o777)
    return "written"


def _unbaked(data: bytes, name: str) -> bytes:
    """Numbers that were baked into a tool do not make it an edited one."""
    from rye_telemetry.bake import strip_bytes

    try:
        return strip_bytes(data, name).data
    except BakeRefused:
        return data


def _lf(data: bytes) -> bytes:
    """Undo what a checkout with CRLF line ends does."""
    return data.replace(b"\r\n", b"\n")


def _unsigned(data: bytes) -> bytes:
    """Drop the line that RYE puts first when a user signs an item."""
    first, _, rest = data.partition(b"\n")
    return rest if first.startswith((b"# rye:signed:", b"# rye:validated:")) else data


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(_lf(data)).hexdigest()


def _write(path: str, data: bytes, *, mode: int) -> None:
    from rye_telemetry.files import O_BINARY, try_unlink, write_all

    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY, mode)
    try:
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except BaseException:
        try_unlink(temporary)
        raise
