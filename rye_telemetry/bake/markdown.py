"""Markdown and its kin: a header between `---` lines or in a first ```yaml fence, or a new one where there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake.block import ADDED, comment_lines, yaml_lines
from rye_telemetry.bake.edges import BOM, Edit, Source, eol_of, is_skill, line_end
from rye_telemetry.bake.marks import one_block
from rye_telemetry.bake.outline import Outline, YamlInvalid, outline_documents, outline_header
from rye_telemetry.bake.yaml_block import check_outline, put_block, take_block
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANKS = re.compile(r"(?:[ \t]*\r?\n)*")
_COMMENT = re.compile(r"[ \t]*<!--.*?-->", re.DOTALL)
_SIGNATURE = re.compile(r"(?:[ \t]*\r?\n)*[ \t]*<!--\s*rye(?:os)?:signed:[^\n]*-->[ \t]*(?:\r?\n|$)")
_OPENING = re.compile(r"---[ \t]*\r?(?:\n|$)")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?$", re.MULTILINE)
_BOUNDARY = re.compile(r"^-{3,}\s*$", re.MULTILINE)  # python-frontmatter's
_BRACES = re.compile(r"^[{}]\r?$", re.MULTILINE)
_OTHER_FENCE = re.compile(r"^-{4,}[ \t]*\r?$", re.MULTILINE)
_TAGGED = re.compile(r"---[A-Za-z][\w+-]*[ \t]*\r?(?:\n|$)|;;;[ \t]*\r?\n")
_TOML = re.compile(r"\+{3,}[ \t]*\r?(?:\n|$)")
_FENCE = re.compile(r"(`{3,})ya?ml[ \t]*\r?\n")
_XML_FENCE = re.compile(r"^```xml[ \t]*\r?\n", re.MULTILINE)
# A first ```yaml fence without a signature is RYE's header, not a sample, when it has an id or two of these.
_HEADER_KEYS = frozenset(
    ("name", "title", "version", "category", "entry_type", "description", "author", "tags", "created_at")
)


class Header(NamedTuple):
    """text[start:end] is the inside of a header, text[top:bottom] all of it with its two fences."""

    top: int
    start: int
    end: int
    bottom: int
    outline: Outline


def find_header(text: str, name: str) -> Header | None:
    """Return the header, None where there is none; refuse what looks like one and cannot be understood."""
    at = _skip_comments(text)
    signed = _SIGNATURE.match(text, len(BOM) if text.startswith(BOM) else 0) is not None
    if _TOML.match(text, at):
        raise BakeRefused("toml_frontmatter", f"{name} has a TOML header (+++), which takes no YAML block")
    if _TAGGED.match(text, at):
        raise BakeRefused("foreign_frontmatter", f"{name} has a header in another language than YAML")
    if opening := _OPENING.match(text, at):
        return _dashed(text, at, opening.end(), name)
    if fence := _FENCE.match(text, at):
        return _fenced(text, at, fence, name, signed=signed)
    _check_trimmed(text, name)
    return None


def _check_trimmed(text: str, name: str) -> None:
    """Refuse a file that readers which trim its start take for one with a header: a new one would hide that."""
    trimmed = text.removeprefix(BOM).strip()
    if _BRACES.match(trimmed) and len(_BRACES.findall(trimmed)) > 1:
        raise BakeRefused("foreign_frontmatter", f"{name} has a header in JSON, which takes no YAML block")
    if _BOUNDARY.match(trimmed) and len(_BOUNDARY.findall(trimmed)) > 1:
        raise BakeRefused(
            "ambiguous_fence", f"{name} begins with a line of dashes that is a header to some: indent none"
        )


def _skip_comments(text: str) -> int:
    """Return where the first line starts that is neither blank nor a comment."""
    at = start = len(BOM) if text.startswith(BOM) else 0
    while True:
        at = blank = _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        while comment := _COMMENT.match(text, at):
            at = comment.end()
        if at == blank:
            return at
        rest = text[at : line_end(text, at)]
        if rest.strip() or not rest.endswith("\n"):
            return start if at != len(text) else at
        at += len(rest)


def _dashed(text: str, top: int, start: int, name: str) -> Header:
    closing = _CLOSING.search(text, start)
    if closing is None:
        raise BakeRefused(
            "unterminated_frontmatter", f"{name} begins with a `---` line that no second one closes: close its header"
        )
    inside = text[start : closing.start()]
    if _OTHER_FENCE.search(inside):
        raise BakeRefused("ambiguous_fence", f"{name}: a line of more than three dashes in its header ends it for some")
    bottom = line_end(text, closing.end())
    return Header(top, start, closing.start(), bottom, outline_header(inside, name=name))


def _fenced(text: str, top: int, fence: re.Match[str], name: str, *, signed: bool) -> Header | None:
    start = fence.end()
    closing = re.compile(rf"^{fence[1]}`*[ \t]*\r?$", re.MULTILINE).search(text, start)
    if closing is None:
        if signed:
            raise BakeRefused("unterminated_frontmatter", f"{name}: its ```yaml header is not closed: close it")
        return None
    inside = text[start : closing.start()]
    ours = inside.startswith(ADDED)
    try:
        outline = (outline_header if signed or ours else _outline_strict)(inside, name=name)
    except (BakeRefused, YamlInvalid) as e:
        if signed or ours or getattr(e, "code", "") in ("foreign_telemetry", "block_damaged"):
            raise
        return None
    if not (signed or ours or outline.blocks or _is_metadata(outline)):
        return None
    return Header(top, start, closing.start(), line_end(text, closing.end()), outline)


def _outline_strict(text: str, *, name: str) -> Outline:
    return outline_documents(text, leader="#", name=name)


def _is_metadata(outline: Outline) -> bool:
    return "id" in outline.keys or len(outline.keys & _HEADER_KEYS) >= 2


def bake(source: Source, fields: Mapping[str, object]) -> tuple[str, list[str]]:
    text, name, _ = source
    form = "comment" if is_skill(name) else "key"
    header = find_header(text, name)
    if header is None:
        return _add_header(text, fields, form), []
    eol = eol_of(text, header.top) or "\n"
    new = _edited(text, header, put_block(_inside(text, header), header.outline, fields, form=form, eol=eol, name=name))
    if new != text:
        _check(header, new, fields, name)
    warnings = [] if header.outline.valid else [f"{name}: its header is not valid YAML, and was read by its lines"]
    return new, warnings


def _inside(text: str, header: Header) -> str:
    return text[header.start : header.end]


def _edited(text: str, header: Header, edits: list[Edit]) -> str:
    inside = _inside(text, header)
    for edit in edits:
        inside = edit.apply(inside)
    return text[: header.start] + inside + text[header.end :]


def _check(header: Header, new: str, fields: Mapping[str, object] | None, name: str) -> None:
    again = find_header(new, name)
    if again is None or again.start != header.start or len(new) - again.end < 0:
        raise BakeRefused("changed_elsewhere", f"{name}: a block would hide the header from its readers")
    check_outline(header.outline, again.outline, fields, name)


def _add_header(text: str, fields: Mapping[str, object], form: str) -> str:
    eol = eol_of(text, 0) or "\n"
    signature = _SIGNATURE.match(text, len(BOM) if text.startswith(BOM) else 0)
    place = signature.end() if signature else len(BOM) if text.startswith(BOM) else 0
    in_fence = signature and _is_xml_directive(text)  # where RYE takes no `---`
    fences = ("```yaml", "```") if in_fence else ("---", "---")
    lines = yaml_lines(fields) if form == "key" else comment_lines(fields, "#")
    added = eol.join((fences[0], ADDED, *lines, fences[1]))
    if signature and not signature[0].endswith("\n"):  # the file is this one line, and keeps no final line end
        return text + eol + added
    return text[:place] + added + eol + eol + text[place:]


def _is_xml_directive(text: str) -> bool:
    fence = _XML_FENCE.search(text)
    return fence is not None and "<directive" in text[fence.end() :].partition("\n```")[0]


def strip(source: Source) -> str:
    text, name, _ = source
    header = find_header(text, name)
    if header is None or not header.outline.blocks:
        return text
    inside = _inside(text, header)
    stripped = inside
    for edit in take_block(inside, header.outline, name):
        stripped = edit.apply(stripped)
    if inside.startswith(ADDED) and stripped[len(ADDED) :].strip() == "":
        return _without_header(text, header)
    new = text[: header.start] + stripped + text[header.end :]
    _check(header, new, None, name)
    return new


def _without_header(text: str, header: Header) -> str:
    bottom = header.bottom
    if (eol := eol_of(text, bottom)) and text.startswith(eol, bottom):  # the blank line that came with it
        bottom += len(eol)
    top = header.top
    if bottom == len(text) and top and not text.endswith("\n") and text[top - 1] == "\n":
        top -= 1
    return text[:top] + text[bottom:]


def read(source: Source) -> dict[str, object] | None:
    text, name, _ = source
    header = find_header(text, name)
    block = one_block(header.outline.blocks, name) if header else None
    return block.fields if block else None
