"""What other programs read in a file before and after a bake, asked without any code of ours."""

from __future__ import annotations

import ast
import json
import re
import sys
import types
import warnings

import frontmatter
import ruamel.yaml
import yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

FIELDS = {
    "total_runs": 42,
    "success_count": 40,
    "failure_count": 2,
    "success_rate": 0.952,
    "avg_duration_ms": 150.5,
    "last_run": "2026-01-30T12:00:00Z",
}
EXTRAS = {
    "timeout_count": 1,
    "p95_duration_ms": 301.5,
    "content_hash": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "first_run": "2025-11-03T08:00:00Z",
    "window_days": 30,
    "success_rate_low": 0.842,
}
LATER = {
    "total_runs": 1043,
    "success_count": 1001,
    "failure_count": 42,
    "success_rate": 0.96,
    "avg_duration_ms": 99.0,
    "last_run": "2026-02-28T23:59:59Z",
}

SIGNATURE = re.compile(rb"rye(?:os)?:signed:")
NEWER_ENGINE = re.compile(r"#[ \t]*(?:ryeos:signed:|rye:signed:.*:[0-9a-f]{64}\s*$)")
_SIGNED = re.compile(r"<!--[ \t]*rye(?:os)?:signed:[^\n]*-->")
_BEFORE = re.compile(r"\ufeff?(?:[ \t]*\r?\n|[ \t]*<!--.*?-->(?=[^\S\n]*(?:<!--|\n))[^\S\n<]*)*", re.DOTALL)
_HEADER = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"(`{3,})yaml[ \t]*\r?\n(.*?)^\1[ \t]*\r?$", re.DOTALL | re.MULTILINE)


def inserted(old: bytes, new: bytes) -> bytes:
    """The one run of bytes that `new` has and `old` has not; AssertionError when there is more to it."""
    start, more = common_start(old, new), len(new) - len(old)
    assert more > 0, "nothing was inserted"
    assert new[:start] + new[start + more :] == old, "more than one insertion"
    return new[start : start + more]


def common_start(old: bytes, new: bytes) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))


def assert_readers_agree(name: str, old: bytes, new: bytes, fields: Mapping[str, object]) -> None:
    """Every reader of this type finds in `new` what it found in `old`, and the numbers where they are data."""
    name = name.rpartition("/")[2]
    ending = name.rpartition(".")[2].lower()
    if ending in {"md", "mdx", "mdc", "qmd"}:
        _markdown(old.decode(), new.decode(), None if name == "SKILL.md" else fields)
    elif ending in {"yaml", "yml"}:
        signed = NEWER_ENGINE.match(old.decode().split("\n", 1)[0].removeprefix("\ufeff"))
        _yaml(old.decode(), new.decode(), None if signed else fields)
    elif ending in {"py", "pyi"}:
        _python(old, new)
    elif ending == "json":
        _json(old.decode("utf-8-sig"), new.decode("utf-8-sig"), fields)
    elif ending == "toml" and sys.version_info >= (3, 11):
        _toml(old.decode(), new.decode())


# -- YAML


def pyyaml_all(text: str) -> object:
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def ruamel_all(text: str) -> object:
    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    reader.allow_duplicate_keys = True
    return list(reader.load_all(text))


def reading(read: Callable[[Any], Any], text: str | bytes) -> tuple[Any, bool]:
    """What `read` returns, and whether it failed; its words may differ, for it may fail further down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(text), False
    except (yaml.YAMLError, ruamel.yaml.error.YAMLError, SyntaxError, ValueError, TypeError, AttributeError):
        return None, True


def _yaml(old: str, new: str, fields: Mapping[str, object] | None) -> None:
    for read in (pyyaml_all, ruamel_all):
        before, before_failed = reading(read, old.removeprefix("\ufeff"))
        after, after_failed = reading(read, new.removeprefix("\ufeff"))
        assert before_failed == after_failed
        if before_failed:
            continue
        if fields is not None:
            _take_out(before, after, fields)
        assert repr(before) == repr(after), read.__name__


def _take_out(before: list[object], after: list[Any], fields: Mapping[str, object]) -> None:
    """Take the numbers out of the document of `after` that has them: the first mapping, else the first with nothing in it."""
    if not before:
        before.append(None)  # a header or a file without a key reads as nothing, not as an empty mapping
    for kind in (dict, type(None)):
        for at, document in enumerate(before):
            if isinstance(document, kind):
                assert_same_fields(after[at].pop("telemetry"), fields)
                after[at] = after[at] or document
                return
    # A reader of its own mind (of YAML 1.2, where NEL ends no line) found no mapping here, before or after.
    before[:] = after


def assert_same_fields(found: object, fields: Mapping[str, object]) -> None:
    """Equal, and of the same types: 3 is not 3.0, an instant is text."""
    assert json.dumps(found, sort_keys=True) == json.dumps(dict(fields), sort_keys=True)


# -- markdown


def header_of(text: str, *, unsigned: bool = False) -> tuple[str, str, str] | None:
    """What stands before the header's text, that text, and what follows it, closing fence first.

    A fenced one is a header behind a signature, or when it holds numbers; `unsigned` takes any that comes first.
    """
    start = _BEFORE.match(text).end()  # type: ignore[union-attr]
    header = _HEADER.match(text, start)
    if header:
        return text[: header.start(1)], header[1], text[header.end(1) :]
    header = _FENCED.match(text, start)
    if header and (
        unsigned
        or _SIGNED.search(text[:start])
        or re.search("^telemetry:.*total_runs:", header[2], re.DOTALL | re.MULTILINE)
    ):
        return text[: header.start(2)], header[2], text[header.end(2) :]
    return None


def _markdown(old: str, new: str, fields: Mapping[str, object] | None) -> None:
    after = header_of(new)
    assert after is not None, "there is a header now"
    before = header_of(old, unsigned=after[0].rstrip().endswith("yaml") and "header added" not in after[1])
    if before is None:
        _yaml("", after[1], fields)
    else:
        assert (before[0], before[2]) == (after[0], after[2]), "only the header's text changed"
        _yaml(before[1], after[1], fields)
    _frontmatter(old, new, fields)


def _frontmatter(old: str, new: str, fields: Mapping[str, object] | None) -> None:
    """python-frontmatter looks for a header at the very start only, and does not know that three dots close one."""
    old, new = old.removeprefix("\ufeff"), new.removeprefix("\ufeff")
    header = header_of(old)
    if not new.lstrip().startswith("---") or (header and header[2].startswith("...")):
        return
    before, before_failed = reading(frontmatter.parse, old)
    after, after_failed = reading(frontmatter.parse, new)
    assert before_failed == after_failed
    if before_failed:
        return
    (metadata, content), (new_metadata, new_content) = before, after
    if fields is not None:
        assert_same_fields(new_metadata.pop("telemetry"), fields)
    assert repr(metadata) == repr(new_metadata)
    assert content == new_content


# -- code and data


def _python(old: bytes, new: bytes) -> None:
    (before, before_failed), (after, after_failed) = reading(compiled, old), reading(compiled, new)
    assert before_failed == after_failed
    if before_failed:
        return
    (tree, code), (new_tree, new_code) = before, after
    assert ast.dump(tree, include_attributes=True) == ast.dump(new_tree, include_attributes=True)
    assert ast.get_docstring(tree, clean=False) == ast.get_docstring(new_tree, clean=False)
    _same_code(code, new_code)


def compiled(source: bytes) -> tuple[ast.Module, types.CodeType]:
    return ast.parse(source), compile(source, "x", "exec", dont_inherit=True)


def _same_code(before: types.CodeType, after: types.CodeType) -> None:
    assert before == after
    assert list(before.co_lines()) == list(after.co_lines())
    for old, new in zip(before.co_consts, after.co_consts, strict=True):
        if isinstance(old, types.CodeType):
            _same_code(old, new)


def _json(old: str, new: str, fields: Mapping[str, object]) -> None:
    before, after = json.loads(old), json.loads(new)
    assert next(iter(after)) == "telemetry"
    assert_same_fields(after.pop("telemetry"), fields)
    assert repr(before) == repr(after)
    pairs = json.loads(new, object_pairs_hook=lambda found: found)
    assert repr(pairs[1:]) == repr(json.loads(old, object_pairs_hook=lambda found: found))


def _toml(old: str, new: str) -> None:
    import tomllib

    before, before_failed = reading(tomllib.loads, old)
    after, after_failed = reading(tomllib.loads, new)
    assert before_failed == after_failed
    assert repr(before) == repr(after)
