"""Who a process is, so that another process can tell later whether it is gone.

A process id alone lies after a reboot, in another container and when the number is used again; so it comes with the
process's start time, the boot and the PID namespace.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rye_telemetry.model import Fields


_PIDS_END = 2**31


def this_process() -> Fields:
    """Return `{host, boot, ns, pid, started}`; what this system cannot tell is left out."""
    pid = os.getpid()
    found = {"host": _host(), "boot": boot_id(), "ns": _namespace(), "pid": pid, "started": _started(pid)}
    return {name: value for name, value in found.items() if value is not None}


def is_gone(process: object) -> bool:
    """Say whether the process is certainly gone; a process of another host or PID namespace never is."""
    if not isinstance(process, dict) or process.get("host") != _host():
        return False
    boot = boot_id()
    if process.get("boot") != boot:
        return boot is not None and "boot" in process
    pid = process.get("pid")
    if process.get("ns") != _namespace() or type(pid) is not int or not 0 < pid < _PIDS_END:
        return False
    started = _started(pid)
    if started is not None:
        return "started" in process and process["started"] != started
    return not _exists(pid)


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:  # the process ended meanwhile
        return b""
    finally:
        os.close(fd)


def _digest(data: bytes) -> str:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]  # the module below imports much more
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]  # before 3.12
        except ImportError:
            from hashlib import sha256
    return str(sha256(b"rye-telemetry host " + data).hexdigest()[:16])


def _host() -> str:
    machine = _read("/etc/machine-id").strip()
    if machine:
        return _digest(machine)  # machine-id(5): it is confidential, and not to be handed on as it is
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


def boot_id() -> str | None:
    return _read("/proc/sys/kernel/random/boot_id").strip().decode("ascii", "replace") or None


def _namespace() -> int | None:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """Return the start in clock ticks since boot; None where there is no such process, or no /proc."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before may hold spaces and brackets
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _exists(pid: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not os.path.isdir("/proc/self")  # with /proc, a process without a start time is a zombie
