"""Run ids in git's notes: `refs/notes/rye-telemetry`, one id a line, for whoever fetches them. We push no ref."""

from __future__ import annotations

from rye_telemetry.errors import GitUnusable
from rye_telemetry.model import is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rye_telemetry.gitrun import Git

REF = "refs/notes/rye-telemetry"


def add_note(git: Git, commit: str, run_id: str) -> None:
    """Add the run to the commit's note, which stays sorted and without doubles."""
    before = git.run("notes", f"--ref={REF}", "show", commit)
    runs = (
        {line for line in before.out.decode("ascii", "replace").splitlines() if is_run_id(line)}
        if not before.code
        else set()
    )
    if run_id in runs:
        return
    text = "".join(f"{line}\n" for line in sorted({*runs, run_id}))
    done = git.run("notes", f"--ref={REF}", "add", "--force", "--file=-", commit, stdin=text.encode())
    if done.code:
        raise GitUnusable(f"no note was made: {done.err}")
