"""Where strings of several lines stand in programs, roughly: enough to know that a mark in one is no comment."""

from __future__ import annotations

import re
from typing import NamedTuple

# What matters in shell: between commands, and between double quotes, where commands may stand again.
_SHELL = re.compile(
    r"(?:^|(?<=[\s;&|()]))#[^\n]*|(?<!<)<<(?P<dash>-?)[ \t]*(?P<quote>['\"\\]?)(?P<word>[A-Za-z_][\w.-]*)(?P=quote)?"
    r"|\$?\(\([^\n]*?\)\)|'[^']*'|\\.|(?P<open>[\"(])|(?P<close>\))|(?P<line>\n)",
    re.DOTALL | re.MULTILINE,
)
_QUOTED = re.compile(r"\\.|\$\(\([^\n]*?\)\)|(?P<open>\$\()|(?P<close>\")|(?P<line>\n)(?!)", re.DOTALL)
# In Ruby and Perl a blank behind `<<` makes it a shift.
_SCRIPT = re.compile(
    r"(?:^|(?<=\s))#[^\n]*|<<(?P<dash>[~-]?)(?P<quote>['\"]?)(?P<word>[A-Z_][A-Z0-9_]*)(?P=quote)"
    r"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|\\.|(?P<open>(?!))|(?P<close>(?!))|(?P<line>\n)",
    re.DOTALL | re.MULTILINE,
)
_JAVASCRIPT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", re.DOTALL)
_LUA = re.compile(
    r"--\[(=*)\[.*?\]\1\]|\[(=*)\[.*?\]\2\]|--[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)
_SQL = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:''|[^'])*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_TOML = re.compile(r"#[^\n]*|\"\"\"(?:\\.|[^\\])*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'", re.DOTALL)
_R = re.compile(r"#[^\n]*|[rR]([\"'])(-*)\(.*?\)\2\1|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`[^`\n]*`", re.DOTALL)
_PATTERNS = {".lua": _LUA, ".sql": _SQL, ".toml": _TOML, ".r": _R}
_WITH_HEREDOCS = {".sh": _SHELL, ".bash": _SHELL, ".rb": _SCRIPT, ".pl": _SCRIPT}
_POD = re.compile(
    r"^=(?:begin|pod|head\d|over|item|back|for|encoding)\b.*?(?:^=(?:cut|end)\b[^\n]*$|\Z)", re.DOTALL | re.MULTILINE
)
_POD_END = re.compile(r"^=(?:cut|end)\b", re.MULTILINE)


class Heredocs(NamedTuple):
    """Where here-documents and strings of several lines stand, and what ends them."""

    spans: list[tuple[int, int]]  # a here-document's with the line that ends it
    words: set[str]
    open_word: str | None  # of one that the end of the file ends


def multi_line_spans(text: str, suffix: str) -> list[tuple[int, int]]:
    """Return (start, end) of strings, comments and here-documents of more than one line."""
    if suffix in _WITH_HEREDOCS:
        return heredocs(text, suffix).spans
    pattern = _PATTERNS.get(suffix, _JAVASCRIPT)
    return [match.span() for match in pattern.finditer(text) if "\n" in match[0]]


def heredocs(text: str, suffix: str) -> Heredocs:
    """Read a shell, Ruby or Perl program from its first character on, as far as quotes and here-documents go."""
    reading = _Reading(text, _WITH_HEREDOCS[suffix], _pods(text) if suffix in (".rb", ".pl") else [])
    return Heredocs(reading.spans, reading.words, reading.read())


class _Reading:
    """One pass over a program; `within` holds what is open: quotes, with where they began, and brackets."""

    def __init__(self, text: str, pattern: re.Pattern[str], pods: list[tuple[int, int]]) -> None:
        self.text = text
        self.pattern = pattern
        self.pods = pods
        self.spans = list(pods)
        self.words: set[str] = set()
        self.within: list[tuple[str, int]] = []

    def read(self) -> str | None:
        """Return the word of a here-document that the end of the text ends, None for none."""
        waiting: list[re.Match[str]] = []
        at = 0
        while match := self._pattern_here().search(self.text, at):
            at = next((end for start, end in self.pods if start <= match.start() < end), match.end())
            if at != match.end():
                continue
            groups = match.groupdict()
            if groups.get("word"):
                waiting.append(match)
            elif groups["line"]:
                for begun in waiting:
                    at = self._pass_by(begun, at)
                    if at < 0:
                        return begun["word"]
                waiting = []
            elif groups["open"]:
                self.within.append((match[0], match.start()))
            elif groups["close"]:
                self._close(match.end())
            elif "\n" in match[0]:
                self.spans.append(match.span())
        return waiting[0]["word"] if waiting else None

    def _pattern_here(self) -> re.Pattern[str]:
        return _QUOTED if self.within and self.within[-1][0] == '"' else self.pattern

    def _close(self, at: int) -> None:
        if self.within:
            opened, begun = self.within.pop()
            if opened == '"' and "\n" in self.text[begun:at]:
                self.spans.append((begun, at))

    def _pass_by(self, begun: re.Match[str], at: int) -> int:
        """Return where the line behind a here-document's last one starts, -1 where there is none."""
        indent = "" if not begun["dash"] else r"\t*" if self.pattern is _SHELL else r"[ \t]*"
        last = re.compile(rf"^{indent}{re.escape(begun['word'])}\r?(?:\n|\Z)", re.MULTILINE)
        found = last.search(self.text, at)
        end = found.end() if found else len(self.text)
        self.words.add(begun["word"])
        self.spans.append((at, end))
        return end if found else -1


def _pods(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _POD.finditer(text)]


def has_open_pod(text: str) -> bool:
    """Say whether documentation that nothing closes goes on to the end of a Perl or Ruby program."""
    pods = _pods(text)
    return bool(pods) and pods[-1][1] == len(text) and _POD_END.search(text, pods[-1][0]) is None
