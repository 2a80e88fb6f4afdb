r"""Execute an item and, if telemetry is on, record how it went. The item's files stay as they are.

    python run_with.py \
      --item-type tool \
      --item-id my_tool \
      --project-path /home/user/project \
      --params '{"key": "value"}'

From the command line the item's own output and exit code pass through; main() and execute() return them in a dict.
"""

from __future__ import annotations

import os
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "1.0.0"
__tool_type__ = "python"
__executor_id__ = "python_runtime"
__category__ = "rye/telemetry"
__tool_description__ = "Wrapper for execution with automatic telemetry tracking"

CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item_type": {"type": "string", "enum": ["directive", "tool", "knowledge"], "description": "what kind of item"},
        "item_id": {"type": "string", "description": "the item to execute"},
        "params": {"type": "object", "description": "what to hand to it"},
    },
    "required": ["item_type", "item_id"],
}

# lib.py from beside this file, by its path: RYE loads tools from anywhere, and no __pycache__ appears among the items.
lib: Any = types.ModuleType("rye_telemetry_tools")
lib.__file__ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib.py")
with open(lib.__file__, encoding="utf-8") as source:
    exec(compile(source.read(), lib.__file__, "exec"), lib.__dict__)  # noqa: S102 (our own file)


async def main(item_type: str, item_id: str, project_path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return success, outcome, exit_code, output and error of one execution."""
    run_with = lib.library_function("run_with")
    if run_with is None:
        return await _through_command(item_type, item_id, project_path, params)
    from rye_telemetry import RyeTelemetryError

    try:
        answer: dict[str, Any] = await run_with(item_type, item_id, project_path, params)
    except (RyeTelemetryError, OSError) as e:
        return dict(lib.failure(str(e)))
    return answer


async def execute(params: dict[str, Any], project_path: str | None = None) -> dict[str, Any]:
    """What RYE calls: the item is named in the parameters, with parameters of its own."""
    if not params.get("item_type") or not params.get("item_id"):
        return dict(lib.failure("both are needed: item_type and item_id"))
    project_path = params.get("project_path") or project_path or lib.project_of_tools()
    return await main(params["item_type"], params["item_id"], project_path, params.get("params"))


async def _through_command(
    item_type: str, item_id: str, project_path: str, params: dict[str, Any] | None
) -> dict[str, Any]:
    import asyncio
    import json
    from contextlib import suppress

    start = lib.program()
    if start is None:
        return dict(lib.failure(lib.INSTALL))
    pipe = asyncio.subprocess.PIPE
    arguments = _arguments(item_type, item_id, project_path, "-")
    process = await asyncio.create_subprocess_exec(*start, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, err = await process.communicate(json.dumps(params or {}).encode())
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    code, output = process.returncode, out.decode("utf-8", "replace")
    with suppress(ValueError):  # plain text stays text
        output = json.loads(output)
    outcome = {0: "success", 124: "timeout", 130: "cancelled"}.get(code or 0, "failure")
    error = (err.decode("utf-8", "replace").strip() or f"ended with exit code {code}") if code else None
    return {"success": code == 0, "outcome": outcome, "exit_code": code, "output": output, "error": error}


def _arguments(item_type: str | None, item_id: str | None, project_path: str | None, params: str | None) -> list[str]:
    given = {"item-type": item_type, "item-id": item_id, "project-path": project_path, "params": params}
    return ["run-with", *(f"--{name}={value}" for name, value in given.items() if value is not None)]


def _command_line(argv: list[str]) -> list[str]:
    """Return the arguments of `rye-telemetry`; options we do not know and a command behind `--` go on as they are."""
    import argparse
    import json
    from contextlib import suppress

    command = argv[argv.index("--") :] if "--" in argv else []
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__tool_description__)
    for name in ("--item-type", "--item-id", "--project-path", "--params"):
        parser.add_argument(name)
    given, others = parser.parse_known_args(argv[: len(argv) - len(command)])
    if given.params and not given.item_type and not given.item_id:  # RYE's python_runtime: everything in --params
        with suppress(ValueError, TypeError, KeyError):  # run-with says what is missing
            whole = json.loads(given.params)
            given.item_type, given.item_id = whole["item_type"], whole["item_id"]
            given.params = json.dumps(whole.get("params") or {})
    return [*_arguments(given.item_type, given.item_id, given.project_path, given.params), *others, *command]


def _become_rye_telemetry(arguments: list[str]) -> int:
    """Go on as `rye-telemetry`: in this process where the package is, else in its place."""
    lib.forget_folder()
    if lib.has_library():
        from rye_telemetry.entry import main as go_on

        sys.argv = ["rye-telemetry", *arguments]
        return go_on()
    start = lib.program()
    if start is None:
        lib.print_answer(lib.failure(lib.INSTALL))
        return 1
    if os.name == "posix":
        os.execv(start[0], [*start, *arguments])
    import subprocess

    return subprocess.run([*start, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(_become_rye_telemetry(_command_line(sys.argv[1:])))
