"""Where strings of several lines stand in programs, roughly: enough to know that a mark in one is no comment."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

# What matters in shell: between commands, and between double quotes, where commands may stand again.
# What nothing closes goes on to the end: looked for from each place anew, it would take the square of the time.
_SHELL = re.compile(
    r"(?:^|(?<=[\s;&|()]))#[^\n]*|(?<!<)<<(?P<dash>-?)[ \t]*(?P<word>(?:'[^'\n]*'|\"[^\"\n]*\"|\\[^\n]|[^\s;&|()<>'\"\\])+)"
    r"|\$?\(\([^\n]{0,80}?\)\)|\$'(?:\\.|[^'\\])*'|'[^']*'|\\.|(?P<open>[\"(])|(?P<close>\))|(?P<line>\n)",
    re.DOTALL | re.MULTILINE,
)
_QUOTED = re.compile(r"\\.|\$\(\([^\n]{0,80}?\)\)|(?P<open>\$\()|(?P<close>\")|(?P<line>\n)(?!)", re.DOTALL)
# In Ruby and Perl a blank behind `<<` makes it a shift.
_SCRIPT = re.compile(
    r"(?:^|(?<=\s))#[^\n]*|<<(?P<dash>[~-]?)(?P<word>'[^'\n]+'|\"[^\"\n]+\"|[A-Z_][A-Z0-9_]*)"
    r"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|\\.|(?P<open>(?!))|(?P<close>(?!))|(?P<line>\n)",
    re.DOTALL | re.MULTILINE,
)
_JAVASCRIPT = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`"
    r"|(?:^|(?<=[(,=:\[!&|?{};\s]))/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/",
    re.DOTALL,
)
_LUA = re.compile(
    r"--\[(=*)\[.*?(?:\]\1\]|\Z)|\[(=*)\[.*?(?:\]\2\]|\Z)|--[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_SQL = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:''|[^'])*'|\"[^\"]*\"|\$(\w*)\$.*?(?:\$\1\$|\Z)", re.DOTALL)
_TOML = re.compile(r"#[^\n]*|\"\"\"(?:\\.|[^\\])*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'", re.DOTALL)
_R = re.compile(
    r"#[^\n]*|[rR]([\"'])(-*)\(.*?(?:\)\2\1|\Z)|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`[^`\n]*`", re.DOTALL
)
_PATTERNS = {".lua": _LUA, ".sql": _SQL, ".toml": _TOML, ".r": _R}
_WITH_HEREDOCS = {".sh": _SHELL, ".bash": _SHELL, ".rb": _SCRIPT, ".pl": _SCRIPT}
_QUOTES = re.compile(r"['\"\\]")  # around a here-document's word, or in it
_POD = re.compile(
    r"^=(?:begin|pod|head\d|over|item|back|for|encoding)\b.*?(?:^=(?:cut|end)\b[^\n]*$|\Z)", re.DOTALL | re.MULTILINE
)
_POD_END = re.compile(r"^=(?:cut|end)\b", re.MULTILINE)


class Heredocs(NamedTuple):
    """Where here-documents and strings of several lines stand, and what ends them; `bodies` are here-documents alone."""

    bodies: list[tuple[int, int]]
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
    open_word = reading.read()
    return Heredocs(reading.bodies, reading.spans, reading.words, open_word)


class _Reading:
    """One pass over a program; `within` holds what is open: quotes, with where they began, and brackets."""

    def __init__(self, text: str, pattern: re.Pattern[str], pods: list[tuple[int, int]]) -> None:
        self.text = text
        self.pattern = pattern
        self.pods = pods
        self.pod_starts = [start for start, _ in pods]
        self.spans = list(pods)
        self.bodies: list[tuple[int, int]] = []
        self.words: set[str] = set()
        self.within: list[tuple[str, int]] = []

    def read(self) -> str | None:
        """Return the word of a here-document that the end of the text ends, None for none."""
        waiting: list[re.Match[str]] = []
        at = 0
        while match := self._pattern_here().search(self.text, at):
            at = match.end()
            place = bisect_right(self.pod_starts, match.start()) - 1
            if place >= 0 and match.start() < self.pods[place][1]:
                at = self.pods[place][1]
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
        word = _QUOTES.sub("", begun["word"])
        last = re.compile(rf"^{indent}{re.escape(word)}\r?(?:\n|\Z)", re.MULTILINE)
        found = last.search(self.text, at)
        end = found.end() if found else len(self.text)
        self.words.add(word)
        self.spans.append((at, end))
        self.bodies.append((at, end))
        return end if found else -1


def _pods(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _POD.finditer(text)]


def has_open_pod(text: str) -> bool:
    """Say whether documentation that nothing closes goes on to the end of a Perl or Ruby program."""
    pods = _pods(text)
    return bool(pods) and pods[-1][1] == len(text) and _POD_END.search(text, pods[-1][0]) is None
