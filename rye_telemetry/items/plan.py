"""How an item is executed: what to spawn, with which environment, or what to print."""

from __future__ import annotations

import os
import sys

from rye_telemetry.errors import ItemNotRunnable
from rye_telemetry.items.params import PARAM_PREFIX, PARAMS_VARIABLE, params_json, script_env
from rye_telemetry.items.script import is_python, parse_shebang, script_argv
from rye_telemetry.items.source import check_item, check_size, read_head, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SHIM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runner", "shim.py")


class Plan:
    """Either `argv` to spawn or `text` to print, byte for byte as UTF-8.

    `env` holds the variables to add; `unset` those of an enclosing run that must not be handed on.
    """

    __slots__ = ("argv", "env", "text", "unset")

    def __init__(
        self, argv: list[str] | None, env: dict[str, str], text: str | None, unset: tuple[str, ...] = ()
    ) -> None:
        self.argv = argv
        self.env = env
        self.text = text
        self.unset = unset


def plan_item(  # noqa: PLR0913 (all that decides how an item runs)
    item_type: str,
    item_id: str,
    path: str,
    *,
    params: Mapping[str, object],
    project_path: str,
    env: Mapping[str, str],
) -> Plan:
    """Return how to execute the item at `path`, as found by `find_item`.

    ItemNotRunnable: nothing here can execute it. ParamsInvalid: it cannot be given these parameters.
    """
    if item_type == "tool":
        return _plan_tool(item_id, path, params=params, project_path=os.path.abspath(project_path), env=env)
    text = read_text(path)
    if item_type == "directive":
        from rye_telemetry.items.directive import fill_directive

        text = fill_directive(text, params=params, item_id=item_id)
    return Plan(None, {}, text)


def _plan_tool(
    item_id: str, path: str, *, params: Mapping[str, object], project_path: str, env: Mapping[str, str]
) -> Plan:
    size_bytes = check_item(path).st_size
    shebang = parse_shebang(read_head(path))
    extension = os.path.splitext(path)[1].lower()
    if extension or shebang is not None:  # a compiled program may be as large as it is
        check_size(path, size_bytes)
    if extension == ".py" and (shebang is None or is_python(shebang)):
        argv = [_python_of(project_path, env), "-B", SHIM, path, project_path]
        added = {PARAMS_VARIABLE: params_json(params)}
    elif extension in (".yaml", ".yml") and shebang is None:
        from rye_telemetry.items.yaml_tool import plan_command

        argv, added = plan_command(read_text(path), path, params=params, project_path=project_path, item_id=item_id)
    else:
        argv = script_argv(path, shebang=shebang, project_path=project_path, env=env)
        added = script_env(params)
    inherited = (name for name in env if name == PARAMS_VARIABLE or name.startswith(PARAM_PREFIX))
    return Plan(argv, added, None, tuple(name for name in inherited if name not in added))


def _python_of(project_path: str, env: Mapping[str, str]) -> str:
    """The project's own interpreter, else that of the active virtual environment, else ours."""
    program = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    for folder in (os.path.join(project_path, ".venv"), env.get("VIRTUAL_ENV")):
        if folder:
            python = os.path.join(folder, *program)
            if os.path.isfile(python) and os.access(python, os.X_OK):
                return python
    if not sys.executable:
        raise ItemNotRunnable(f"no Python interpreter for {project_path}: make one with python -m venv .venv")
    return sys.executable
