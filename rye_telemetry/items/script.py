"""What runs a script: its first line, else its extension."""

from __future__ import annotations

import os

from rye_telemetry.errors import ItemNotRunnable
from rye_telemetry.items.source import HEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INTERPRETERS = {".sh": "sh", ".bash": "bash", ".js": "node", ".mjs": "node", ".cjs": "node"}
_TYPESCRIPT = (".ts", ".mts", ".cts")


def parse_shebang(head: bytes) -> tuple[str, str | None] | None:
    """Return interpreter and argument of a first line as the kernel reads it: what follows the first word is one.

    A byte order mark before it and a carriage return after it, which the kernel would trip over, are tolerated.
    """
    line, newline, _ = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if not line.startswith(b"#!") or b"\0" in line or (not newline and len(head) >= HEAD_BYTES):
        return None
    words = line[2:].replace(b"\t", b" ").strip().split(b" ", 1)
    if not words[0]:
        return None
    return os.fsdecode(words[0]), os.fsdecode(words[1].strip()) if len(words) > 1 else None


def is_python(shebang: tuple[str, str | None]) -> bool:
    """Whether a first line asks for Python itself, directly or by env, rather than for something that prepares it."""
    interpreter, argument = shebang
    name = os.path.basename(interpreter)
    if name == "env":
        words = [word for word in (argument or "").split() if not word.startswith("-") and "=" not in word]
        name = os.path.basename(words[0]) if words else ""
    return name.startswith(("python", "pypy"))


def script_argv(
    path: str, *, shebang: tuple[str, str | None] | None, project_path: str, env: Mapping[str, str]
) -> list[str]:
    """Return the command that runs a script; ItemNotRunnable when nothing here can."""
    if shebang is not None:
        return _shebang_argv(path, shebang, env)
    extension = os.path.splitext(path)[1].lower()
    if extension in _TYPESCRIPT:
        return [*_typescript_runner(path, project_path, env), path]
    if extension in _INTERPRETERS:
        name = _INTERPRETERS[extension]
        program = find_program(name, env)
        if program is None:
            raise ItemNotRunnable(
                f"{path} is run by {name}, which is not on PATH: install it or give the file a #! line"
            )
        return [program, path]
    if os.access(path, os.X_OK):
        return [path]
    raise ItemNotRunnable(
        f"nothing here runs {path}: give it a #! line, make it executable, or use one of the extensions of a tool"
    )


def _shebang_argv(path: str, shebang: tuple[str, str | None], env: Mapping[str, str]) -> list[str]:
    interpreter, argument = shebang
    if os.name == "nt":  # pragma: no cover (POSIX paths mean nothing there: the program's name does)
        words = (argument or "").split()
        name = words.pop(0) if os.path.basename(interpreter) == "env" and words else os.path.basename(interpreter)
        return [find_program(name, env) or name, *words, path]
    if not os.path.exists(interpreter):
        raise ItemNotRunnable(f"{path} asks for {interpreter} in its first line, which does not exist")
    return [interpreter, path] if argument is None else [interpreter, argument, path]


def find_program(name: str, env: Mapping[str, str]) -> str | None:
    """Return the first executable of this name on PATH."""
    if os.name == "nt":  # pragma: no cover (PATHEXT is shutil's business)
        import shutil

        return shutil.which(name, path=env.get("PATH"))
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        program = os.path.join(folder or os.curdir, name)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def _typescript_runner(path: str, project_path: str, env: Mapping[str, str]) -> list[str]:
    """tsx of the project, tsx or bun of the machine, else a node that strips types by itself."""
    for folder in _node_folders(path, project_path):
        tsx = os.path.join(folder, "node_modules", ".bin", "tsx")
        if os.access(tsx, os.X_OK):
            return [tsx]
    for name in ("tsx", "bun"):
        program = find_program(name, env)
        if program is not None:
            return [program]
    node = find_program("node", env)
    version = _node_version(node, env) if node else None
    if node is None or version is None or version < (22, 6):
        found = f"node {version[0]}.{version[1]} cannot" if version else "nothing on PATH can"
        raise ItemNotRunnable(f"{found} run {path}: install tsx (npm install tsx), bun, or node 22.6 or newer")
    by_itself = version >= (23, 6) or (22, 18) <= version < (23, 0)
    return [node] if by_itself else [node, "--experimental-strip-types"]


def _node_folders(path: str, project_path: str) -> Iterator[str]:
    yield project_path
    folder = os.path.dirname(path)
    while folder != os.path.dirname(folder):
        yield folder
        folder = os.path.dirname(folder)


def _node_version(node: str, env: Mapping[str, str]) -> tuple[int, int] | None:
    import subprocess

    try:
        done = subprocess.run([node, "--version"], env=dict(env), capture_output=True, timeout=10, check=False)
        major, minor, *_ = done.stdout.decode("ascii", "replace").strip().removeprefix("v").split(".")
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
