"""The index: a SQLite projection of the journal, for questions. It can be deleted at any time.

It is opened only under the projection lock and closed before the lock is released, so its file can be replaced safely.
"""

from __future__ import annotations

import os

from rye_telemetry import links
from rye_telemetry.errors import IndexUnusable
from rye_telemetry.files import open_fd, try_unlink
from rye_telemetry.lines import START_PREFIX, decode_line, encode_json
from rye_telemetry.model import utf8_text
from rye_telemetry.schema import FORMAT, INSERT_RUN, LOOKUPS, REPLACE_RUN, SCHEMA, narrow_rows, run_row
from rye_telemetry.snapshot import render_item
from rye_telemetry.sqlite import sqlite3
from rye_telemetry.totals import RECENT, Totals, totals_from_checkpoint, totals_from_json, totals_to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rye_telemetry.model import Fields

NAME = "index.sqlite"
RUNS_AT_ONCE = 500
ABANDONED_ERROR = "the recording process ended without reporting an end"


def open_database(path: str, *, read_only: bool = False, wait_s: float = 0.0) -> sqlite3.Connection:
    name = os.fsencode(path).decode("latin-1")  # a character a byte
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "/._-" else f"%{ord(c):02x}" for c in name)
    mode = "ro" if read_only else "rwc"
    db = sqlite3.connect(f"file:{plain}?mode={mode}", uri=True, isolation_level=None, timeout=wait_s)
    # A kill is survived by the rollback journal; a power cut is noticed by the stamp, so nothing waits for the disk.
    try:
        db.execute("PRAGMA synchronous=OFF")
    except sqlite3.Error:
        db.close()
        raise
    return db


class Index:
    """One open index. Every change happens inside `begin` … `commit`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.totals: dict[tuple[str, str], tuple[int, Totals]] = {}
        self._met: set[bytes] = set()
        self.changed: set[tuple[str, str]] = set()
        self._runs: list[tuple[list[object], Fields]] = []  # read, and not yet written

    # -- life

    @classmethod
    def create(cls, path: str) -> Index:
        """Make an empty index at `path` (":memory:" too) with its lookups still to be added by `add_lookups`."""
        if path == ":memory:":
            index = cls(sqlite3.connect(path, isolation_level=None))
        else:
            try_unlink(path)
            try_unlink(path + "-journal")
            os.close(open_fd(path, os.O_CREAT | os.O_EXCL | os.O_RDWR))
            index = cls(open_database(path))
            # Beside the old one until it is whole: a kill leaves a file that nobody opens.
            index.db.execute("PRAGMA journal_mode=MEMORY")
            index.db.execute("PRAGMA cache_size=-65536")
        index.db.executescript(SCHEMA)
        index.db.execute(f"PRAGMA user_version={FORMAT}")
        return index

    @classmethod
    def open(cls, path: str, *, read_only: bool = False, wait_s: float = 0.0) -> Index:
        """Open the index that is there; IndexUnusable when it is missing, no database, or of another format."""
        if not os.path.isfile(path):
            raise IndexUnusable(f"{path} is missing")
        index = None
        try:
            index = cls(open_database(path, read_only=read_only, wait_s=wait_s))
            if index.db.execute("PRAGMA user_version").fetchone() == (FORMAT,):
                return index
        except sqlite3.Error as e:
            if index is not None:
                index.close()
            raise IndexUnusable(f"{path}: {e}") from e
        index.close()
        raise IndexUnusable(f"{path} has another format")

    def add_lookups(self) -> None:
        self.db.executescript(LOOKUPS)

    def copy_to_memory(self) -> Index:
        copy = Index.create(":memory:")
        try:
            self.db.backup(copy.db)
        except sqlite3.Error:
            copy.close()
            raise
        return copy

    def begin(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._flush_items()
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()

    # -- cursors

    def cursors(self) -> dict[str, tuple[int, int, str, int]]:
        """Return {segment: (device, inode, generation, offset)}."""
        rows = self.db.execute("SELECT name, device, inode, generation, offset FROM segments")
        return {row[0]: row[1:] for row in rows}

    def set_cursor(self, name: str, *cursor: object) -> None:
        self.db.execute("INSERT OR REPLACE INTO segments VALUES (?,?,?,?,?)", (name, *cursor))

    # -- apply

    def apply(self, segment: str, offset: int, data: bytes) -> None:
        """Apply whole lines of a segment. A line that was applied before changes nothing."""
        starts: dict[str, tuple[int, bytes]] = {}  # starts whose end may follow in the same lines: most do
        head = len(START_PREFIX)
        for raw in data.split(b"\n"):
            if raw.startswith(START_PREFIX):
                end = raw.find(b'"', head)
                starts.setdefault(raw[head:end].decode("ascii", "replace"), (offset, raw))
                self._meet_item(raw, end)
            elif raw:
                self._try_line(segment, offset, raw, starts)
            offset += len(raw) + 1
        self._flush_runs()
        for at, raw in starts.values():
            self._try_line(segment, at, raw, {})

    def _try_line(self, segment: str, offset: int, raw: bytes, starts: dict[str, tuple[int, bytes]]) -> None:
        try:
            fields = decode_line(raw)
            if fields["kind"] == "abandoned" and fields["run_id"] in starts:
                at, start = starts.pop(fields["run_id"])
                self._try_line(segment, at, start, {})
            self._apply_line(fields)
            if fields["kind"] == "run":
                starts.pop(fields["run_id"], None)
        except ValueError as e:
            self.db.execute("INSERT OR REPLACE INTO damage VALUES (?,?,?,?)", (segment, offset, len(raw), str(e)[:200]))

    def _meet_item(self, start: bytes, end_of_id: int) -> None:
        """Give a start's item its row in the order of the lines: who comes first has the plain key, read at once or not."""
        end = start.find(b',"', start.find(b'"item_id":', end_of_id) + 11)
        head = start[end_of_id:end]
        if head not in self._met:
            self._met.add(head)
            try:
                fields = decode_line(start)
                self._item(fields["item_type"], fields["item_id"])
            except ValueError:
                pass  # it is tried again, and named then

    def _apply_line(self, fields: Fields) -> None:
        kind = fields["kind"]
        if kind == "run":
            row = run_row(fields)
            row[1] = self._item(fields["item_type"], fields["item_id"])[0]
            self._runs.append((row, fields))
            if len(self._runs) == RUNS_AT_ONCE:
                self._flush_runs()
            return
        if kind in ("link", "commit", "rewrite"):
            links.apply(self.db, fields)
            return
        self._flush_runs()  # what follows may speak of one of them
        if kind == "start":
            row = run_row({**fields, "outcome": "running"})
            row[1] = self._item(fields["item_type"], fields["item_id"])[0]
            self._write_run(INSERT_RUN, row)
        elif kind == "abandoned":
            self._apply_abandoned(fields["run_id"], fields["ended_at"])
        elif kind == "checkpoint":
            self._apply_checkpoint(fields)

    def _flush_runs(self) -> None:
        """Write the waiting runs in one go when all of them are new, else one by one: twice as fast for a rebuild."""
        runs, self._runs = self._runs, []
        if not runs:
            return
        before = self.db.total_changes
        self.db.execute("SAVEPOINT runs")
        try:
            self.db.executemany(*narrow_rows([row for row, _ in runs]))
            all_new = self.db.total_changes - before == len(runs)
        except UnicodeEncodeError:
            all_new = False
        if not all_new:
            self.db.execute("ROLLBACK TO runs")
        self.db.execute("RELEASE runs")
        for row, fields in runs:
            if all_new:
                key = (fields["item_type"], fields["item_id"])
                self.totals[key][1].add_run(fields)
                self.changed.add(key)
            else:
                self._apply_run(row, fields)

    def _apply_run(self, row: list[object], fields: Fields) -> None:
        key = (fields["item_type"], fields["item_id"])
        number, totals = self._item(*key)
        if self._write_run(INSERT_RUN, row):
            totals.add_run(fields)
        else:
            known = "SELECT outcome, ended_at FROM runs WHERE run_id=?"
            outcome, ended_at = self.db.execute(known, (fields["run_id"],)).fetchone()
            if outcome not in ("running", "abandoned"):
                return
            self._write_run(REPLACE_RUN, row)
            totals.add_run(fields)
            if outcome == "abandoned":  # it was slow, not gone: what was counted too early is taken back
                self._take_back_abandoned(ended_at, number, totals)
        self.changed.add(key)

    def _write_run(self, statement: str, row: list[object]) -> int:
        try:
            return self.db.execute(statement, row).rowcount
        except UnicodeEncodeError:  # a file name that is not UTF-8; SQLite holds only text that is
            row = [utf8_text(v) if type(v) is str else v for v in row]
            return self.db.execute(statement, row).rowcount

    def _apply_abandoned(self, run_id: str, ended_at: str) -> None:
        changed = self.db.execute(
            "UPDATE runs SET outcome='abandoned', ended_at=?, error=? WHERE run_id=? AND outcome='running'",
            (ended_at, ABANDONED_ERROR, run_id),
        )
        if changed.rowcount:
            row = self.db.execute(
                "SELECT item_type, items.item_id, path FROM runs JOIN items USING (item) WHERE run_id=?", (run_id,)
            ).fetchone()
            _, totals = self._item(row[0], row[1])
            end = {"outcome": "abandoned", "ended_at": ended_at, "error": ABANDONED_ERROR, "path": row[2]}
            totals.add_run(end)
            self.changed.add((row[0], row[1]))

    def _take_back_abandoned(self, ended_at: str, number: int, totals: Totals) -> None:
        rows = self.db.execute(
            "SELECT ended_at, outcome, error FROM runs WHERE item=? AND ended_at IS NOT NULL"
            " ORDER BY ended_at DESC, run_id DESC LIMIT ?",
            (number, RECENT),
        ).fetchall()
        totals.take_back_abandoned(ended_at, rows)

    def _apply_checkpoint(self, fields: Fields) -> None:
        checkpoint_id, items = fields.get("checkpoint_id"), fields.get("items")
        if type(checkpoint_id) is not str or type(items) is not list:
            raise ValueError("a checkpoint without id or items")
        carried = [totals_from_checkpoint(entry) for entry in items]
        if not self.db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?)", (checkpoint_id,)).rowcount:
            return
        for part in carried:
            _, totals = self._item(part.item_type, part.item_id)
            totals.add_totals(part)
            self.changed.add((part.item_type, part.item_id))

    # -- items

    def _item(self, item_type: str, item_id: str) -> tuple[int, Totals]:
        found = self.totals.get((item_type, item_id))
        if found is None:
            row = self.db.execute(
                "SELECT item, state FROM items WHERE item_type=? AND item_id=?", (item_type, item_id)
            ).fetchone()
            found = (
                (row[0], totals_from_json(item_type, item_id, row[1])) if row else self._new_item(item_type, item_id)
            )
            self.totals[item_type, item_id] = found
        return found

    def _new_item(self, item_type: str, item_id: str) -> tuple[int, Totals]:
        key = item_id
        while self.db.execute("SELECT 1 FROM items WHERE key=?", (key,)).fetchone():
            key = f"{item_type}::{key}"
        totals = Totals(item_type, item_id)
        cursor = self.db.execute(
            "INSERT INTO items VALUES (NULL,?,?,?,0,0,0,0,0,0,0,NULL,0,0,NULL,NULL,NULL,'[]',?)",
            (item_type, item_id, key, totals_to_json(totals)),
        )
        return cursor.lastrowid or 0, totals

    def _flush_items(self) -> None:
        for key in self.changed:
            number, totals = self.totals[key]
            published = totals.published()
            name = self.db.execute("SELECT key FROM items WHERE item=?", (number,)).fetchone()[0]
            block = render_item(name, published)
            del published["type"]
            paths = encode_json(published.pop("paths"))
            self.db.execute(
                f"UPDATE items SET {','.join(f'{field}=?' for field in published)},paths=?,state=? WHERE item=?",  # noqa: S608 (constants)
                (*published.values(), paths, totals_to_json(totals), number),
            )
            if totals.total_runs:
                self.db.execute("INSERT OR REPLACE INTO blocks VALUES (?,?,?)", (name, totals.last_run, block))
        self.changed.clear()

    def blocks(self) -> Iterator[str]:
        return (row[0] for row in self.db.execute("SELECT block FROM blocks ORDER BY key"))

    def updated(self) -> str | None:
        found = self.db.execute("SELECT max(last_run) FROM blocks").fetchone()[0]
        return None if found is None else str(found)

    # -- open runs

    def open_runs(self, limit: int) -> list[tuple[str, str | None]]:
        """Return (run id, process as JSON) of runs without an end, oldest first."""
        open_ones = "SELECT run_id, process FROM runs INDEXED BY runs_open WHERE outcome='running'"
        return list(self.db.execute(f"{open_ones} ORDER BY started_at LIMIT ?", (limit,)))
