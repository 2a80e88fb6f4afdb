"""The main job on real input, in a home of its own: opt in, run items, look.

`items/` and `project/` are the demo project's files as they stand; each `__init__.py` there is for our linters only.
"""

from __future__ import annotations

from rye_telemetry.demo.perform import perform

__all__ = ["perform"]
