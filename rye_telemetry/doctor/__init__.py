"""Looks at everything the store stands on and says what is wrong with it and what to do. It changes nothing."""

from __future__ import annotations

from rye_telemetry.doctor.examine import examine
from rye_telemetry.doctor.finding import Finding, as_table, is_healthy, json_answer

__all__ = ["Finding", "as_table", "examine", "is_healthy", "json_answer"]
