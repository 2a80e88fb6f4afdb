"""SQLite's own module without the `datetime` adapters that `sqlite3` adds: they are not used, and cost 1.3 ms a process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import _sqlite3 as sqlite3
    except ImportError:  # another interpreter than CPython
        import sqlite3

__all__ = ["sqlite3"]
