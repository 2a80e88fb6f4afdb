"""The documentation is true: what it generates is fresh, what it shows runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import git, new_repo, write_git_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def fences(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(home, tmp_path, monkeypatch):
    """A project with the items that README names."""
    project = tmp_path / "project"
    directives = project / ".ai" / "directives"
    directives.mkdir(parents=True)
    (directives / "deploy_app.md").write_text(
        "---\nname: deploy_app\ninputs:\n  - name: stage\n    required: true\n---\nDeploy to {input:stage}.\n"
    )
    (project / "Makefile").write_text("all:\n\t@echo made\n")
    write_git_config(home)
    new_repo(project, commits=1)
    monkeypatch.chdir(project)
    return project


def test_every_shell_example_in_the_readme_runs(cli, project):
    blocks = fences("console", README)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(lines) >= 5
    for line in lines:
        program, *args = shlex.split(line)
        if program == "git":
            git(project, *args)
        else:
            assert program == "rye-telemetry"
            cli(*args)
    assert "build" in cli("status").stdout
    assert "deploy_app" in cli("status").stdout


def test_every_python_example_in_the_readme_runs(home):
    blocks = fences("python", README)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True, cwd=home)
        assert done.stdout == "1.0\n"


def test_the_library_page_runs_as_written(tmp_path):
    [block] = fences("python", (ROOT / "docs" / "library.md").read_text())
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "1 no such city\ntelemetry.yaml\n"


def test_the_library_page_names_everything_public():
    import rye_telemetry

    page = (ROOT / "docs" / "library.md").read_text()
    assert [name for name in rye_telemetry.__all__ if name not in page] == []


def test_the_example_of_a_report_reports(cli, enabled, monkeypatch):
    [line] = fences("sh", (ROOT / "docs" / "running.md").read_text())
    cli("run-with", "tool", "reporter", "--", "sh", "-c", line)
    import json

    [recorded] = json.loads(cli("runs", "list", "--json").stdout)
    assert recorded["items_discovered"] == 12


def test_the_readme_begins_with_two_commands_that_need_nothing_activated():
    install, test = fences("sh", README)[:2]
    assert ".venv/bin/rye-telemetry demo" in install
    assert ".venv/bin/pytest" in test
    assert "activate" not in install + test


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_generated_parts_of_the_docs_are_fresh(page):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cog")), "--check", f"docs/{page}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"run: cog -r docs/{page}\n{done.stdout}{done.stderr}"


def test_every_link_in_readme_and_docs_leads_to_a_file():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_error_that_has_an_exit_code_of_its_own_is_in_the_tree_of_its_docstring():
    from rye_telemetry import errors

    names = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    drawn = set(re.findall(r"^[│├└─\s]*(\w+)", errors.__doc__, re.MULTILINE))
    assert names <= drawn


def test_the_shell_examples_of_the_page_on_git_run(cli, home, tmp_path):
    write_git_config(home)
    repo = new_repo(tmp_path / "repo")
    cli("configure", "--enabled", "true")
    [block] = fences("console", (ROOT / "docs" / "git.md").read_text())
    for line in block.splitlines():
        command, _, promised = line.removeprefix("$ ").partition("  #")
        program, *args = shlex.split(command)
        done = git(repo, *args) if program == "git" else cli(*args, cwd=repo)
        if promised:
            assert promised.partition('"')[2].rstrip('"') in done.stdout
