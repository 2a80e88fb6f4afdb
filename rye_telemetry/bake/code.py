"""Programs: the block is a comment at the end, where it moves no line, no docstring, no first comment."""

from __future__ import annotations

import io
import re
import tokenize
import warnings
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake.block import MARK_BEGIN, MARK_END, same_values
from rye_telemetry.bake.edges import BOM, LEADERS, Edit, Source, eol_before, eol_of, line_start, remove_lines
from rye_telemetry.bake.marks import Block, find_marked, has_marks, marked_text, one_block, outside_of
from rye_telemetry.bake.spans import has_open_pod, heredocs, multi_line_spans
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

_NOTEBOOK = re.compile(r"^(?:#|//|--) ?(?:%%|\+\+\+$|---[ \t]*\r?\n(?:#|//|--) (?:jupyter|jupytext):)", re.MULTILINE)
_PAYLOAD = re.compile(r"^(__[A-Z0-9_]{1,64}__):?[ \t]{0,8}\r?$", re.MULTILINE)
_WITH_PAYLOAD = frozenset((".sh", ".bash", ".rb", ".pl"))
_AS_NOTEBOOK = frozenset((".py", ".r", ".js", ".ts", ".sql", ".lua"))


class Language(NamedTuple):
    suffix: str

    @property
    def leader(self) -> str:
        return LEADERS[self.suffix]

    @property
    def blank_lines(self) -> int:
        """Before the block: two in Python, where black and ruff would make them two."""
        return 2 if self.is_python else 1

    @property
    def is_python(self) -> bool:
        return self.suffix in (".py", ".pyi")


def find_blocks(text: str, language: Language, name: str) -> list[Block]:
    if not has_marks(text):
        return []
    found = find_marked(text, language.leader, name=name, is_comment=_comments(text, language, name))
    if not found and not (language.is_python or language.suffix == ".toml"):  # those two are read as they are
        _check_hidden(text, language, name)
    return found


def _check_hidden(text: str, language: Language, name: str) -> None:
    """Refuse a whole block in what looks like a string: without the language's own parser nobody can be sure."""
    bodies = heredocs(text, language.suffix).bodies if language.suffix in _WITH_PAYLOAD else []
    try:
        hidden = find_marked(text, language.leader, name=name, is_comment=outside_of(bodies))
    except BakeRefused:
        return
    if hidden:
        line = text.count("\n", 0, hidden[0].start) + 1
        raise BakeRefused("block_damaged", f"{name}, line {line}: a block in a string, or behind an odd quote: move it")


def _comments(text: str, language: Language, name: str) -> Callable[[int], bool]:
    if language.is_python:
        if _is_only_block_at_end(text):
            return lambda _: True
        starts = _python_comments(text, name)
        return lambda at: at in starts
    return outside_of(multi_line_spans(text, language.suffix))


def _is_only_block_at_end(text: str) -> bool:
    """Spare most files the tokenizer: a string around marks at the very end would never be closed."""
    end = text.find(MARK_END)
    return text.count(MARK_BEGIN) == 1 and text.count(MARK_END) == 1 and not text[end + len(MARK_END) :].strip()


def _python_comments(text: str, name: str) -> set[int]:
    bom = len(text) - len(text.removeprefix(BOM))
    lines = [bom]
    for line in re.findall(r"[^\n]*\n|[^\n]+", text[bom:]):
        lines.append(lines[-1] + len(line))
    try:
        return {
            lines[token.start[0] - 1] + token.start[1]
            for token in tokenize.generate_tokens(io.StringIO(text[bom:], newline="").readline)
            if token.type == tokenize.COMMENT
        }
    except (tokenize.TokenError, SyntaxError) as e:
        raise _not_python(name, e) from e


def _not_python(name: str, error: Exception) -> BakeRefused:
    said, place = (error.args[0], error.args[1][0]) if isinstance(error, tokenize.TokenError) else (error, 0)
    where = f", line {place}" if place else ""
    return BakeRefused("invalid_python", f"{name}{where}: not valid Python ({said}): mend it first")


def bake(source: Source, fields: Mapping[str, object]) -> tuple[str, list[str]]:
    text, name, language = source.text, source.name, Language(source.suffix)
    block = one_block(find_blocks(text, language, name), name)
    if block is not None:
        if same_values(block.fields, fields):
            return text, []
        eol = eol_of(text, block.start) or "\n"
        said = marked_text(fields, language.leader, eol)
        ended = text[: block.end].endswith("\n")
        return Edit(block.start, block.end, said if ended else said[: -len(eol)]).apply(text), []
    _check_end(text, language, name)
    return text + _addition(text, language, fields), []


def _addition(text: str, language: Language, fields: Mapping[str, object]) -> str:
    eol = eol_before(text, len(text))
    said = marked_text(fields, language.leader, eol)
    if text in ("", BOM):
        return said
    if text.endswith("\n"):
        return eol * language.blank_lines + said
    return eol * (language.blank_lines + 1) + said[: -len(eol)]


def _check_end(text: str, language: Language, name: str) -> None:
    """Refuse an end behind which a comment would not be one."""
    if _is_continued(text, language):
        raise BakeRefused("line_continuation_at_eof", f"{name} ends in a line continuation: end its last line")
    if _is_notebook(text, language, name):
        raise BakeRefused("notebook", f"{name} is a notebook as text: a block would be part of its last cell")
    if language.suffix in (".pl", ".rb") and has_open_pod(text):
        raise BakeRefused("payload_section", f"{name} ends in documentation: close it with =cut, or =end in Ruby")
    if language.suffix in _WITH_PAYLOAD:
        opened = heredocs(text, language.suffix)
        if opened.open_word is not None:
            raise BakeRefused("unterminated_heredoc", f"{name} ends inside the here-document {opened.open_word!r}")
        for found in _PAYLOAD.finditer(text):
            if found[1] not in opened.words:
                line = text.count("\n", 0, found.start()) + 1
                raise BakeRefused("payload_section", f"{name}, line {line}: data stands behind {found[1]}, to the end")


def _is_continued(text: str, language: Language) -> bool:
    last = text.rstrip("\r\n").rpartition("\n")[2]
    slashes = len(last) - len(last.rstrip("\\"))
    return slashes % 2 == 1 and not last.lstrip().startswith(language.leader)


def _is_notebook(text: str, language: Language, name: str) -> bool:
    if language.suffix not in _AS_NOTEBOOK:
        return False
    cells = [found.start() for found in _NOTEBOOK.finditer(text)]
    return bool(cells) and (not language.is_python or not _python_comments(text, name).isdisjoint(cells))


def strip(source: Source) -> str:
    text, name, language = source.text, source.name, Language(source.suffix)
    block = one_block(find_blocks(text, language, name), name)
    if block is None:
        return text
    start = block.start
    for _ in range(language.blank_lines):
        before = line_start(text, start - 1) if start else start
        if before == start or text[before:start] not in ("\n", "\r\n"):
            break
        start = before
    return remove_lines(text, start, block.end).apply(text)


def read(source: Source) -> dict[str, object] | None:
    block = one_block(find_blocks(source.text, Language(source.suffix), source.name), source.name)
    return block.fields if block else None


def check_python(old: bytes, new: bytes, name: str) -> list[str]:
    """Refuse a result that is another module than before; return a warning where this Python cannot read it."""
    after = _compiled(new)
    if after is not None and new.startswith(old):
        return []  # comments behind a whole module: a string or bracket left open would not have compiled
    before = _compiled(old)
    if before is None and after is None:
        return _check_tokens(old, new, name)
    if before is None or after is None or not _same_module(before, after, old, new):
        raise BakeRefused("changed_elsewhere", f"{name}: a block here would change the module, so nothing was written")
    return []


def _compiled(source: bytes) -> CodeType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return compile(source, "item", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


def _same_module(before: CodeType, after: CodeType, old: bytes, new: bytes) -> bool:
    """Code behind a block that grew has other line numbers, and is the same all the same."""
    if before == after:
        return True
    import ast

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.dump(ast.parse(old)) == ast.dump(ast.parse(new))


def _check_tokens(old: bytes, new: bytes, name: str) -> list[str]:
    """Hold what this Python cannot compile to its tokens: an item may be written for a newer one."""
    try:
        same = _tokens(old) == _tokens(new)
    except (tokenize.TokenError, SyntaxError, ValueError) as e:
        raise _not_python(name, e) from e
    if not same:
        raise BakeRefused("changed_elsewhere", f"{name}: a block here would change the module, so nothing was written")
    return [f"{name}: this Python cannot compile it; its tokens are unchanged"]


def _tokens(source: bytes) -> list[tuple[int, str]]:
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING)
    return [(t.type, t.string) for t in tokenize.tokenize(io.BytesIO(source).readline) if t.type not in layout]
