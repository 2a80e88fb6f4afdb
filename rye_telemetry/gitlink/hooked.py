"""What our git hooks do. A hook never fails the commit it is called for, and says at most one line."""

from __future__ import annotations

import os
import time

from rye_telemetry import config, paths
from rye_telemetry.commits import patch_ids, read_commits
from rye_telemetry.errors import GitUnusable, RyeTelemetryError
from rye_telemetry.gitdir import hook_git, read_head
from rye_telemetry.gitlink.reflog import last_verb, read_entries
from rye_telemetry.gitrun import Git, clean_environment, hook_environment
from rye_telemetry.journal import Journal
from rye_telemetry.lines import encode_line, instant_text
from rye_telemetry.linking import TRAILER, commit_line, guess_source, link_line
from rye_telemetry.model import is_commit_hash, is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rye_telemetry.gitdir import GitDir
    from rye_telemetry.linking import Line

WAIT_S = 2.0  # that a look at the change may take: a huge commit is linked without its patch-id
REWRITE_WAIT_S = 10.0
MAX_DIFF_BYTES = 64 * 1024 * 1024
PAIRS_A_LINE = 1000
MAX_MAP_BYTES = 64 * 1024 * 1024
_SCISSORS = b" ------------------------ >8 ------------------------\n"
_ADD = ("--in-place", "--no-divider", "--where=end", "--if-exists=addIfDifferent", "--if-missing=add")
# The user's own settings for trailers would add theirs, and run what makes them.
_NO_SETTINGS = {
    "GIT_CONFIG_COUNT": "0",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_DIR": os.devnull,
    "HOME": os.devnull,
    "XDG_CONFIG_HOME": os.devnull,
}


class Place:
    """Where a hook was called: its repository, the state directory to write to, and how."""

    def __init__(self, env: Mapping[str, str], git: GitDir, *, durability: str) -> None:
        self.env = env
        self.git_dir = git
        self.git = Git(None, hook_environment(env), limit_bytes=MAX_DIFF_BYTES, wait_s=WAIT_S)
        self.state_dir = paths.rye_state_dir(env)
        self.durability = durability

    @property
    def repo(self) -> str:
        return self.git_dir.name

    def keep(self, lines: Iterable[Line]) -> None:
        """Append to the journal; nothing is projected here, since links change no totals and readers project first."""
        data = b"".join(encode_line(kind, fields) for kind, fields in lines)
        if not data:
            return
        journal = Journal(self.state_dir, sync=self.durability == "fsync")
        try:
            journal.append(data)
        finally:
            journal.close()


def run_hook(argv: Sequence[str], env: Mapping[str, str], *, say: Callable[[str], None]) -> int:
    """Do what the hook named first is for; always 0, for git asks some hooks whether the commit may be made."""
    try:
        place = _place(env)
        if place is not None:
            HOOKS[argv[0]](place, argv[1:])
    except (RyeTelemetryError, OSError) as e:
        say(f"{argv[0]}: {e}")
    return 0


def _place(env: Mapping[str, str]) -> Place | None:
    """Return where we are; None with telemetry off there."""
    cwd = os.getcwd()
    consent, durability = config.read_run_settings(env, paths.find_project(cwd, env))
    git = hook_git(env, cwd) if consent.enabled else None
    return None if git is None else Place(env, git, durability=durability)


def _open_run(place: Place) -> str | None:
    """Return the run that we are in, if it still goes on: a daemon may keep a variable for ever, a run has its report."""
    run_id = place.env.get("RYE_RUN_ID", "")
    if not is_run_id(run_id):
        return None
    report = os.path.join(place.state_dir, "telemetry", "reports", f"{run_id}.ndjson")
    return run_id if os.path.isfile(report) else None


def post_commit(place: Place, options: Sequence[str]) -> None:
    """Link HEAD to the run that we are in: evidence `hook`."""
    run_id = _open_run(place)
    if run_id is None:
        return
    at_once = place.env.get("RYE_TELEMETRY_COMMIT")  # HEAD as the hook began: another commit may have come since
    commits = read_commits(place.git, [at_once if at_once and is_commit_hash(at_once) else "HEAD"])
    if not commits:
        return
    commit = commits[0]
    branch = read_head(place.git_dir).branch
    link = link_line(
        run_id,
        commit.commit_hash,
        repo=place.repo,
        evidence="hook",
        source=guess_source(commit, place.env),
        author=commit.author,
        linked_at=instant_text(time.time_ns()),
        action=last_verb(place.git_dir, commit.commit_hash),
    )
    place.keep([commit_line(commit, repo=place.repo, branch=branch, patch_id=None), link])
    try:
        found = patch_ids(place.git, [commit])
    except GitUnusable:  # too large a change to wait for
        found = {}
    if found:
        place.keep([commit_line(commit, repo=place.repo, branch=branch, patch_id=found[commit.commit_hash])])
    if "--notes" in options:
        from rye_telemetry.gitlink.notes import add_note

        add_note(place.git, commit.commit_hash, run_id)


def post_rewrite(place: Place, options: Sequence[str]) -> None:
    """Keep git's map of old to new commits; links follow it. Then note what finds the new commits again."""
    pairs = _read_map()
    if not pairs:
        return
    now = instant_text(time.time_ns())
    by = options[0] if options[:1] in (["amend"], ["rebase"]) else "rewrite"
    place.git.wait_s = REWRITE_WAIT_S
    if by == "rebase":
        from rye_telemetry.gitlink.rebased import true_pairs

        commits = read_commits(place.git, list(dict.fromkeys(name for pair in pairs for name in reversed(pair))))
        pairs = true_pairs(pairs, read_entries(place.git_dir), {commit.commit_hash: commit for commit in commits})
    place.keep(
        ("rewrite", {"repo": place.repo, "by": by, "rewrites": pairs[at : at + PAIRS_A_LINE], "rewritten_at": now})
        for at in range(0, len(pairs), PAIRS_A_LINE)
    )
    from rye_telemetry.gitlink.facts import missing_facts

    place.keep(missing_facts(place.git, place.repo, [new for _, new in pairs], state_dir=place.state_dir))


def _read_map() -> list[list[str]]:
    """Read git's `old new` lines from standard input, each pair once."""
    data = bytearray()
    while part := os.read(0, 1 << 16):
        data += part
        if len(data) > MAX_MAP_BYTES:
            raise GitUnusable("the list of rewritten commits is too long")
    words = [line.split()[:2] for line in data.decode("ascii", "replace").splitlines()]
    pairs = [pair for pair in words if len(pair) == 2 and pair[0] != pair[1] and all(map(is_commit_hash, pair))]
    return [list(pair) for pair in dict.fromkeys(map(tuple, pairs))]


def prepare_commit_msg(place: Place, options: Sequence[str]) -> None:
    """Put the run's id into the message as a trailer, unless there is no message yet: an empty one aborts the commit.

    So does a template that is left as it is, which a trailer would change.
    """
    run_id = _open_run(place)
    if run_id is None or not options or options[1:2] == ["template"]:
        return
    comment = _comment_sign(place.git)
    if not _has_message(options[0], os.fsencode(comment)):
        return
    _end_last_line(options[0])
    added = ("interpret-trailers", *_ADD, f"--trailer={TRAILER}: {run_id}", "--", options[0])
    env = clean_environment(place.env) | _NO_SETTINGS
    done = Git(None, env, wait_s=WAIT_S).run("-c", f"core.commentChar={comment}", *added)
    if done.code:
        raise GitUnusable(f"{options[0]} got no {TRAILER} trailer: {done.err}")


def _comment_sign(git: Git) -> str:
    """Return what begins a comment in messages."""
    told = git.run("config", "--get-regexp", r"^core\.comment(char|string)$").out
    sign = os.fsdecode(told.rstrip(b"\n").rpartition(b"\n")[2].partition(b" ")[2])
    return "#" if sign in ("", "auto") else sign  # auto takes another where the message itself has lines with `#`


def _has_message(path: str, comment: bytes) -> bool:
    with open(path, "rb") as f:
        text = f.read(1 << 20)
    cut = text.find(comment + _SCISSORS)
    lines = (text if cut < 0 else text[:cut]).split(b"\n")
    return any(line.strip() and not line.startswith(comment) for line in lines)


def _end_last_line(path: str) -> None:
    """Give the message of a merge the line end it lacks: git would put the trailer right under its subject."""
    with open(path, "rb+") as f:
        if f.seek(0, os.SEEK_END):
            f.seek(-1, os.SEEK_END)
            if f.read(1) != b"\n":
                f.write(b"\n")


HOOKS = {"post-commit": post_commit, "post-rewrite": post_rewrite, "prepare-commit-msg": prepare_commit_msg}
