"""What a directive declares about itself, and its text with the inputs filled in. Shapes: docs/items.md."""

from __future__ import annotations

import re

from rye_telemetry.errors import ItemNotRunnable
from rye_telemetry.items.params import Declared, declared_inputs, given_values, text_of
from rye_telemetry.items.yaml_read import read_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# As in RYE: {input:name}, {input:name?} (empty when not given), {input:name:default} and {input:name|default}.
# Characters in which inputs are declared; searching a text made to be slow in takes time with its square.
MAX_DECLARATION = 64 * 1024
_PLACEHOLDER = re.compile(r"\{input:([\w-]+)(\?|[:|][^{}\r\n]*)?\}")
_COMMENT = re.compile(r"[ \t\r\n]*<!--")
_BLANK_LINES = re.compile(r"(?:[ \t]*\r?\n)*")
_FENCE = re.compile(r"^(`{3,})[ \t]*(yaml|xml)[ \t]*\r?\n(.*?)^\1`*[ \t]*\r?$", re.MULTILINE | re.DOTALL)
_INPUTS_KEY = re.compile(r"""^["']?inputs["']?[ \t]*:""", re.MULTILINE)
_INPUTS_ELEMENT = re.compile(r"<inputs\s*>(.*?)</inputs\s*>", re.DOTALL)
_INPUT_ELEMENT = re.compile(r"""<input((?:\s+[\w.:-]+\s*=\s*(?:"[^"]*"|'[^']*'))+)\s*/?>""")
_ATTRIBUTE = re.compile(r"""([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def fill_directive(text: str, *, params: Mapping[str, object], item_id: str) -> str:
    """Return the text with every given or defaulted input filled in and no other character changed.

    A `{input:name}` that has no value stays as it stands. ParamsInvalid names every missing required input.
    """
    declared = read_inputs(text, item_id=item_id)
    names = [match[1] for match in _PLACEHOLDER.finditer(text)]
    values = given_values(params, declared, also_known=names, where=f"directive {item_id}")
    texts = {name: text_of(name, value) for name, value in values.items()}

    def filled(match: re.Match[str]) -> str:
        otherwise = match[2]
        if match[1] in texts:
            return texts[match[1]]
        return match[0] if otherwise is None else otherwise[1:]

    return _PLACEHOLDER.sub(filled, text)


def read_inputs(text: str, *, item_id: str) -> dict[str, Declared]:
    """Return the inputs that a directive declares in its YAML header, its RYE header or its RYE XML block.

    A header that is not valid YAML declares nothing, unless it has a key `inputs`: then ItemNotRunnable.
    """
    if "inputs" not in text:
        return {}
    body = text[_header_start(text) :]
    declared = dict(_xml_inputs(body))
    header = _yaml_header(body)
    if header is not None and "inputs" in header:
        declared.update(_yaml_inputs(header, f"directive {item_id}"))
    return declared


def _header_start(text: str) -> int:
    """Where a header may begin: behind a byte order mark, blank lines and comments such as signatures."""
    start = 1 if text.startswith("\ufeff") else 0
    while comment := _COMMENT.match(text, start):
        end = text.find("-->", comment.end())
        if end < 0:
            break
        start = end + 3
    blank = _BLANK_LINES.match(text, start)
    return blank.end() if blank else start


def _yaml_header(body: str) -> str | None:
    if body.startswith("---"):
        from frontmatter.default_handlers import YAMLHandler

        handler = YAMLHandler()
        if not handler.detect(body):
            return None
        try:
            return handler.split(body)[0]
        except ValueError:  # opened and never closed: all of it is text
            return None
    fence = _FENCE.match(body)
    return fence[3] if fence and fence[2] == "yaml" else None


def _yaml_inputs(header: str, where: str) -> dict[str, Declared]:
    try:
        tree = read_yaml(header, where=f"{where}: header")
    except ItemNotRunnable:
        if _INPUTS_KEY.search(header):
            raise
        return {}
    inputs = tree.get("inputs") if isinstance(tree, dict) else None
    return declared_inputs(inputs, where=f"{where}: inputs")


def _xml_inputs(body: str) -> Iterator[tuple[str, Declared]]:
    """Read by its tags alone: the text inside RYE's XML is often not well-formed."""
    body = body[:MAX_DECLARATION]
    blocks = [fence[3] for fence in _FENCE.finditer(body) if fence[2] == "xml"][:1]
    if body.startswith("<directive"):
        blocks.insert(0, body)
    for block in blocks:
        inputs = _INPUTS_ELEMENT.search(block)
        for element in _INPUT_ELEMENT.finditer(inputs[1] if inputs else ""):
            fields = {name: _unescaped(double or single) for name, double, single in _ATTRIBUTE.findall(element[1])}
            name = fields.get("name")
            if name:
                required = fields.get("required", "").lower() == "true"
                yield name, Declared(name, required=required, default=fields.get("default"))


def _unescaped(value: str) -> str:
    from html import unescape

    return unescape(value)
