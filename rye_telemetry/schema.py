"""The index's tables, and how a run becomes a row of them."""

from __future__ import annotations

from operator import itemgetter

from rye_telemetry.lines import encode_json, is_deep
from rye_telemetry.model import RUN_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rye_telemetry.model import Fields

FORMAT = 3
RUN_COLUMNS = tuple(name for name in RUN_FIELDS if name not in ("item_type", "item_id"))
SCHEMA = """
-- What has been read of each journal segment. A segment that is not the one remembered here means: rebuild.
CREATE TABLE segments (
    name TEXT PRIMARY KEY,      -- 2026-W47-0001
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    generation TEXT NOT NULL,   -- from the segment's first line
    offset INTEGER NOT NULL     -- bytes read, always behind a newline
) WITHOUT ROWID;
-- Lines of the journal that cannot be read; `doctor` names them.
CREATE TABLE damage (
    segment TEXT NOT NULL,
    offset INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (segment, offset)
) WITHOUT ROWID;
-- Checkpoints already counted: each is counted once.
CREATE TABLE checkpoints (checkpoint_id TEXT PRIMARY KEY) WITHOUT ROWID;
-- One row an item, with every published field.
CREATE TABLE items (
    item INTEGER PRIMARY KEY,
    item_type TEXT NOT NULL,    -- directive, tool or knowledge
    item_id TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,   -- in telemetry.yaml: the id, or type::id where another type had the id first
    total_runs INTEGER NOT NULL,
    success_count INTEGER NOT NULL,
    failure_count INTEGER NOT NULL,
    timeout_count INTEGER NOT NULL,
    cancelled_count INTEGER NOT NULL,
    abandoned_count INTEGER NOT NULL,
    partial_count INTEGER NOT NULL,
    avg_duration_ms REAL,
    http_calls INTEGER NOT NULL,
    subprocess_calls INTEGER NOT NULL,
    last_run TEXT,
    last_outcome TEXT,
    last_error TEXT,
    paths TEXT NOT NULL,        -- JSON
    state TEXT NOT NULL,        -- JSON: sums and histogram, see totals.py
    UNIQUE (item_type, item_id)
);
-- Each item as it stands in telemetry.yaml, apart from the rest: every projection reads all of it.
CREATE TABLE blocks (key TEXT PRIMARY KEY, last_run TEXT, block TEXT NOT NULL) WITHOUT ROWID;
-- One row a run. Instants are RFC 3339 in UTC with milliseconds, so they order as text.
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    item INTEGER NOT NULL REFERENCES items (item),
    path TEXT,
    content_hash TEXT,          -- SHA-256 of the item's file as the run began, its telemetry block left out
    outcome TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    duration_ms REAL,
    exit_code INTEGER,
    signal TEXT,
    error TEXT,
    http_calls INTEGER,
    subprocess_calls INTEGER,
    parent_run_id TEXT,
    session_id TEXT,
    agent TEXT,
    workflow TEXT,
    caller TEXT,
    model TEXT,
    inputs TEXT,                -- JSON
    tags TEXT,                  -- JSON
    metrics TEXT,               -- JSON
    items_discovered INTEGER,
    items_succeeded INTEGER,
    items_failed INTEGER,
    items_skipped INTEGER,
    git_repo TEXT,
    git_branch TEXT,
    git_commit_hash TEXT,       -- HEAD as the run began
    git_dirty TEXT,             -- JSON: did tracked files differ from it
    git_worktree TEXT,          -- where it is not the repository's main one
    project_path TEXT,
    process TEXT,               -- JSON: host, boot, PID namespace, pid and start of an open run's process
    extra TEXT                  -- JSON: fields of the line that this version has no column for
) WITHOUT ROWID;
-- Which runs made which commit, a row for each way in which that is known.
CREATE TABLE links (
    commit_hash TEXT NOT NULL,
    run_id TEXT NOT NULL,
    evidence TEXT NOT NULL,     -- hook, head-moved, explicit, trailer, note, rewritten, patch-id, tree, range-patch-id
    repo TEXT,                  -- as git_repo of a run
    commit_source TEXT,         -- manual, llm or ci
    commit_author TEXT,
    linked_at TEXT NOT NULL,
    from_commit TEXT,           -- the linked commit that this one was made from
    contested_by TEXT,          -- JSON: other runs that may have made it; then it is a candidate, no link
    action TEXT,                -- what git did: commit, cherry-pick, rebase, am, merge, revert
    PRIMARY KEY (commit_hash, run_id, evidence)
) WITHOUT ROWID;
CREATE INDEX links_by_run ON links (run_id);
-- What finds a linked commit again after its history was rewritten.
CREATE TABLE commits (
    commit_hash TEXT PRIMARY KEY,
    repo TEXT,
    branch TEXT,
    parents TEXT,               -- JSON
    tree TEXT,
    parent_tree TEXT,           -- of the first parent; NULL for a first commit
    patch_id TEXT               -- git patch-id --stable; NULL for merges, and where a binary file changed
) WITHOUT ROWID;
CREATE INDEX commits_by_tree ON commits (tree);
CREATE INDEX commits_by_patch_id ON commits (patch_id);
-- What git said it rewrote into what.
CREATE TABLE rewrites (old TEXT NOT NULL, new TEXT NOT NULL, repo TEXT, PRIMARY KEY (old, new)) WITHOUT ROWID;
CREATE INDEX rewrites_by_new ON rewrites (new);
CREATE INDEX runs_open ON runs (item) WHERE outcome = 'running';
"""
LOOKUPS = """
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_item ON runs (item, started_at);
CREATE INDEX runs_by_repo ON runs (git_repo, started_at) WHERE git_repo IS NOT NULL;
"""
_ROW = ("run_id", "item", *RUN_COLUMNS[1:], "process", "extra")
_PLACES = ",".join("?" * len(_ROW))
INSERT_RUN = f"INSERT OR IGNORE INTO runs ({','.join(_ROW)}) VALUES ({_PLACES})"  # noqa: S608 (constants)
REPLACE_RUN = INSERT_RUN.replace("OR IGNORE", "OR REPLACE")
_KNOWN = frozenset((*RUN_FIELDS, "v", "kind", "process"))
_EMPTY: Fields = dict.fromkeys((*_ROW, *_KNOWN))
_pick = itemgetter(*_ROW)
_JSON_COLUMNS = ("inputs", "tags", "metrics", "git_dirty")
_MAX_INTEGER = 2**63 - 1  # SQLite's


def narrow_rows(rows: list[list[object]]) -> tuple[str, list[tuple[object, ...]]]:
    """Return an insertion of only those columns that any of the rows fills: binding NULLs is two thirds of the work."""
    columns = zip(_ROW, zip(*rows, strict=True), strict=True)
    filled = [(name, column) for name, column in columns if column.count(None) < len(rows)]
    names = ",".join(name for name, _ in filled)
    places = ",".join("?" * len(filled))
    statement = f"INSERT OR IGNORE INTO runs ({names}) VALUES ({places})"  # noqa: S608 (constants)
    return statement, list(zip(*(column for _, column in filled), strict=True))


def run_row(fields: Fields) -> list[object]:
    """Return a run's row, its item's number still to be set; ValueError for what the database cannot hold."""
    texts: Fields = {}
    for name, value in fields.items():
        kind = type(value)
        if kind is int or kind is float:
            if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
                raise ValueError(f"{name} is too large")
        elif kind is not str and value is not None:
            texts[name] = _json_text(value)
    for name in _JSON_COLUMNS:
        if name not in texts and fields.get(name) is not None:
            texts[name] = _json_text(fields[name])
    row = list(_pick({**_EMPTY, **fields, **texts}))
    unknown = fields.keys() - _KNOWN
    if unknown:
        row[-1] = _json_text({name: fields[name] for name in sorted(unknown)})
    return row


def _json_text(value: object) -> str:
    return encode_json("nested too deeply to be kept" if is_deep(value) else value)
