"""The hooks of `.pre-commit-hooks.yaml` in the real pre-commit, which builds an environment of them once a test run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SCRIPT
from repositories import commit_file, git, head, new_repo, said, write_git_config

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("pre-commit")
PACKAGE = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "hooks", "scripts", "rye_telemetry")
ITEM = ".ai/tools/my_tool.py"
TEXT = "def main():\n    return 1\n"
TOTALS = "version: 1\nitems:\n  x: {total_runs: 1, success_count: 1, failure_count: 0, last_run: null}\n"
NO_NETWORK = ("Temporary failure in name resolution", "Connection refused", "Network is unreachable", "ConnectTimeout")

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="pre-commit is not installed")


class Framework:
    """pre-commit with a home that all workers of this test run share, and a repository of this package as it is."""

    def __init__(self, place):
        self.place = place
        self.source = place / "rye-telemetry"
        self.env = {
            "PRE_COMMIT_HOME": str(place / "home"),
            "PIP_NO_COMPILE": "1",
            "PIP_CACHE_DIR": str(place / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "VIRTUALENV_OVERRIDE_APP_DATA": str(place / "virtualenv"),
        }

    def __call__(self, repo, *args, code=0, **env):
        done = subprocess.run(
            [PROGRAM, *args],
            cwd=repo,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self.env, **env},
            check=False,
        )
        told = done.stdout + done.stderr
        if done.returncode and any(word in told for word in NO_NETWORK):
            pytest.skip("no network to build an environment with")
        assert done.returncode == code, told
        return told

    def build(self, repo):
        """Copy the package into a repository of its own, and let pre-commit install it."""
        ignore = shutil.ignore_patterns("__pycache__", ".mypy_cache")
        new_repo(self.source)
        for name in PACKAGE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.source / name, ignore=ignore)
            else:
                shutil.copy(ROOT / name, self.source / name)
        git(self.source, "add", "--all", "--force")
        git(self.source, "commit", "-q", "-m", "the package")
        self.configure(repo, "rye-telemetry-guard")
        self(repo, "install-hooks")

    def configure(self, repo, *hooks):
        entry = {"repo": str(self.source), "rev": head(self.source), "hooks": [{"id": name} for name in hooks]}
        (repo / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [entry]}))


@pytest.fixture
def repo(home, tmp_path):
    write_git_config(home)
    return new_repo(tmp_path / "repo")


@pytest.fixture
def framework(repo, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pre-commit"
    place.mkdir(exist_ok=True)
    made = Framework(place)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "built").exists():
            shutil.rmtree(made.source, ignore_errors=True)
            made.build(repo)
            (place / "built").touch()
    return made


@pytest.fixture
def item(cli, repo, enabled):
    """A committed item, recorded once, with a change that is not committed yet."""
    if subprocess.run([SCRIPT, "bake", "--help"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no `bake` yet")
    commit_file(repo, ITEM, TEXT)
    cli("run-with", "tool", "my_tool", "--project-path", ".", cwd=repo)
    (repo / ITEM).write_text("# new\n" + TEXT)
    return repo / ITEM


def commit(framework, repo, *args, code=0, **env):
    done = subprocess.run(
        ["git", "commit", "-q", "-m", "two", *args],
        cwd=repo,
        capture_output=True,
        text=True,
        env={**os.environ, **framework.env, **env},
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_store_is_kept_out_of_a_commit_and_of_ci(framework, repo):
    framework.configure(repo, "rye-telemetry-guard")
    framework(repo, "install")
    (repo / "telemetry.yaml").write_text(TOTALS)
    (repo / "other").mkdir()
    (repo / "other" / "telemetry.yaml").write_text("receivers: {}\n")
    git(repo, "add", ".")
    told = commit(framework, repo, code=1)
    assert "telemetry.yaml is the published totals of a telemetry store" in told
    assert "other/telemetry.yaml" not in told
    framework(repo, "run", "--all-files", code=1)
    framework(repo, "run", "--all-files", SKIP="rye-telemetry-guard")
    commit(framework, repo, SKIP="rye-telemetry-guard")
    (repo / "more").touch()
    git(repo, "add", ".")
    commit(framework, repo)  # what is in the commit before is not looked at again
    framework(repo, "run", "--from-ref", "HEAD~1", "--to-ref", "HEAD")
    framework(repo, "run", "--all-files", code=1)


def test_a_commit_bakes_and_stages_nothing_and_passes_once_it_is_added(framework, repo, item):
    framework.configure(repo, "rye-telemetry-bake", "rye-telemetry-guard")
    framework(repo, "install")
    git(repo, "add", ".")
    told = commit(framework, repo, code=1)
    assert "files were modified by this hook" in told
    assert said(repo, "diff", "--numstat", ITEM).split()[1] == "0"  # only insertions, and none of them staged
    assert said(repo, "show", f":{ITEM}") == ("# new\n" + TEXT).rstrip("\n")
    git(repo, "add", ".")
    commit(framework, repo)
    assert "total_runs: 1" in said(repo, "show", f"HEAD:{ITEM}")
    assert said(repo, "status", "--porcelain") == ""


def test_a_push_and_ci_look_at_what_changed(framework, repo, item, tmp_path):
    framework.configure(repo, "rye-telemetry-bake", "rye-telemetry-check")
    git(".", "init", "-q", "--bare", tmp_path / "remote")
    git(repo, "remote", "add", "origin", tmp_path / "remote")
    framework(repo, "install", "-t", "pre-push")
    git(repo, "add", ".")
    commit(framework, repo)
    push = ["push", "-q", "origin", "main"]
    git(repo, *push, code=1, **framework.env)
    assert "total_runs: 1" in item.read_text()
    git(repo, "commit", "-q", "--amend", "-a", "--no-edit")
    git(repo, *push, **framework.env)
    elsewhere = {"RYE_STATE_DIR": str(tmp_path / "no store"), "CI": "true"}
    for args in (["--all-files"], ["--from-ref", "HEAD~1", "--to-ref", "HEAD"]):
        framework(repo, "run", *args, "--hook-stage", "manual", **elsewhere)
    item.write_text(item.read_text().replace("success_count: 1", "success_count: 7"))
    git(repo, "commit", "-q", "-a", "-m", "three")
    framework(repo, "run", "rye-telemetry-check", "--all-files", code=1, **elsewhere)
    assert not (tmp_path / "no store").exists()


def test_strip_takes_out_what_bake_put_in(framework, repo, item, cli):
    framework.configure(repo, "rye-telemetry-strip")
    cli("bake", item, cwd=repo)
    git(repo, "add", ".")
    framework(repo, "run", code=1)
    assert item.read_text() == "# new\n" + TEXT
    git(repo, "add", ".")
    framework(repo, "run")


def test_the_repository_can_be_tried_without_any_configuration(framework, repo, item):
    git(repo, "add", ".")
    told = framework(repo, "try-repo", framework.source, "rye-telemetry-bake", "--files", ITEM, code=1)
    assert "files were modified by this hook" in told
    assert item.read_text().startswith("# new\n" + TEXT)
    assert "total_runs: 1" in item.read_text()


def test_the_manifest_says_what_the_framework_needs_to_know():
    hooks = {hook.pop("id"): hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert list(hooks) == [f"rye-telemetry-{name}" for name in ("bake", "check", "strip", "guard")]
    for name, hook in hooks.items():
        assert hook["minimum_pre_commit_version"] == "3.2.0"
        assert hook["require_serial"] is True
        assert hook["language"] == "python"
        assert hook["name"]
        assert hook["description"].endswith(".")
        if name != "rye-telemetry-guard":
            assert hook["files"] == r"^\.ai/(directives|tools|knowledge)/"
    subprocess.run([PROGRAM, "validate-manifest", ROOT / ".pre-commit-hooks.yaml"], check=True)


def test_the_guard_looks_at_the_same_names_in_the_framework_and_in_the_index():
    from rye_telemetry.publish.guard import STAGED_NAMES

    [guard] = [hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()) if "guard" in hook["id"]]
    assert STAGED_NAMES.pattern.decode().removesuffix(r"\Z") == guard["files"].removesuffix("$")
