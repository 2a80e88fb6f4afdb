"""Every error a user can meet.

RyeTelemetryError            exit 1
├── InvalidRecord            a value that cannot be recorded; also a ValueError
├── UsageInvalid             exit 2: what was typed cannot be meant
├── ConfigInvalid            a settings file that cannot be read or understood
├── ItemNotFound             exit 127
├── ItemNotRunnable          exit 126
├── ParamsInvalid            parameters or inputs that the item cannot take
├── RunNotFound              no run, or several, where one was named
├── ItemUnknown              nothing is recorded under this id
├── StateUnavailable         the state directory cannot be used
├── StateBusy                another process holds a lock longer than we wait
├── StateTooNew              written by a newer major version of rye-telemetry
├── GitMissing               there is no git to ask
├── GitUnusable              git refuses, or what stands there is no repository
├── CommitUnknown            a revision that names no commit, or several
├── BakeRefused              a file that no telemetry block can be put into, or taken from, safely
├── FileUnreadable           what was named is no file that can be read
├── FileNotReplaced          a file that cannot be replaced whole, as it is, by us, now
├── SigningFailed            the command that signs items is missing, or failed
├── MergeFailed              exit 129: three versions of an item are not merged, nothing is written
├── IndexUnusable            the derived index is missing, corrupt or stale; never shown, it is rebuilt
└── JournalCorrupt           a journal file that cannot be read at all

A message says what happened, where, and what to do.
"""

from __future__ import annotations


class RyeTelemetryError(Exception):
    """Root of the tree; `exit_code` is what the command line exits with."""

    exit_code = 1


class InvalidRecord(RyeTelemetryError, ValueError):
    """A value that cannot be recorded as it is."""


class UsageInvalid(RyeTelemetryError):
    """What was typed cannot be meant."""

    exit_code = 2


class ConfigInvalid(RyeTelemetryError):
    """A settings file that cannot be read or understood."""


class ItemNotFound(RyeTelemetryError):
    """No item of this type and id, in the project or in the user's space."""

    exit_code = 127


class ItemNotRunnable(RyeTelemetryError):
    """The item exists but nothing here can execute it."""

    exit_code = 126


class ParamsInvalid(RyeTelemetryError):
    """Parameters or inputs that the item cannot take."""


class RunNotFound(RyeTelemetryError):
    """No run has this id, or several start with it."""


class ItemUnknown(RyeTelemetryError):
    """Nothing is recorded under this id."""


class StateUnavailable(RyeTelemetryError):
    """The state directory cannot be read or written."""


class StateBusy(RyeTelemetryError):
    """Another process holds a lock for longer than we wait."""


class StateTooNew(RyeTelemetryError):
    """The state was written by a newer major version."""


class GitMissing(RyeTelemetryError):
    """There is no git to ask."""


class GitUnusable(RyeTelemetryError):
    """Git refuses to work there, or what stands there is no repository."""


class CommitUnknown(RyeTelemetryError):
    """A revision names no commit of the repository, or several."""


class BakeRefused(RyeTelemetryError):
    """A file that no block can be put into, or taken from, without harm; `code` names the reason for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FileUnreadable(RyeTelemetryError):
    """What was named is no regular file, or one that may not be read."""


class FileNotReplaced(RyeTelemetryError):
    """A file that cannot be replaced as it is; it has its old bytes."""


class SigningFailed(RyeTelemetryError):
    """The command that signs items is not there, or ended badly."""


class MergeFailed(RyeTelemetryError):
    """Three versions of an item could not be merged; what git handed over is as it was."""

    exit_code = 129  # up to 128 git takes for conflicts that are in the file, and the other side would be lost unseen


class IndexUnusable(RyeTelemetryError):
    """The index cannot answer; it is derived, so it is rebuilt and this is never shown."""


class JournalCorrupt(RyeTelemetryError):
    """A journal file that cannot be read at all."""
