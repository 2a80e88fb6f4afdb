"""How answers look on a terminal. Text in, text out; what is printed where is the commands' business."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rye_telemetry.model import Fields

HEADINGS = {"tool": "Tools", "directive": "Directives", "knowledge": "Knowledge"}
MARKS = {"success": ".", "failure": "F", "timeout": "T", "cancelled": "c", "abandoned": "a", "partial": "p"}
COLOURS = {"success": 32, "failure": 31, "timeout": 33, "partial": 33, "cancelled": 36, "abandoned": 35, "running": 34}
LEGEND = ". success   F failure   T timeout   c cancelled   a abandoned   p partial"
RECENT_SHOWN = 5
COMMIT_SHOWN = 12
SUBJECT_AT = 54
LARGE = 1000  # rows
RUN_ID_SHOWN = 18  # of a UUIDv7: the millisecond and its part, enough to name a run
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


class Look:
    """Width in columns, colour or none, the instant that "ago" counts from, and the home that is shown as ~."""

    def __init__(self, *, width: int = 80, colour: bool = False, now: datetime | None = None, home: str = "") -> None:
        self.width = max(60, width)
        self.home = home.rstrip("/")
        self.colour = colour
        self.now = now or datetime.now(timezone.utc)

    def place(self, text: str) -> str:
        return text.replace(self.home + "/", "~/") if self.home else text

    def paint(self, text: str, outcome: str) -> str:
        return f"\x1b[{COLOURS[outcome]}m{text}\x1b[0m" if self.colour and outcome in COLOURS else text


def totals_table(items: Mapping[str, Fields], look: Look) -> str:
    """Return one table for each type that has items."""
    parts = []
    for item_type, heading in HEADINGS.items():
        rows = [_totals_row(key, item, look) for key, item in items.items() if item["type"] == item_type]
        if rows:
            head = (heading, "runs", "ok", "avg", "p50", "p95", "last run", "last")
            parts.append(_table(rows, head, ("left", *["right"] * 6, "left"), look=look, giving_way=0))
    return "\n\n".join([*parts, LEGEND]) if parts else "No runs are recorded yet."


def _totals_row(key: str, item: Fields, look: Look) -> tuple[str, ...]:
    recent = "".join(look.paint(MARKS[outcome], outcome) for outcome in item["recent"][-RECENT_SHOWN:])
    return (
        key,
        str(item["total_runs"]) if item["total_runs"] or not item["running"] else "running",
        percent_text(item["success_rate"]),
        duration_text(item["avg_duration_ms"]),
        duration_text(item["p50_duration_ms"]),
        duration_text(item["p95_duration_ms"]),
        ago_text(item["last_run"], look.now),
        recent,
    )


def item_sheet(item: Fields, look: Look) -> str:
    """Return one item in full."""
    counts = ", ".join(
        look.paint(f"{item[f'{outcome}_count']} {outcome}", outcome) for outcome in MARKS if item[f"{outcome}_count"]
    )
    running = f", {item['running']} running" if item["running"] else ""
    rows = [
        ("item", f"{printable(item['item_id'])} ({item['type']})"),
        ("runs", f"{item['total_runs']}" + (f": {counts}" if counts else "") + running),
        ("success rate", percent_text(item["success_rate"])),
        ("duration", _durations(item)),
        ("calls", f"{item['http_calls']} HTTP, {item['subprocess_calls']} subprocess"),
        (
            "last run",
            f"{item['last_run'] or '-'} ({ago_text(item['last_run'], look.now)}), {item['last_outcome'] or '-'}",
        ),
        ("last error", printable(item["last_error"] or "-")),
        ("last outcomes", " ".join(look.paint(outcome, outcome) for outcome in item["recent"]) or "-"),
        *(("path" if not n else "", printable(look.place(path))) for n, path in enumerate(item["paths"])),
    ]
    return _sheet(rows)


def _durations(item: Fields) -> str:
    names = (("average", "avg"), ("p50", "p50"), ("p95", "p95"))
    return ", ".join(f"{duration_text(item[f'{field}_duration_ms'])} {name}" for name, field in names)


def runs_table(runs: Sequence[Fields], look: Look) -> str:
    if not runs:
        return "No runs fit."
    rows = [
        (
            printable(run["run_id"][:RUN_ID_SHOWN]),
            run["item_id"],
            look.paint(run["outcome"], run["outcome"]),
            duration_text(run["duration_ms"]),
            ago_text(run["started_at"], look.now),
            shorten(run["agent"] or "-", 12),
        )
        for run in runs
    ]
    head = ("run", "item", "outcome", "took", "started", "agent")
    return _table(rows, head, ("left",) * 3 + ("right",) * 2 + ("left",), look=look, giving_way=1)


def run_sheet(run: Fields, look: Look) -> str:
    """Return one run in full; what is not known is left out."""
    rows = []
    for name, value in run.items():
        if name == "commits":
            value = ", ".join(f"{link['commit_hash'][:COMMIT_SHOWN]} ({link['evidence']})" for link in value) or None  # noqa: PLW2901 (shown, not kept)
        if value is None:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key}={part}" for key, part in value.items())  # noqa: PLW2901 (shown, not kept)
        text = printable(str(value))
        rows.append((printable(name), look.paint(text, text) if name == "outcome" else text))
    return _sheet(rows)


def commit_sheet(found: Fields, look: Look) -> str:
    """Return one commit and the runs behind it."""
    parts = [sheet([("commit", found["commit"]), ("author", found["author"]), ("subject", found["subject"])])]
    if found["runs"]:
        parts.append(_runs_behind(_by_run(found["runs"]), look, first="run"))
    if found["candidates"]:
        table = _runs_behind(_by_run(found["candidates"]), look, first="run")
        parts.append(f"These may have made it, and nothing decides between them:\n{table}")
    if len(parts) == 1:
        parts.append("No run is known to have made it.")
    return "\n\n".join(parts)


def commit_runs(found: Sequence[Fields], look: Look) -> str:
    """Return the runs behind each of several commits."""
    rows = [
        ("" if place else entry["commit"][:COMMIT_SHOWN], run)
        for entry in found
        for place, run in enumerate(entry["runs"])
    ]
    bare = sum(not entry["runs"] for entry in found)
    said = f"{counted(len(found), 'commit')}, {bare} without a run."
    said += " Only what is stored was looked at: `commits repair` looks for more." if bare else ""
    return f"{_runs_behind(rows, look, first='commit')}\n\n{said}" if rows else said


def _by_run(runs: Sequence[Fields]) -> list[tuple[str, Fields]]:
    return [(printable(run["run_id"][:RUN_ID_SHOWN]), run) for run in runs]


def _runs_behind(rows: Sequence[tuple[str, Fields]], look: Look, *, first: str) -> str:
    cells = [
        (
            name,
            run["item_id"] or "(not recorded here)",
            look.paint(run["outcome"] or "-", run["outcome"] or ""),
            duration_text(run["duration_ms"]),
            shorten(run["agent"] or "-", 12),
            run["evidence"],
        )
        for name, run in rows
    ]
    head = (first, "item", "outcome", "took", "agent", "evidence")
    return _table(cells, head, ("left",) * 3 + ("right",) + ("left",) * 2, look=look, giving_way=1)


def relinked(found: Fields, look: Look) -> str:
    """Return what `repair`, `relink` and `import-notes` linked, and what they could not decide."""
    verb = "would be made" if found["dry_run"] else "made"
    rows = [
        (
            (link["from_commit"] or "-")[:COMMIT_SHOWN],
            link["commit"][:COMMIT_SHOWN],
            link["item_id"] or "(not recorded here)",
            printable(link["run_id"][:RUN_ID_SHOWN]),
            link["evidence"],
        )
        for link in found["linked"]
    ]
    head = ("from", "commit", "item", "run", "evidence")
    parts = [_table(rows, head, ("left",) * 5, look=look, giving_way=2)] if rows else []
    parts += [
        f"{one['commit'][:COMMIT_SHOWN]} may come from any of these runs"
        f" ({one['evidence']}): {', '.join(run[:RUN_ID_SHOWN] for run in one['run_ids'])}; nothing was linked."
        for one in found.get("candidates", ())
    ]
    rejected = found.get("rejected", 0)
    said = f"{counted(len(rows), 'link')} {verb}." if rows else "Nothing to link."
    return "\n\n".join([*parts, said + (f" {counted(rejected, 'line')} named no run." if rejected else "")])


def commits_table(found: Sequence[Fields], look: Look) -> str:
    """Return commits with the items that made them."""
    if not found:
        return "No commits fit."
    rows = [
        (
            entry["commit"][:COMMIT_SHOWN],
            ago_text(entry["committed_at"], look.now),
            str(len(entry["runs"]) or "-"),
            shorten(", ".join(dict.fromkeys(run["item_id"] or "?" for run in entry["runs"])) or "-", 20),
            cut(entry["subject"], look.width - SUBJECT_AT),
        )
        for entry in found
    ]
    head = ("commit", "when", "runs", "items", "subject")
    return _table(rows, head, ("left", "right", "right", "left", "left"), look=look, giving_way=4)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sheet(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values, one pair a line."""
    return _sheet([(printable(name), printable(value)) for name, value in rows])


def _sheet(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _table(
    rows: Sequence[Sequence[str]], head: Sequence[str], align: Sequence[str], *, look: Look, giving_way: int
) -> str:
    """Return a table no wider than the terminal: one column gives way for the others."""
    others = [column for column in range(len(head)) if column != giving_way]
    taken = sum(max(_columns(row[column]) for row in (head, *rows)) for column in others) + 2 * len(others)
    fitted = [
        [shorten(cell, look.width - taken) if column == giving_way else cell for column, cell in enumerate(row)]
        for row in rows
    ]
    if len(fitted) > LARGE:
        return _aligned([head, *fitted], align)
    import tabulate

    tabulate.MIN_PADDING = 0
    return tabulate.tabulate(fitted, head, tablefmt="plain", colalign=tuple(align), disable_numparse=True)


def _aligned(rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """Return what tabulate would, which takes three seconds for a hundred thousand rows."""
    columns = []
    for place, cells in enumerate(zip(*rows, strict=True)):
        widths = [_columns(cell) for cell in cells]
        widest = max(widths)
        pads = [" " * (widest - width) for width in widths]
        columns.append(
            [pad + cell for cell, pad in zip(cells, pads, strict=True)]
            if align[place] == "right"
            else [cell + pad for cell, pad in zip(cells, pads, strict=True)]
        )
    return "\n".join(map("  ".join, zip(*columns, strict=True)))


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide and combining characters count as they show."""
    if text.isascii() and text.isprintable():
        return len(text)
    from wcwidth import wcswidth

    return max(0, wcswidth(_unpainted(text)))


def _unpainted(text: str) -> str:
    return "".join(part.partition("m")[2] if n else part for n, part in enumerate(text.split("\x1b[")))


def duration_text(duration_ms: float | None) -> str:
    """Return a duration in at most seven characters."""
    if duration_ms is None:
        return "-"
    if duration_ms < 1:
        return f"{duration_ms:.2f} ms"
    if duration_ms < 999.5:
        return f"{duration_ms:.0f} ms" if duration_ms >= 9.95 else f"{duration_ms:.1f} ms"
    seconds = duration_ms / 1000
    for size, unit in _UNITS:
        if seconds >= size or unit == "s":
            amount = seconds / size
            return f"{amount:.1f} {unit}" if amount < 99.5 else f"{amount:.0f} {unit}"
    return "-"


def percent_text(share: float | None) -> str:
    if share is None:
        return "-"
    return "100%" if share == 1 else f"{share * 100:.1f}%"


def ago_text(instant: str | None, now: datetime) -> str:
    """Return how long ago an RFC 3339 instant was; an instant to come is "just now" within a minute, else itself."""
    if not instant:
        return "-"
    try:
        then = datetime.fromisoformat(instant.replace("Z", "+00:00"))
    except ValueError:
        return instant
    seconds = (now - then).total_seconds()
    if -60 < seconds < 5:
        return "just now"
    if seconds < 0:
        return instant[:10]
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def shorten(text: str, width: int) -> str:
    """Return text in at most `width` columns, its end kept: ids differ there."""
    text = printable(text)
    width = max(8, width)
    if _columns(text) <= width:
        return text
    while _columns(text) >= width:
        text = text[1:]
    return "…" + text


def cut(text: str, width: int) -> str:
    """Return text in at most `width` columns, its beginning kept."""
    text = printable(text)
    if _columns(text) <= width:
        return text
    while _columns(text) >= width:
        text = text[:-1]
    return text + "…"


def printable(text: str) -> str:
    """Return text that cannot move the cursor: recorded text may hold anything."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def status_head(found: Fields, look: Look) -> str:
    """Return what stands above the totals."""
    last = ago_text(found["last_updated"], look.now)
    return (
        sheet(
            [
                ("telemetry", f"{'on' if found['enabled'] else 'off'} ({look.place(found['decided_by'])})"),
                ("state", look.place(found["state_dir"])),
                (
                    "recorded",
                    f"{counted(found['total_runs'], 'run')} of {counted(found['total_items'], 'item')}, last {last}",
                ),
            ]
        )
        + "\n"
    )
