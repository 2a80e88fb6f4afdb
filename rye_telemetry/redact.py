"""Redaction: whatever text is recorded passes here before it is written, never after.

Known shapes of secrets, values beside a name that says secret, credentials in URLs, mail addresses and the home directory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import Any

REDACTED = "[redacted]"
_SHORT = 16  # no known secret is shorter, unless a sign stands in it that a plain name has not
_SIGNS = frozenset("@:=/ \t\n")
_DEEPEST = 20
_SECRET_NAMES = (
    r"pass(?:wor[dt]|wd|phrase)s?|pwd|secrets?|tokens?|api[_-]?keys?|access[_-]?keys?|private[_-]?keys?|account[_-]?key"  # noqa: S105 (names)
    r"|client[_-]?secret|credentials?|auth|authori[sz]ation|bearer|cookie"
)
# A count of tokens is no token: names that a number or a plain word follows in ordinary talk need a sign of assignment.
MAX_REDACTED = 8192  # characters looked at; what is longer was not written by a person, and is cut
_patterns: list[tuple[re.Pattern[str], str]] = []


def redact_text(text: str, *, home: str = "") -> str:
    """Return the text with secrets and mail addresses taken out, and `home` as `~`."""
    if len(text) < _SHORT and _SIGNS.isdisjoint(text):
        return text
    if len(text) > MAX_REDACTED:
        space = text.rfind(" ", MAX_REDACTED - 500, MAX_REDACTED)  # a secret that the cut would halve goes whole
        text = text[: space if space > 0 else MAX_REDACTED] + " …"
    for pattern, replacement in _patterns or _compile():
        text = pattern.sub(replacement, text)
    if len(home) > 1:
        text = _home_pattern(home).sub("~", text)
    return text


def redact_named(name: str, value: str, *, home: str = "") -> str:
    """Return the value that stands under a name: nothing of it when the name says that it is secret."""
    return REDACTED if is_secret_name(name) else redact_text(value, home=home)


def is_secret_name(name: str) -> bool:
    """Say whether what stands under this name is a secret: `password`, `db.api-key`, `accessToken`; not `max_tokens`."""
    import re

    last = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name[-100:])
    return re.search(rf"(?i)(?:^|[_.-])(?!tokens)(?:{_SECRET_NAMES})$", last) is not None


def redact_json(value: Any, *, home: str = "", depth: int = 0) -> Any:
    """Return a JSON value with every text in it redacted; what is nested deeper than twenty levels is left out."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return redact_text(value, home=home)
    if isinstance(value, list):
        return [redact_json(part, home=home, depth=depth + 1) for part in value]
    if isinstance(value, dict):
        return {
            redact_text(str(name), home=home): REDACTED
            if is_secret_name(str(name)) and not isinstance(part, bool)
            else redact_json(part, home=home, depth=depth + 1)
            for name, part in value.items()
        }
    return value


def _compile() -> list[tuple[re.Pattern[str], str]]:
    import re

    shapes = (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{30,}\b",
        r"\bgithub_pat_[A-Za-z0-9_]{30,}\b",
        r"\bglpat-[A-Za-z0-9_-]{16,}",
        r"\bxox[abposr]-[A-Za-z0-9-]{10,}",
        r"\b[sr]k-(?:[a-z]+-)*[A-Za-z0-9_-]{16,}",
        r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
        r"\bAIza[0-9A-Za-z_-]{30,}",
        r"\bya29\.[0-9A-Za-z_-]{20,}",
        r"\bnpm_[A-Za-z0-9]{30,}",
        r"\bhf_[A-Za-z0-9]{20,}",
        r"\bpypi-[A-Za-z0-9_-]{30,}",
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    )
    _patterns.extend((re.compile(shape, re.DOTALL), REDACTED) for shape in shapes)
    scheme = r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}://)[^\s@]{1,500}@"
    _patterns.append((re.compile(scheme), rf"\1{REDACTED}@"))
    _patterns.append((re.compile(r"(?i)\b(bearer|basic|apikey)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {REDACTED}"))
    value = r"""(?:"[^"]*"|'[^']*'|[^\s"',;&]+)"""
    named = rf"""(?i)((?:{_SECRET_NAMES})["']?\s{{0,3}}[=:]\s{{0,3}}){value}"""
    _patterns.append((re.compile(named), rf"\1{REDACTED}"))
    option = rf"(?i)((?<![a-z-])--?[a-z-]{{0,40}}?(?:{_SECRET_NAMES})\s{{1,3}}){value}"
    _patterns.append((re.compile(option), rf"\1{REDACTED}"))
    mail = r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,}\b"
    _patterns.append((re.compile(mail), "[email]"))
    return _patterns


def _home_pattern(home: str) -> re.Pattern[str]:
    import re

    return re.compile(re.escape(home.rstrip("/\\")) + r"(?![\w.-])")
