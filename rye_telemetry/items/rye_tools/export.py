"""Bake an item's telemetry into its frontmatter, once, before publishing it.

python export.py --item-id my_tool --item-path .ai/tools/my_tool.py
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
__tool_description__ = "Bake telemetry stats into item frontmatter before publishing"

CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item_id": {"type": "string", "description": "the item whose numbers are wanted"},
        "item_path": {"type": "string", "description": "the file to write them into"},
    },
    "required": ["item_id", "item_path"],
}

NOT_AVAILABLE = (
    "baking is not available in this version of rye-telemetry: "
    "upgrade it with `pipx upgrade rye-telemetry`, or with `python -m pip install --upgrade rye-telemetry`"
)

# lib.py from beside this file, by its path: RYE loads tools from anywhere, and no __pycache__ appears among the items.
lib: Any = types.ModuleType("rye_telemetry_tools")
lib.__file__ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib.py")
with open(lib.__file__, encoding="utf-8") as source:
    exec(compile(source.read(), lib.__file__, "exec"), lib.__dict__)  # noqa: S102 (our own file)


def execute(params: dict[str, Any], project_path: str | None = None) -> dict[str, Any]:
    """Change nothing in the file but its telemetry block."""
    item_id, item_path = params.get("item_id"), params.get("item_path")
    if not item_id or not item_path:
        return dict(lib.failure("both are needed: --item-id ID --item-path PATH"))
    path = lib.find_path(item_path, project_path)
    command = ["bake", "--json", f"--item-id={item_id}", f"--item-path={os.path.abspath(path)}"]
    answer = lib.ask("export_telemetry", [item_id, path], command, project_path)
    if "No such command" in str(answer.get("error")):
        return dict(lib.failure(NOT_AVAILABLE))
    for of_file in answer.pop("files", ()):  # the command answers of all its files: here there is one
        answer = {**answer, "changed": bool(answer.get("changed")), **of_file}
    return answer if answer.get("success") else {**lib.failure(answer.get("message") or answer.get("error")), **answer}


if __name__ == "__main__":
    sys.exit(lib.run_tool(execute, CONFIG_SCHEMA))
