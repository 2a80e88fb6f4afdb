"""Switch telemetry on or off for this user. It is off until this is called with true.

python configure.py --enabled true
python configure.py --enabled false
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
__tool_description__ = "Enable or disable telemetry collection"

CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"enabled": {"type": "boolean", "description": "true to record runs on this machine, false to stop"}},
    "required": ["enabled"],
}

# lib.py from beside this file, by its path: RYE loads tools from anywhere, and no __pycache__ appears among the items.
lib: Any = types.ModuleType("rye_telemetry_tools")
lib.__file__ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib.py")
with open(lib.__file__, encoding="utf-8") as source:
    exec(compile(source.read(), lib.__file__, "exec"), lib.__dict__)  # noqa: S102 (our own file)


def execute(params: dict[str, Any], project_path: str | None = None) -> dict[str, Any]:
    """Write telemetry.enabled to ~/.ai/config.yaml; everything else in that file stays as it is."""
    enabled = lib.as_bool(params.get("enabled"))
    if enabled is None:
        return dict(lib.failure("enabled must be true or false, as in --enabled true"))
    command = ["configure", "--json", "--enabled", "true" if enabled else "false"]
    return dict(lib.ask("configure_telemetry", [enabled], command, project_path))


if __name__ == "__main__":
    sys.exit(lib.run_tool(execute, CONFIG_SCHEMA))
