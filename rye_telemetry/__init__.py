"""Local, opt-in telemetry for the items of a project's `.ai/` folder.

Every public name is imported when it is first used: `import rye_telemetry` alone costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rye_telemetry.api import (
        TelemetryContext,
        clear_telemetry,
        export_telemetry,
        get_rye_state_dir,
        run_with,
        telemetry_status,
    )
    from rye_telemetry.config import configure_telemetry
    from rye_telemetry.errors import (
        BakeRefused,
        InvalidRecord,
        RyeTelemetryError,
        StateBusy,
        StateTooNew,
        StateUnavailable,
    )
    from rye_telemetry.store import TelemetryStore

_ROOMS = {
    "BakeRefused": "errors",
    "InvalidRecord": "errors",
    "RyeTelemetryError": "errors",
    "StateBusy": "errors",
    "StateTooNew": "errors",
    "StateUnavailable": "errors",
    "TelemetryContext": "api",
    "TelemetryStore": "store",
    "clear_telemetry": "api",
    "configure_telemetry": "config",
    "export_telemetry": "api",
    "get_rye_state_dir": "api",
    "run_with": "api",
    "telemetry_status": "api",
}

__all__ = [
    "BakeRefused",
    "InvalidRecord",
    "RyeTelemetryError",
    "StateBusy",
    "StateTooNew",
    "StateUnavailable",
    "TelemetryContext",
    "TelemetryStore",
    "clear_telemetry",
    "configure_telemetry",
    "export_telemetry",
    "get_rye_state_dir",
    "run_with",
    "telemetry_status",
]


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return __all__
