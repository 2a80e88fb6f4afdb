"""A tool written in YAML: a command and its arguments, with the parameters filled in. Shape: docs/items.md."""

from __future__ import annotations

import os
import re
import shlex

from rye_telemetry.errors import ItemNotRunnable, ParamsInvalid
from rye_telemetry.items.params import (
    MAX_ARGUMENT_BYTES,
    argument_text,
    declared_inputs,
    given_values,
    script_env,
)
from rye_telemetry.items.yaml_read import json_ready, read_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}|[{}]")


def plan_command(
    text: str, path: str, *, params: Mapping[str, object], project_path: str, item_id: str
) -> tuple[list[str], dict[str, str]]:
    """Return the arguments to spawn, program first, and the environment to add.

    A placeholder `{name}` becomes its value inside the one argument it stands in: never several, never through a shell.
    `{{` and `}}` are literal braces. `{project_path}`, `{tool_path}` and `{tool_dir}` are always there.
    """
    tree = read_yaml(text, where=path)
    if not isinstance(tree, dict) or tree.get("command") is None:
        raise ItemNotRunnable(f"{path} has no `command`: add one, as in `command: git` and `args: [log, '{{rev}}']`")
    if tree.get("cwd") is not None:
        raise ItemNotRunnable(f"{path}: `cwd` is not supported: a tool runs where run-with was called")
    argv = [*_command(tree["command"], path), *_texts(tree.get("args"), "args", path)]
    env = _env(tree.get("env"), path)
    names = _placeholders([*argv, *env.values()], path)
    values = {
        "project_path": project_path,
        "tool_path": path,
        "tool_dir": os.path.dirname(path),
        **_values(tree, params, names=names, path=path, item_id=item_id),
    }
    missing = [name for name in names if name not in values]
    if missing:
        raise ParamsInvalid(
            f"tool {item_id} needs {', '.join(missing)}: give a value by --params, or a default in {path}"
        )
    texts = {name: argument_text(name, values[name]) for name in names}
    filled = [_filled(argument, texts) for argument in argv]
    _check_arguments(filled, path, item_id)
    return filled, {**script_env(params), **{name: _filled(value, texts) for name, value in env.items()}}


def _values(
    tree: Mapping[str, object], params: Mapping[str, object], *, names: Iterable[str], path: str, item_id: str
) -> dict[str, object]:
    defaults = tree.get("defaults")
    if not isinstance(defaults, dict | None):
        raise ItemNotRunnable(f"{path}: `defaults` must map names to values")
    values = {name: json_ready(value) for name, value in (defaults or {}).items() if value is not None}
    known = [*names, *values]
    values.update((name, value) for name, value in params.items() if value is not None)
    declared = declared_inputs(tree.get("parameters"), where=f"{path}: parameters")
    return given_values(values, declared, also_known=known, where=f"tool {item_id}")


def _command(value: object, path: str) -> list[str]:
    if not isinstance(value, str):
        argv = _texts(value, "command", path)
    else:
        try:
            argv = shlex.split(value)
        except ValueError as e:
            raise ItemNotRunnable(f"{path}: `command` cannot be split into words: {e}") from e
    if not argv or not argv[0]:
        raise ItemNotRunnable(f"{path}: `command` is empty")
    return argv


def _texts(value: object, key: str, path: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ItemNotRunnable(f"{path}: `{key}` must be a list, one entry for each argument")
    for number, entry in enumerate(value):
        if not isinstance(entry, str):
            what = 'empty: write "" for an empty argument' if entry is None else "not plain text"
            raise ItemNotRunnable(f"{path}: {key}[{number}] is {what}")
    return [str(entry) for entry in value]


def _env(value: object, path: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ItemNotRunnable(f"{path}: `env` must map names to values")
    for name, entry in value.items():
        if not name or "=" in name or "\0" in name or not isinstance(entry, str):
            raise ItemNotRunnable(f"{path}: env {name!r} must be a name and plain text")
    return {str(name): str(entry) for name, entry in value.items()}


def _placeholders(texts: list[str], path: str) -> list[str]:
    names: dict[str, None] = {}
    for text in texts:
        for match in _BRACES.finditer(text):
            if match[0] in ("{", "}"):
                raise ItemNotRunnable(f"{path}: write a literal {match[0]} as {match[0] * 2} in {text!r}")
            if match[1]:
                names[match[1]] = None
    return list(names)


def _filled(text: str, texts: Mapping[str, str]) -> str:
    return _BRACES.sub(lambda match: texts[match[1]] if match[1] else match[0][0], text)


def _check_arguments(argv: list[str], path: str, item_id: str) -> None:
    if not argv[0]:
        raise ParamsInvalid(f"tool {item_id}: the parameters leave `command` empty")
    for argument in argv:
        if "\0" in argument:
            raise ItemNotRunnable(f"{path}: an argument holds a NUL character")
        size_bytes = len(argument.encode())
        if size_bytes > MAX_ARGUMENT_BYTES:
            raise ParamsInvalid(
                f"tool {item_id}: an argument of {size_bytes:,} bytes; a process takes {MAX_ARGUMENT_BYTES:,}: "
                "write the large value to a file and give its path"
            )
