"""What the RYE telemetry tools share, and the library's names for tools of your own.

    from lib import TelemetryStore

    with TelemetryStore() as store:
        store.record_execution("my_tool", "tool", "success", 12.5)

The work is done by the package rye-telemetry; these files only reach it: as a library where this interpreter can import
it, else through the `rye-telemetry` command (pipx puts it there, outside of every project's interpreter).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from rye_telemetry import TelemetryContext, TelemetryStore, get_rye_state_dir

__version__ = "1.0.0"
__tool_type__ = "python"
__executor_id__ = "python_runtime"
__category__ = "rye/telemetry"
__tool_description__ = "Shared library of the telemetry tools: where the telemetry of this machine is kept"
__all__ = ["TelemetryContext", "TelemetryStore", "get_rye_state_dir"]

CONFIG_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

HERE = os.path.dirname(os.path.abspath(__file__))
INSTALL = (
    f"rye-telemetry is neither importable by {sys.executable} nor on PATH: "
    "install it with `pipx install rye-telemetry`, or with `python -m pip install rye-telemetry`"
)
# Runs the command line of the importable package, whatever lies in the working directory.
_COMMAND_LINE = (
    "import sys; sys.path[:] = filter(None, sys.path); from rye_telemetry.entry import main; sys.exit(main())"
)


def __getattr__(name: str) -> Any:
    """Hand out the library's names when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = library_function(name)
    if found is None:
        raise ImportError(INSTALL)
    return found


def execute(params: dict[str, Any] | None = None, project_path: str | None = None) -> dict[str, Any]:  # noqa: ARG001 (RYE's form)
    """Say where the telemetry of this machine is kept."""
    place = library_function("get_rye_state_dir")
    if place is not None:
        return {"success": True, "state_dir": str(place())}
    answer = run_command(["status", "--json"], project_path)
    return {"success": True, "state_dir": answer["state_dir"]} if "state_dir" in answer else answer


def ask(
    function: str, arguments: Sequence[Any], command: Sequence[str], project_path: str | None = None
) -> dict[str, Any]:
    """Return the answer of a library function, or of the command where the library or the function is not there."""
    call = library_function(function)
    if call is None:
        return run_command(command, project_path)
    from rye_telemetry import RyeTelemetryError

    try:
        return {"success": True, **call(*arguments)}
    except (RyeTelemetryError, OSError) as e:
        return failure(str(e))


def has_library() -> bool:
    return library_function("__name__") is not None


def library_function(name: str) -> Any:
    """Return a public name of rye_telemetry, None where it cannot be imported or is too old to have it."""
    try:
        import rye_telemetry

        return getattr(rye_telemetry, name, None)
    except ImportError:
        return None


def program() -> list[str] | None:
    """Return what starts rye-telemetry: this interpreter if it has the package, else the command on PATH."""
    import shutil

    if has_library():
        return [sys.executable, "-c", _COMMAND_LINE]
    found = shutil.which("rye-telemetry")
    return [found] if found else None


def run_command(command: Sequence[str], project_path: str | None = None) -> dict[str, Any]:
    """Run a rye-telemetry command that answers in JSON and return the answer."""
    import json
    import subprocess

    start = program()
    if start is None:
        return failure(INSTALL)
    there = project_path if project_path and os.path.isdir(project_path) else None
    done = subprocess.run([*start, *command], stdin=subprocess.DEVNULL, capture_output=True, cwd=there, check=False)
    said = done.stderr.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return {"success": done.returncode == 0, **answer}
    return failure(said.removeprefix("rye-telemetry: ") or f"rye-telemetry ended with exit code {done.returncode}")


def failure(error: str) -> dict[str, Any]:
    return {"success": False, "error": error}


def as_bool(value: object) -> bool | None:
    """Return a parameter as true or false, None where it is neither."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(str(value).strip().lower())


def project_of_tools() -> str:
    """Return the project these tools lie in (PROJECT/.ai/tools/rye/telemetry), else the working directory."""
    root = HERE
    for name in ("telemetry", "rye", "tools", ".ai"):
        if os.path.basename(root) != name:
            return os.getcwd()
        root = os.path.dirname(root)
    return root


def find_path(path: str, project_path: str | None) -> str:
    """Return a path as it is meant: from the working directory if it is there, else from the project."""
    path = os.path.expanduser(path)
    return path if os.path.exists(path) else os.path.join(project_path or project_of_tools(), path)


def forget_folder() -> None:
    """Take this folder off the import path, where Python puts it for a script: it has a lib, a status, an export."""
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") != os.path.realpath(HERE)]


def run_tool(tool: Callable[[dict[str, Any], str], dict[str, Any]], schema: dict[str, Any]) -> int:
    """Run a tool from the command line: its options are the schema's properties; print its answer as JSON.

    RYE's python_runtime gives all parameters at once, as `--params JSON --project-path PATH`; that is understood too.
    """
    forget_folder()
    try:
        params, project_path = _read_arguments(schema)
        answer = tool(params, project_path)
    except ValueError as e:
        answer = failure(str(e))
    print_answer(answer)
    return 0 if answer.get("success") else 1


def print_answer(answer: dict[str, Any]) -> None:
    import json

    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


def _read_arguments(schema: dict[str, Any]) -> tuple[dict[str, Any], str]:
    import argparse
    import json

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    parser = Parser(allow_abbrev=False)
    for name, about in schema["properties"].items():
        parser.add_argument("--" + name.replace("_", "-"), dest=name, help=about["description"])
    parser.add_argument("--params", metavar="JSON", default="{}", help="all parameters as one JSON object")
    parser.add_argument("--project-path", default=project_of_tools(), help="the project, if not the one of this file")
    given = vars(parser.parse_args())
    project_path = given.pop("project_path")
    params = json.loads(given.pop("params"))
    if not isinstance(params, dict):
        raise ValueError("--params is not a JSON object")  # noqa: TRY004 (of the user's, not of ours)
    params.update((name, value) for name, value in given.items() if value is not None)
    return params, project_path


if __name__ == "__main__":
    sys.exit(run_tool(execute, CONFIG_SCHEMA))
