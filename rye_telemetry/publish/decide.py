"""What a file's new bytes are, and why they are not others. Pure: bytes and numbers in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused
from rye_telemetry.publish.numbers import Scope, implausible, moved_enough
from rye_telemetry.publish.signed import Policy, policy, signature_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = b"telemetry"  # no block is without it
MIN_CHANGE = {"total_runs": "10%, 10", "success_rate": "0.01", "avg_duration_ms": "10%"}
# What is wrong with a block of ours, whoever asks; the rest are files that take none.
DAMAGE = frozenset(("block_damaged", "duplicate_telemetry", "implausible"))
STOPPING = DAMAGE | {"not_signed"}  # for these a hook stops the commit


@dataclass(frozen=True)
class Wish:
    """What is asked for. `hook`: with a hook's manners, which leave alone what hardly moved and what is signed."""

    strip: bool = False
    check: bool = False
    hook: bool = False
    write: bool = True
    scope: Scope = Scope()  # noqa: RUF009 (a tuple)
    min_change: Mapping[str, str] = field(default_factory=lambda: MIN_CHANGE)
    signed: str = "skip"
    sign_command: Sequence[str] = ()


class Decision(NamedTuple):
    """The bytes to be, what happened (baked, stripped, unchanged, skipped), what to tell, whether to sign anew."""

    data: bytes
    result: str
    warnings: tuple[str, ...] = ()
    resign: bool = False


def decide_strip(data: bytes, name: str) -> Decision:
    done = strip_bytes(data, name)
    return Decision(done.data, "stripped" if done.changed else "unchanged", done.warnings)


def decide_bake(data: bytes, name: str, fields: Mapping[str, object], wish: Wish) -> Decision:
    """Return what a bake makes of the bytes. Raises BakeRefused."""
    said = read_said(data, name) if wish.hook else None
    if said is not None and not moved_enough(said, fields, wish.min_change):
        return Decision(data, "unchanged")
    done = bake_bytes(data, name, fields)
    if not done.changed:
        return Decision(data, "unchanged", done.warnings)
    return _with_signature(data, name, Decision(done.data, "baked", done.warnings), wish)


def read_said(data: bytes, name: str) -> dict[str, object] | None:
    """Return what the block says, quickly where there is none."""
    return read_bytes(data, name) if KEY in data else None


def _with_signature(data: bytes, name: str, made: Decision, wish: Wish) -> Decision:
    chosen = policy(signature_state(data, name), signature_state(made.data, name), hook=wish.hook, setting=wish.signed)
    if chosen is Policy.SKIP:
        return Decision(data, "skipped", (f"{name} is signed and a block would break that: left as it is",))
    if chosen is Policy.RESIGN:
        return made._replace(resign=True)
    said = {
        Policy.BAKE_AND_WARN: f"{name} is signed, and a block breaks its signature: sign it again",
        Policy.BAKE_AND_SAY_INVALID_ALREADY: f"{name} is signed, and its signature did not fit before either",
    }.get(chosen)
    return made if said is None else made._replace(warnings=(*made.warnings, said))


def check_form(data: bytes, name: str, *, latest: str) -> None:
    """Refuse a block that is damaged or says what cannot be; files that take no block pass."""
    try:
        said = read_bytes(data, name)
    except BakeRefused as e:
        if e.code in DAMAGE:
            raise
        return
    wrong = implausible(said, latest=latest) if said else None
    if wrong:
        raise BakeRefused("implausible", f"{name}: its telemetry block cannot be right: {wrong}: bake it again")
