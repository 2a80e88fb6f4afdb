"""`rebuild`: index and totals anew from the journal."""

from __future__ import annotations

import os
import sys

import typer

from rye_telemetry.cli.answers import Json, answer_json, talk_notices


def rebuild(*, as_json: Json = False) -> None:
    """Make the index and telemetry.yaml anew from the journal.

    They are derived, so nothing is lost by it. Example: rye-telemetry rebuild
    """
    from rye_telemetry import tables
    from rye_telemetry.store import open_store

    store = open_store(os.environ)
    runs = store.rebuild(_show_progress if sys.stderr.isatty() else None)
    answer_json({"success": True, "total_runs": runs}) if as_json else typer.echo(
        f"Rebuilt: {tables.counted(runs, 'run')}."
    )
    talk_notices(store)


def _show_progress(done: int, total: int) -> None:
    share = done / total if total else 1.0
    bar = "#" * round(share * 40)
    end = "\n" if done >= total else ""
    sys.stderr.write(f"\r[{bar:<40}] {share:4.0%} of {total / 1e6:.1f} MB{end}")
    sys.stderr.flush()
