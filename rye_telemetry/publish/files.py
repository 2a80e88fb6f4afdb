"""Bake, check or strip files where they lie."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rye_telemetry.bake import is_supported, read_bytes
from rye_telemetry.errors import BakeRefused, RyeTelemetryError, SigningFailed
from rye_telemetry.items.find import FOLDERS, walk_files
from rye_telemetry.lines import instant_text
from rye_telemetry.publish.decide import STOPPING, Decision, check_form, decide_bake, decide_strip
from rye_telemetry.publish.signed import resign, signature_state
from rye_telemetry.publish.whose import place_of, whose
from rye_telemetry.publish.write import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rye_telemetry.publish.decide import Wish
    from rye_telemetry.publish.numbers import Item, Numbers
    from rye_telemetry.publish.write import Found

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


class Bakery:
    """One order: the numbers, what is wished, and for which item where that was said."""

    def __init__(self, numbers: Numbers, wish: Wish, *, item: Item | None = None) -> None:
        self.numbers = numbers
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
        done.fields = self.numbers.fields(done.item, data, name) if done.item else None
        if done.fields is not None:
            self._take(done, decide_bake(data, name, done.fields, self.wish))
        if self.wish.check:
            check_form(data, name, latest=self.latest)

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
        return done.changed and (self.wish.hook or self.wish.check)


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
        outcome = bakery.decide(path, found[path].data)
        if outcome.changed and bakery.wish.write and not bakery.wish.check:
            replace_file(found[path], outcome.new, sync=not bakery.wish.hook)
    except RyeTelemetryError as e:
        return Outcome(path, "refused", code="not_written", message=str(e))
    return outcome


def sign_again(bakery: Bakery, signed: Sequence[Outcome], found: Mapping[str, Found], env: Mapping[str, str]) -> None:
    """Sign again what was signed; what does not come back signed, with its block, gets its old bytes back."""
    if not signed:
        return
    said: str | None = None
    try:
        resign(
            [found[o.path].real_path for o in signed],
            command=bakery.wish.sign_command,
            env=env,
            cwd=os.path.dirname(found[signed[0].path].real_path),
        )
    except SigningFailed as e:
        said = str(e)
    for outcome in signed:
        outcome.code = None
        _accept(outcome, said)


def _accept(outcome: Outcome, said: str | None) -> None:
    now = read_file(outcome.path)
    name = os.path.basename(outcome.path)
    try:
        good = said is None and signature_state(now.data, name) == "verified" and bool(read_bytes(now.data, name))
    except BakeRefused:
        good = False
    if good:
        outcome.new = now.data
        return
    replace_file(now, outcome.old)
    outcome.result, outcome.code, outcome.new = "refused", "not_signed", outcome.old
    outcome.message = said or f"{outcome.path}: the sign command left it without a valid signature: it is as it was"


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
