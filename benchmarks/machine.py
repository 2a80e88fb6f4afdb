"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path


def describe_machine(directory: Path) -> str:
    """Return one line: date, processor, cores, kernel, Python, git, filesystem of `directory`, load of the last minute."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parts = [today, processor(), f"{cores()} cores", f"{platform.system()} {platform.release()}", python]
    load = f"load of others {os.getloadavg()[0]:.1f}"
    return ", ".join([*parts, git_version(), f"state on {filesystem(directory)}", load])


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git_version() -> str:
    try:
        return subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def filesystem(directory: Path) -> str:
    """Return the type of the mount that holds a directory, by the longest mount point above it."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "an unknown filesystem"
    here = directory.resolve()
    best, kind = -1, "an unknown filesystem"
    for mount in mounts:
        _, point, found, *_ = mount.split(" ")
        if here.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind
