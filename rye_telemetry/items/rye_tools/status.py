"""Show whether telemetry is on, who decided that, and what is recorded.

python status.py
python status.py --item-id my_tool
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
__tool_description__ = "View telemetry configuration and stats"

CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"item_id": {"type": "string", "description": "one item; a summary of all when left out"}},
}

# lib.py from beside this file, by its path: RYE loads tools from anywhere, and no __pycache__ appears among the items.
lib: Any = types.ModuleType("rye_telemetry_tools")
lib.__file__ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib.py")
with open(lib.__file__, encoding="utf-8") as source:
    exec(compile(source.read(), lib.__file__, "exec"), lib.__dict__)  # noqa: S102 (our own file)


def execute(params: dict[str, Any], project_path: str | None = None) -> dict[str, Any]:
    """Read only: looking never writes while telemetry is off."""
    item_id = params.get("item_id")
    command = ["status", "--json", *([] if item_id is None else [f"--item-id={item_id}"])]
    return dict(lib.ask("telemetry_status", [item_id], command, project_path))


if __name__ == "__main__":
    sys.exit(lib.run_tool(execute, CONFIG_SCHEMA))
