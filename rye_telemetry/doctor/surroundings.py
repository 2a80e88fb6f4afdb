"""What the store stands in: programs, settings, consent."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from typing import TYPE_CHECKING

from rye_telemetry import config
from rye_telemetry.doctor.finding import Finding, fine, problem, warning
from rye_telemetry.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

GIT_WAIT_S = 10


def check_versions(env: Mapping[str, str]) -> Finding:
    from importlib import metadata

    try:
        ours = metadata.version("rye-telemetry")
    except metadata.PackageNotFoundError:
        ours = "(not installed)"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parts = [f"rye-telemetry {ours}", python, f"SQLite {sqlite3.sqlite_version}", _git_version(env)]
    return fine("versions", ", ".join(parts))


def _git_version(env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            ["git", "--version"], env=dict(env), capture_output=True, text=True, timeout=GIT_WAIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return "no git on PATH"
    return done.stdout.strip().replace("git version", "git")


def check_user_config(env: Mapping[str, str]) -> Finding:
    try:
        return _config_file("user-config", config.user_config_path(env))
    except StateUnavailable as e:
        return problem("user-config", str(e), "set HOME, or USER_SPACE to the folder that is to hold config.yaml")


def check_project_config(project_path: str) -> Finding:
    return _config_file("project-config", config.project_config_path(project_path))


def _config_file(check: str, path: str) -> Finding:
    return fine(check, path if os.path.lexists(path) else f"{path} (not there)")


def check_consent(env: Mapping[str, str], project_path: str) -> Finding:
    consent = config.read_consent(env, project_path)
    found = f"{'on' if consent.enabled else 'off'}, decided by {consent.decided_by}"
    if consent.warning is None:
        return fine("consent", found)
    if consent.decided_by.startswith("unreadable config"):
        cure = "correct the file, or move it away; nothing is recorded until then"
        return problem("consent", consent.warning, cure)
    cure = f"set {config.VARIABLE} to 1 or 0, or unset it"
    return warning("consent", consent.warning, cure if consent.decided_by == config.VARIABLE else "correct the file")
