"""What was found in the journal, check by check."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from rye_telemetry.doctor.finding import Finding, fine, named, plural, problem, size_text, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rye_telemetry.doctor.fold import JournalFold, Line


def check_journal(fold: JournalFold) -> Iterator[Finding]:
    yield _amount(fold)
    yield _files(fold)
    yield _version(fold)
    yield _lines(fold)
    yield _spills(fold)


def _amount(fold: JournalFold) -> Finding:
    archived = sum(segment.archived for segment in fold.good)
    more = f", {archived} archived" if archived else ""
    return fine("journal", f"{plural(len(fold.good), 'segment')}{more}, {size_text(fold.size_bytes)}")


def _files(fold: JournalFold) -> Finding:
    if not fold.unreadable:
        return fine("journal-files", "all can be read")
    path = shlex.quote(fold.unreadable[0].path)
    aside = shlex.quote(f"{fold.projector.journal.home}/{os.path.basename(fold.unreadable[0].path)}.aside")
    found = named([f"{line.path}: {line.reason}" for line in fold.unreadable])
    cure = f"make it readable, restore it from a backup, or set it aside: mv {path} {aside}"
    return problem("journal-files", found, cure)


def _version(fold: JournalFold) -> Finding:
    if not fold.too_new:
        return fine("journal-version", "no line is newer than this program")
    found = f"{plural(len(fold.too_new), 'line')} of a newer version, first {_place(fold.too_new[0])}"
    return problem("journal-version", found, "upgrade rye-telemetry, as with: pip install --upgrade rye-telemetry")


def _lines(fold: JournalFold) -> Finding:
    bad = fold.damaged
    if bad:
        found = f"{plural(len(bad), 'damaged line')}: {named([_place(line) for line in bad])}"
        cure = (
            "nothing has to be done: every other line counts. To be rid of them, delete these lines from their files"
            " while nothing records, then run `rye-telemetry rebuild`"
        )
        return warning("journal-lines", found, cure)
    if fold.unfinished:
        found = f"a write was cut short: {named([_place(line) for line in fold.unfinished])}"
        cure = "nothing has to be done: the next record closes the line, and only what it was to say is lost"
        return warning("journal-lines", found, cure)
    return fine("journal-lines", "none is damaged")


def _place(line: Line) -> str:
    return f"{line.path}, byte {line.offset:,}: {line.reason}"


def _spills(fold: JournalFold) -> Finding:
    spills = fold.projector.journal.spills()
    if not spills:
        return fine("spills", "none")
    return fine(
        "spills", f"{plural(len(spills), 'file')} put aside by writers; counted, and folded in by the next read"
    )
