"""Report on the repository that this tool stands in: commits, authors, files, and lines by language."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

__version__ = "1.0.0"
__tool_type__ = "python"
__category__ = "git"

LANGUAGES = {".py": "Python", ".sh": "Shell", ".yaml": "YAML", ".md": "Markdown"}


def execute(params: dict[str, Any], project_path: str) -> dict[str, Any]:
    """Return the figures; `params["revision"]` says from where commits are counted."""
    revision = params.get("revision", "HEAD")
    files = [name for name in _git(project_path, "ls-files", "-z").split("\0") if name]
    authors = _git(project_path, "log", "--format=%an", revision).splitlines()
    lines: dict[str, int] = {}
    for name in files:
        path = Path(project_path, name)
        language = LANGUAGES.get(path.suffix, "other")
        lines[language] = lines.get(language, 0) + path.read_bytes().count(b"\n")
    return {
        "commits": len(authors),
        "authors": sorted(set(authors)),
        "files": len(files),
        "lines": dict(sorted(lines.items())),
    }


def _git(project_path: str, *arguments: str) -> str:
    command = ["git", "-C", project_path, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
