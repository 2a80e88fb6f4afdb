"""One order to bake, check or strip: which files, by which settings, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rye_telemetry.bake import EXTRAS
from rye_telemetry.errors import GitUnusable, ItemUnknown, StateBusy, StateTooNew, StateUnavailable, UsageInvalid
from rye_telemetry.publish.decide import MIN_CHANGE, Wish
from rye_telemetry.publish.files import Bakery, Outcome, bake_files, project_items
from rye_telemetry.publish.merge import merge_driver
from rye_telemetry.publish.numbers import Numbers, Scope
from rye_telemetry.publish.whose import place_of, whose
from rye_telemetry.publish.write import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rye_telemetry.config import Settings
    from rye_telemetry.publish.numbers import Item
    from rye_telemetry.store import TelemetryStore

NO_STORE = "no runs are recorded here: only the form and the plausibility of blocks was checked"


@dataclass(frozen=True)
class Order:
    """What was asked for: files, or one item and its file, or all of a project, or what is staged."""

    files: Sequence[str] = ()
    item_id: str | None = None
    item_path: str | None = None
    item_type: str | None = None
    project_path: str | None = None
    staged: bool = False

    def check(self) -> None:
        """Raise UsageInvalid unless it names one kind of place, and one that is there."""
        kinds = [bool(self.files), self.item_path is not None, self.project_path is not None, self.staged]
        if sum(kinds) != 1:
            raise UsageInvalid("name what to bake: FILE..., or ITEM --item-path FILE, or --all, or --staged")
        if (self.item_id is None) != (self.item_path is None):
            raise UsageInvalid("an item and its file belong together: ITEM --item-path FILE")
        if self.project_path is not None and not os.path.isdir(os.path.join(self.project_path, ".ai")):
            raise UsageInvalid(f"no .ai/ folder in {os.path.abspath(self.project_path)!r}: name a project that has one")


@dataclass(frozen=True)
class Report:
    """What came of an order: each file's outcome, whether the command fails, what to tell beside."""

    outcomes: list[Outcome]
    failed: bool
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        return sum(outcome.changed for outcome in self.outcomes)


def wish_by(settings: Settings, *, extras: Sequence[str], scope: Scope, **flags: bool) -> Wish:
    """Return what is wished, by the options typed and the settings for what was not. UsageInvalid."""
    chosen = tuple(extras) or tuple(settings.values["bake.fields"])  # type: ignore[arg-type]
    for name in chosen:
        if name not in EXTRAS:
            raise UsageInvalid(f"no field is called {name!r}: there is {', '.join(EXTRAS)}")
    if scope.since is not None:
        chosen = (*chosen, "window_days")  # numbers of some days that do not say so would mislead
    return Wish(
        scope=scope._replace(extras=chosen),
        min_change={name: str(settings.values[f"bake.min_change.{name}"]) for name in MIN_CHANGE},
        signed=str(settings.values["bake.signed"]),
        sign_command=tuple(settings.values["bake.sign_command"]),  # type: ignore[arg-type]
        **flags,
    )


def carry_out(order: Order, wish: Wish, store: TelemetryStore, *, cwd: str, env: Mapping[str, str]) -> Report:
    """Do it. One file that is refused stops none of the others. UsageInvalid; GitUnusable for what is staged."""
    order.check()
    try:
        numbers = Numbers(store, wish.scope)
    except (StateUnavailable, StateBusy, StateTooNew) as e:
        if not wish.hook:
            raise
        return Report([], failed=False, notes=(f"{e}; nothing is baked",))  # no reason to stop a commit
    inside = order.project_path or (cwd if wish.hook else None)
    bakery = Bakery(numbers, wish, item=named_item(order, numbers, cwd), inside=inside)
    if order.item_id is not None and bakery.item is None and not wish.strip:
        outcomes = [Outcome(os.path.join(cwd, order.item_path or ""))]
    elif order.staged:
        from rye_telemetry.publish.staged import Index, bake_staged

        try:
            outcomes = bake_staged(bakery, Index(cwd, env), env=env)
        except GitUnusable as e:
            if not wish.hook:
                raise
            return Report([], failed=False, notes=(f"{e}; nothing is baked",))
    else:
        outcomes = bake_files(bakery, _paths(order, cwd), env=env)
    if order.project_path is not None:
        outcomes = [outcome for outcome in outcomes if outcome.result != "nothing_recorded"]
    failed = any(map(bakery.blocks, outcomes))
    notes = (NO_STORE,) if wish.check and not bakery.knows_runs else ()
    if wish.hook and failed:
        notes = (*notes, _way_on(order, wish))
    return Report(outcomes, failed, notes)


def _way_on(order: Order, wish: Wish) -> str:
    if wish.check:
        return "stopped here: run `rye-telemetry bake` on these files, stage them, and try again"
    if order.staged:
        return "the commit is stopped so that you can look at this; it is staged: commit again"
    return "stopped here: stage what changed, and try again"


def _paths(order: Order, cwd: str) -> list[str]:
    if order.project_path is not None:
        return project_items(os.path.join(cwd, order.project_path))
    named = order.files if order.item_path is None else [order.item_path]
    return [os.path.join(cwd, path) for path in dict.fromkeys(named)]


def named_item(order: Order, numbers: Numbers, cwd: str) -> Item | None:
    """Return the recorded item that was named; None where none was, or nothing is recorded of it."""
    if order.item_id is None:
        return None
    named_type, colons, rest = order.item_id.partition("::")
    fit = [item for item in numbers.paths if item[1] == order.item_id and order.item_type in (None, item[0])]
    fit = fit or [item for item in numbers.paths if colons and item == (named_type, rest)]
    if len(fit) > 1 and (place := place_of(os.path.join(cwd, order.item_path or ""))) is not None:
        fit = [item for item in fit if item[0] == place.item_type] or fit
    if len(fit) > 1:
        types = ", ".join(item_type for item_type, _ in fit)
        raise ItemUnknown(f"{order.item_id!r} is recorded as several types ({types}): say which with --type")
    return fit[0] if fit else None


def merge(paths: Sequence[str], numbers: Callable[[], Numbers], *, marker_size: int, env: Mapping[str, str]) -> int:
    """Be git's merge driver of one item: BASE OURS THEIRS PATH; return 0, or 1 where conflicts remain.

    `numbers` is called only where the store must decide; what it raises leaves the side with more runs.
    """
    if len(paths) != 4:
        raise UsageInvalid(f"a merge has four names, BASE OURS THEIRS PATH: {len(paths)} are given")
    base, ours, theirs, path = paths

    def recorded() -> Mapping[str, object] | None:
        known = numbers()
        data = read_file(ours).data
        item = whose(os.path.abspath(path), data, known)
        return known.fields(item, data, os.path.basename(path)) if item else None

    return merge_driver(base, ours, theirs, path, recorded=recorded, env=env, marker_size=marker_size)
