"""Real repositories, made quickly, and the real command run in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from processes import RYE

from rye_telemetry.gitrun import Git, clean_environment
from rye_telemetry.paths import rye_state_dir
from rye_telemetry.store import TelemetryStore

CONFIG = "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
ENV_OF_COMMITS = {"GIT_EDITOR": "true", "GIT_SEQUENCE_EDITOR": "true"}


def write_git_config(home, more=""):
    """Give this home's git a name, a mail address and a first branch called main."""
    (home / ".gitconfig").write_text(CONFIG + more)


def git(repo, *args, code=0, stdin=None, **env):
    """Run git in a repository, check its exit code (None: any), and return what it said, as bytes without the last line end."""
    done = subprocess.run(
        ["git", *map(os.fspath, args)],
        cwd=repo,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env={**os.environ, **ENV_OF_COMMITS, **env},
        check=False,
    )
    assert code is None or done.returncode == code, f"git {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.rstrip(b"\n")


def said(repo, *args, **more):
    """Return what git said as text."""
    return os.fsdecode(git(repo, *args, **more))


def new_repo(path, *options, commits=0):
    """Make a repository with so many commits."""
    git(".", "init", "-q", *options, path)
    for number in range(commits):
        commit_file(path, f"f{number}", f"{number}\n", message=f"commit {number}")
    return Path(path)


def commit_file(repo, name="f", text="text\n", *, message="one", **env):
    """Commit a file and return the commit's hash."""
    path = os.path.join(os.fsencode(repo), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    git(repo, "add", "--", name)
    git(repo, "commit", "-q", "-m", message, **env)
    return head(repo)


def head(repo, revision="HEAD"):
    return said(repo, "rev-parse", "--verify", f"{revision}^{{commit}}")


def hashes(repo, *revisions):
    """Return the commits of `git rev-list`, oldest first."""
    return said(repo, "rev-list", "--reverse", *(revisions or ("HEAD",))).split()


def the_git(repo, **more):
    """Return git as the package runs it."""
    return Git(str(repo), clean_environment(os.environ), **more)


def install_hooks(repo, *options):
    subprocess.run([RYE, "hooks", "install", *options], cwd=repo, check=True, capture_output=True)


def run_in(repo, script, *, item="x", code=0, **env):
    """Run a shell script wrapped, in a repository; return the ended process."""
    done = subprocess.run(
        [RYE, "run-with", "tool", item, "--", "sh", "-ec", script],
        cwd=repo,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        env={**os.environ, **ENV_OF_COMMITS, **env},
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def store():
    return TelemetryStore(rye_state_dir(os.environ))


def runs():
    """Return the recorded runs, oldest first."""
    with store() as opened:
        return opened.runs(limit=10_000)[::-1]


def links(*commits):
    """Return {commit: {(item, evidence)}} of certain links."""
    with store() as opened:
        found = opened.links(commits)
    return {
        commit: {(link["item_id"], link["evidence"]) for link in told if link["contested_by"] is None}
        for commit, told in found.items()
        if any(link["contested_by"] is None for link in told)
    }


def all_links():
    """Return every link there is, by any run, candidates as well."""
    with store() as opened:
        ids = [run["run_id"] for run in opened.runs(limit=10_000)]
        return [link for told in opened.links_of_runs(ids).values() for link in told]


def linked(repo, item="x"):
    """Return {commit subject: evidence} of what is linked to an item's runs, without a doubt."""
    found = {}
    for link in all_links():
        if link["item_id"] == item and link["contested_by"] is None:
            found[said(repo, "show", "-s", "--format=%s", link["commit_hash"])] = link["evidence"]
    return found
