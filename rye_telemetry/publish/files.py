"""Bake, check or strip files where they lie."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rye_telemetry.bake import EXTRAS, is_supported, read_bytes
from rye_telemetry.errors import BakeRefused, RyeTelemetryError, SigningFailed
from rye_telemetry.items.find import FOLDERS, walk_files
from rye_telemetry.lines import instant_text
from rye_telemetry.publish.decide import STOPPING, Decision, check_form, decide_bake, decide_strip, read_said
from rye_telemetry.publish.signed import resign, signature_state
from rye_telemetry.publish.whose import place_of, whose
from rye_telemetry.publish.write import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rye_telemetry.publish.decide import Wish
    from rye_telemetry.publish.numbers import Item, Numbers
    from rye_telemetry.publish.write import Found

_ID_HINT = "; an item's id goes with its file: bake ITEM --item-path FILE"
_MANIFEST = re.compile(r"manifest\.ya?ml")


@dataclass
class Outcome:
    """What became of one file.

    `result`: baked, stripped, unchanged, skipped, nothing_recorded, refused; `code` and `message` say why it was
    refused. `old` and `new` are its bytes before and after.
    """

    path: str
    result: str = "nothing_recorded"
    item: Item | None = None
    fields: Mapping[str, object] | None = None
    code: str | None = None
    message: str | None = None
    warnings: list[str] = field(default_factory=list)
    old: bytes = b""
    new: bytes = b""
    stops: bool = True  # a hook's commit: where a second try would not find it changed

    @property
    def changed(self) -> bool:
        return self.result in ("baked", "stripped")


def project_items(project_path: str) -> list[str]:
    """Return the files below a project's `.ai/` that can be items, absolute, in the order of their names."""
    found = []
    for folder in FOLDERS.values():
        root = os.path.join(os.path.abspath(project_path), ".ai", folder)
        found += [os.path.join(root, path) for path in walk_files(root) if is_supported(path)]
    return found


def is_below(path: str, folder: str) -> bool:
    """Say whether a path without links lies in a folder: files that nobody named may not lead out of their project."""
    return path.startswith(os.path.join(os.path.realpath(folder), ""))


class Bakery:
    """One order: the numbers, what is wished, for which item where that was said, and inside which folder alone."""

    def __init__(self, numbers: Numbers, wish: Wish, *, item: Item | None = None, inside: str | None = None) -> None:
        self.numbers = numbers
        self.inside = inside
        self.wish = wish
        self.item = item
        # A day for clocks that differ.
        self.latest = instant_text(time.time_ns() + 86_400_000_000_000)[:19] + "Z"

    @property
    def knows_runs(self) -> bool:
        return bool(self.numbers.paths)

    def load(self, paths: Iterable[str]) -> None:
        """Read what is recorded of many files in one question."""
        if not self.wish.strip:
            self.numbers.load(item for path in paths for item in self.numbers.places.get(path, ()))

    def decide(self, path: str, data: bytes) -> Outcome:
        """Say what becomes of the bytes of the file at `path` (absolute). Never raises BakeRefused."""
        done = Outcome(path, old=data, new=data)
        try:
            self._decide(done, data)
        except BakeRefused as e:
            done.result, done.code, done.message = "refused", e.code, str(e)
        return done

    def _decide(self, done: Outcome, data: bytes) -> None:
        name = os.path.basename(done.path)
        if self.wish.strip:
            self._take(done, decide_strip(data, name))
            return
        done.item = self.item or whose(done.path, data, self.numbers)
        done.fields = self._fields(done, data, name)
        if done.fields is not None:
            self._take(done, decide_bake(data, name, done.fields, self.wish))
        if self.wish.check:
            check_form(data, name, latest=self.latest)

    def _fields(self, done: Outcome, data: bytes, name: str) -> dict[str, object] | None:
        """In a hook, what somebody chose to publish beside the usual stays published."""
        if done.item is None:
            return None
        said = read_said(data, name) if self.wish.hook else None
        fields = self.numbers.fields(done.item, data, name, also=set(said or ()) & set(EXTRAS))
        if fields is None and not self.numbers.scope.is_whole:
            done.warnings.append(f"{name}: no run of it counts by what was asked, so it is left as it is")
        return fields

    @staticmethod
    def _take(done: Outcome, made: Decision) -> None:
        done.result, done.new = made.result, made.data
        done.warnings += made.warnings
        if made.resign:
            done.code = "resign"

    def blocks(self, done: Outcome) -> bool:
        """Say whether an outcome is a failure; a hook does not stop a commit for a file that takes no block."""
        if done.result == "refused":
            return not self.wish.hook or done.code in STOPPING
        return done.changed and done.stops and (self.wish.hook or self.wish.check)


def bake_files(bakery: Bakery, paths: Iterable[str], *, env: Mapping[str, str]) -> list[Outcome]:
    """Bake, check or strip each file; one that is refused stops none of the others."""
    wanted = [os.path.abspath(path) for path in paths]
    bakery.load(wanted)
    done: list[Outcome] = []
    found: dict[str, Found] = {}
    for path in wanted:
        outcome = _one(bakery, path, found)
        done.append(outcome)
    if bakery.wish.write and not bakery.wish.check:
        sign_again(bakery, [o for o in done if o.changed and o.code == "resign"], found, env)
    _name_manifests(done)
    return done


def _one(bakery: Bakery, path: str, found: dict[str, Found]) -> Outcome:
    try:
        found[path] = read_file(path)
        if bakery.inside is not None and not is_below(found[path].real_path, bakery.inside):
            return Outcome(
                path, "refused", code="outside", message=f"{path} leads out of the project: it is left alone"
            )
        outcome = bakery.decide(path, found[path].data)
        if outcome.changed and bakery.wish.write and not bakery.wish.check:
            replace_file(found[path], outcome.new, sync=not bakery.wish.hook)
    except RyeTelemetryError as e:
        hint = "" if os.path.lexists(path) or os.path.basename(path) not in bakery.numbers.ids else _ID_HINT
        return Outcome(path, "refused", code="not_written", message=f"{e}{hint}")
    return outcome


def sign_again(bakery: Bakery, signed: Sequence[Outcome], found: Mapping[str, Found], env: Mapping[str, str]) -> None:
    """Sign again what was signed; what does not come back signed, with its block, gets its old bytes back."""
    if not signed:
        return
    said: str | None = "signing was interrupted"
    try:
        resign(
            [found[o.path].real_path for o in signed],
            command=bakery.wish.sign_command,
            env=env,
            cwd=os.path.dirname(found[signed[0].path].real_path),
        )
        said = None
    except SigningFailed as e:
        said = str(e)
    finally:  # ^C too
        for outcome in signed:
            _accept(outcome, said)


def _accept(outcome: Outcome, said: str | None) -> None:
    outcome.code = None
    name = os.path.basename(outcome.path)
    try:
        now = read_file(outcome.path)
        if said is None and signature_state(now.data, name) == "verified" and read_bytes(now.data, name):
            outcome.new = now.data
            return
    except BakeRefused:
        pass
    except RyeTelemetryError as e:
        said = f"{outcome.path}: {e}"
    outcome.result, outcome.code = "refused", "not_signed"
    outcome.message = said or f"{outcome.path}: the sign command left it without a valid signature"
    try:
        outcome.message += f"; {_put_back(outcome)}"
    except (RyeTelemetryError, OSError) as e:
        outcome.message += f"; its old bytes could not be put back: {e}"
    outcome.new = outcome.old


def _put_back(outcome: Outcome) -> str:
    """Put the old bytes back; what stands there and is not what we wrote may be somebody's work, and is kept beside."""
    now = read_file(outcome.path)
    if now.data == outcome.old:
        return "it is as it was"
    kept = ""
    if now.data != outcome.new:
        beside = f"{now.real_path}.before-signing-failed-{time.time_ns():x}"
        with open(beside, "xb") as file:
            file.write(now.data)
        kept = f"; what stood there is kept in {beside}"
    replace_file(now, outcome.old)
    return f"it is as it was{kept}"


def _name_manifests(done: Sequence[Outcome]) -> None:
    """Say which bundle manifests pin the hash of a file that changed."""
    cache: dict[str, list[tuple[str, str]]] = {}
    for outcome in done:
        place = place_of(outcome.path) if outcome.changed else None
        if place is None:
            continue
        if place.ai_dir not in cache:
            cache[place.ai_dir] = list(_manifests(place.ai_dir))
        digest = hashlib.sha256(outcome.old).hexdigest()
        outcome.warnings += [
            f"{path} pins the hash of {outcome.path}: build it again"
            for path, text in cache[place.ai_dir]
            if digest in text
        ]


def _manifests(ai_dir: str) -> Iterable[tuple[str, str]]:
    for path in walk_files(ai_dir):
        if _MANIFEST.fullmatch(os.path.basename(path)):
            whole = os.path.join(ai_dir, path)
            try:
                yield whole, read_file(whole).data.decode("utf-8", "replace")
            except RyeTelemetryError:
                continue
