"""How lines about commits become rows: links, what finds a commit again, and what git rewrote into what.

Links follow rewrites, in whatever order the lines come and over any number of steps.
"""

from __future__ import annotations

from rye_telemetry.lines import encode_json
from rye_telemetry.model import utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from rye_telemetry.model import Fields

LINK_COLUMNS = (
    "commit_hash",
    "run_id",
    "evidence",
    "repo",
    "commit_source",
    "commit_author",
    "linked_at",
    "from_commit",
    "contested_by",
    "action",
)
COMMIT_COLUMNS = ("commit_hash", "repo", "branch", "parents", "tree", "parent_tree", "patch_id")
# A link that was a candidate only becomes one when it is said without a doubt.
_NEW_LINK = (
    f"INSERT INTO links VALUES ({','.join('?' * len(LINK_COLUMNS))})"  # noqa: S608 (constants)
    " ON CONFLICT DO UPDATE SET contested_by=NULL WHERE contested_by IS NOT NULL AND excluded.contested_by IS NULL"
)
# What a user says of a link later counts; everything else is said once.
_SAID_AGAIN = (
    "UPDATE links SET commit_source=?, commit_author=?, linked_at=?"
    " WHERE commit_hash=? AND run_id=? AND evidence='explicit' AND linked_at<=?"
)
_LATER = ",".join(f"{name}=coalesce(excluded.{name},{name})" for name in COMMIT_COLUMNS[1:])
_COMMIT = (
    f"INSERT INTO commits VALUES ({','.join('?' * len(COMMIT_COLUMNS))})"  # noqa: S608 (constants)
    f" ON CONFLICT (commit_hash) DO UPDATE SET {_LATER}"
)
_OF_COMMIT = "SELECT run_id, repo, commit_source, commit_author, linked_at, contested_by FROM links WHERE commit_hash=?"


def apply(db: sqlite3.Connection, fields: Fields) -> None:
    """Apply one line of the kinds link, commit and rewrite; one that was applied before changes nothing."""
    if fields["kind"] == "link":
        _apply_link(db, fields)
    elif fields["kind"] == "commit":
        db.execute(_COMMIT, [_text(fields.get(name)) for name in COMMIT_COLUMNS])
    else:
        repo = _text(fields.get("repo"))
        for old, new in fields["rewrites"]:
            if old != new and db.execute("INSERT OR IGNORE INTO rewrites VALUES (?,?,?)", (old, new, repo)).rowcount:
                for link in db.execute(_OF_COMMIT, (old,)).fetchall():
                    _follow(db, link, old, [new])


def _apply_link(db: sqlite3.Connection, fields: Fields) -> None:
    row = [_text(fields.get(name)) for name in LINK_COLUMNS]
    if db.execute(_NEW_LINK, row).rowcount:
        commit = fields["commit_hash"]
        known = db.execute("SELECT new FROM rewrites WHERE old=?", (commit,)).fetchall()
        if known:
            _follow(db, (row[1], row[3], row[4], row[5], row[6], row[8]), commit, [new for (new,) in known])
    elif fields["evidence"] == "explicit":
        db.execute(_SAID_AGAIN, (*row[4:7], *row[:2], row[6]))


def _follow(db: sqlite3.Connection, link: tuple[object, ...], old: str, targets: list[str]) -> None:
    """Give a link to what its commit was rewritten into, and so on."""
    steps = [(old, new) for new in targets]
    run_id, repo, source, author, linked_at, contested = link
    while steps:
        before, commit = steps.pop()
        row = (commit, run_id, "rewritten", repo, source, author, linked_at, before, contested, None)
        if db.execute(_NEW_LINK, row).rowcount:
            later = db.execute("SELECT new FROM rewrites WHERE old=?", (commit,)).fetchall()
            steps += [(commit, new) for (new,) in later]


def _text(value: object) -> str | None:
    if value is None:
        return None
    return utf8_text(value if type(value) is str else encode_json(value))
