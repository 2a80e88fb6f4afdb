"""The laws of the bake over generated files, and over bytes that nobody would write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bake_readers import EXTRAS, FIELDS, LATER, assert_readers_agree, assert_same_fields, inserted
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused

ITEMS = Path(__file__).parent / "data" / "bake" / "items"
MARKDOWN = ["item.md", "item.mdx", "item.mdc", "item.qmd", "SKILL.md"]
SCRIPT_NAMES = ["item.sh", "item.bash", "item.rb", "item.pl", "item.r", "item.sql", "item.lua"]
SCRIPT_NAMES += ["item.ts", "item.tsx", "item.js", "item.jsx", "item.mjs", "item.cjs"]
NAMES = [
    *MARKDOWN,
    *SCRIPT_NAMES,
    "item.yaml",
    "item.yml",
    "manifest.yaml",
    "item.py",
    "item.pyi",
    "item.toml",
    "item.json",
]
NAMES += ["item.txt", "README", ""]
ADDED = b"# header added by rye-telemetry"
MARKS = ["# >>> rye-telemetry >>>", "# <<< rye-telemetry <<<", "# telemetry:", "#   total_runs: 3"]


def law(examples):
    """The same examples on every machine, and no clock: a slow runner is not a broken law."""
    return settings(
        max_examples=examples // 2,  # deterministic, so more of the same find nothing new
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def assert_lawful(name, old, fields=FIELDS):
    new = bake_bytes(old, name, fields).data
    inserted(old, new)
    again = bake_bytes(new, name, fields)
    assert (again.data, again.changed) == (new, False)
    assert strip_bytes(new, name).data == old
    assert_same_fields(read_bytes(new, name), fields)
    assert_readers_agree(name, old, new, fields)
    later = bake_bytes(new, name, LATER).data
    assert later == bake_bytes(old, name, LATER).data
    assert strip_bytes(later, name).data == old


def assert_lawful_or_refused(name, old):
    """For any bytes at all: an unlawful bake, and any exception but a refusal, fails."""
    had = only_refuses(read_bytes, old, name)
    baked, stripped = only_refuses(bake_bytes, old, name, FIELDS), only_refuses(strip_bytes, old, name)
    if baked is None:
        return
    new = baked.data
    again = bake_bytes(new, name, FIELDS)
    assert (again.data, again.changed) == (new, False)
    if had is None:
        assert_same_fields(read_bytes(new, name), FIELDS)
        inserted(old, new)
        assert_readers_agree(name, old, new, FIELDS)
        if (
            ADDED not in old
        ):  # of a header of ours whose block someone took out, nothing says that it was not there before
            assert stripped.data == old
            assert strip_bytes(new, name).data == old
    else:
        bare = only_refuses(strip_bytes, new, name)
        assert (bare and bare.data) == (stripped and stripped.data)


def only_refuses(work, *arguments):
    try:
        return work(*arguments)
    except BakeRefused:
        return None


# -- lines and their ends


def ended(draw, lines, *, final=True):
    """The lines as bytes, each with an end of its own, the last one perhaps without."""
    ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"]]))
    chosen = [draw(st.sampled_from(ends)) if len(ends) > 1 else ends[0] for _ in lines]
    if chosen and not final and draw(st.booleans()):
        chosen[-1] = ""
    return "".join(map("".join, zip(lines, chosen, strict=True))).encode()


def some(pieces, *, least=0, most=5):
    """Some of the pieces, each at most once: they define keys or names."""
    return st.lists(st.sampled_from(pieces), min_size=least, max_size=most, unique=True)


def flat(pieces):
    return [line for piece in pieces for line in piece.split("\n")]


# -- YAML and headers

ENTRIES = [
    "plain: x",
    "spaced:    x   # comment",
    "'single': 'it''s'",
    '"double": "a\\tb: c"',
    "empty:",
    "tilde: ~",
    "number: 1.10",
    "octal: 0755",
    "norway: no",
    "on: push",
    "day: 2024-01-02",
    "no_day: 2024-02-30",
    "time: 12:30:45",
    "nan: .nan",
    "url: http://a.b/c#d",
    "list:\n- a\n-   b",
    "deep:\n    list:\n        - x: 1\n          y: 2",
    "flow: [a, {b: c}, 'd']",
    "wide: {a: 1,\n  b: [1,\n    2]}",
    "wrapped: one\n  two\n\n  three",
    'quoted: "one\n\n  two \\\n  three"',
    "apostrophe: 'one\n\n  # two'",
    "literal: |\n  text\n   more",
    "folded: >-\n  text\n\n  more",
    "kept: |+\n  text\n\n",
    "indicated: |2-\n    text",
    "bare_literal: |",
    "nested:\n  last: |\n    text",
    "anchor: &a {x: 1}\nalias: *a\nmerged:\n  <<: *a",
    "base: &b\n  telemetry: 1",
    "? explicit\n: value",
    "? alone",
    "[p, q]: r",
    "tagged: !custom x",
    "binary: !!binary aGk=",
    "名前: 値",
    "emoji: 😀",
    'separators: "a\u2028b"',
    "outer:\n  telemetry:\n    total_runs: 3",
    "shown: |\n  telemetry:\n    total_runs: 3",
    "marks: |\n  # >>> rye-telemetry >>>\n  # telemetry:\n  #   total_runs: 3\n  # <<< rye-telemetry <<<",
    "x-telemetry: 1",
    "# comment",
    "# telemetry:",
    "  # indented comment",
    "",
    "   ",
]
INVALID = ["description: Use when: a, b", "globs: *.py", "hint: [a] | --b", "model: {{ model }}", "quote: 'a' b"]
BODIES = [
    "# Title",
    "---",
    "...",
    "telemetry: text",
    "```yaml",
    "```",
    "```xml",
    '<directive name="a">',
    "</directive>",
    "<!-- rye:signed:2026-01-01T00:00:00Z:aa:bb:cc -->",
    "<!--",
    "-->",
    "  total_runs: 3",
    "# header added by rye-telemetry",
    "",
    "    code",
    "text   ",
    "| a | b |",
    "+++",
    *MARKS,
]
COMMENTS = ["", "   ", "<!-- one -->", "<!-- a --><!-- b -->", "<!--\ntwo: lines\n-->", "<!--\n---\nx: 1\n---\n-->"]
SIGNED = ["<!-- rye:signed:2026-01-01T00:00:00Z:aa:bb:cc -->", f"<!-- ryeos:signed:T:H:S:{'0' * 64} -->"]


@st.composite
def headed_markdown(draw, *, invalid=False):
    entries = flat(draw(some(ENTRIES)))
    if invalid:
        entries = [*flat(draw(some(ENTRIES[:20], most=3))), draw(st.sampled_from(INVALID)), *entries[:0]]
    fence = draw(st.sampled_from(["---", "---  "]))
    lines = [*flat(draw(some(COMMENTS, most=3))), fence, *entries, draw(st.sampled_from(["---", "---\t"]))]
    lines += draw(st.lists(st.sampled_from(BODIES), max_size=6))
    mark = b"\xef\xbb\xbf" * draw(st.booleans())
    return mark + ended(draw, lines, final=False)


@st.composite
def fenced_markdown(draw):
    lines = [draw(st.sampled_from(SIGNED)), *[""] * draw(st.integers(0, 2)), "```yaml", "id: k"]
    lines += [*flat(draw(some(ENTRIES))), "```", *draw(st.lists(st.sampled_from(BODIES), max_size=6))]
    return ended(draw, lines, final=False)


@st.composite
def bare_markdown(draw):
    first = st.sampled_from(["# Title", "text", "* * *", "Heading\n---", "<p>", "------", "    ---", "🎉"])
    lines = [*[""] * draw(st.integers(0, 2)), *draw(first).split("\n")]
    return ended(draw, [*lines, *draw(st.lists(st.sampled_from(BODIES), max_size=6))], final=False)


@st.composite
def whole_yaml(draw):
    lines = draw(st.sampled_from([[], ["# top", ""], ["---"], ["%YAML 1.1", "---"], ["# c", "--- # start"]]))
    lines = [*lines, "first: 1", *flat(draw(some(ENTRIES)))]
    lines += draw(
        st.sampled_from([[], [], ["---", "b: 2"], ["..."], ["...", "# end"], ["---", "- telemetry: 1", "---"]])
    )
    mark = b"\xef\xbb\xbf" * draw(st.booleans())
    return mark + ended(draw, lines, final=False)


@law(150)
@given(headed_markdown(), st.sampled_from(["item.md", "item.mdc", "SKILL.md"]))
def test_a_header_of_any_shape_is_baked_lawfully(old, name):
    assert_lawful(name, old)


@law(60)
@given(headed_markdown(invalid=True), st.sampled_from(["item.md", "SKILL.md"]))
def test_a_header_that_is_not_yaml_is_baked_lawfully(old, name):
    assert_lawful(name, old)


@law(60)
@given(fenced_markdown())
def test_a_fenced_header_is_baked_lawfully(old):
    assert_lawful("item.md", old)


@law(60)
@given(bare_markdown())
def test_markdown_without_a_header_is_baked_lawfully(old):
    assert_lawful("item.md", old)


@law(150)
@given(whole_yaml(), st.booleans())
def test_a_yaml_file_of_any_shape_is_baked_lawfully(old, signed):
    signature = f"# ryeos:signed:T:H:S:{'0' * 64}\n".encode()
    assert_lawful("item.yaml", signature + old if signed and not old.startswith(b"\xef\xbb\xbf") else old)


# -- code

STATEMENTS = [
    "import os",
    "x = 1",
    "def f(a, *, b=2):\n    return a",
    "class A:\n\n    y: int = 1",
    "if True:\n\tz = 3",
    "s = '''a\n# >>> rye-telemetry >>>\n'''",
    't = """\n' + "\n".join(MARKS[:1] + MARKS[2:] + MARKS[1:2]) + '\n"""',
    "v = f'{x if 0 else 1!r:>{10}}'",
    "w = (1,\n\n     2)",
    "u = 1 + \\\n    2",
    "r = r'\\d'",
    "match = 1",
    "async def g():\n    await h()",
    "x = 'a\x0bb\u2028c'",
    "\x0c",
    "# comment",
    "# C:\\temp",
    "    # indented comment",
    "# /// script\n# dependencies = []\n# ///",
    "# fmt: off",
    "x = 1; y = 2;",
    "if __name__ == '__main__':\n    f(1)",
    "",
    "   ",
]
STARTS = [
    [],
    ["#!/usr/bin/env python3"],
    ["# -*- coding: utf-8 -*-"],
    ["#!/usr/bin/python", "# rye:signed:T:H:S:K"],
    ['"""Doc."""', "from __future__ import annotations"],
    ["'''Doc.", "", "more'''"],
]
SCRIPTS = {
    "item.sh": [
        "echo a",
        "cat <<EOF\nb\nEOF",
        "cat <<-'X'\n\tc\n\tX",
        "cat <<A\n" + "\n".join(MARKS) + "\nA",
        "x=$((1<<2))",
        "exec y",
    ],
    "item.js": [
        "a()",
        "const t = `\n<b>${c}</b>\n`",
        "x = /[`'\"]/",
        "'use strict'",
        "/* block\n*/",
        "//# sourceMappingURL=a",
    ],
    "item.tsx": ["export const A = () => <a>// x</a>", "/// <reference types='node' />", "let s = 'it\\'s'"],
    "item.sql": ["select 1;", "select '-- no' as x;", "create function f() as $$\n  -- one\n$$;", "/* c */", "from t"],
    "item.lua": ["x = 1", "s = [[\nlong\n]]", "--[[ c\n]]", "return x"],
    "item.rb": ["puts 1", "=begin\nc\n=end", "def f = 1", "x = <<~T\n  y\nT"],
    "item.pl": ["print 1;", "=head1 N\n\nt\n\n=cut", "1;"],
    "item.r": ["x <- 1 # c", "f <- function(y) {\n  y\n}"],
}
TABLES = [
    "[a]\nb = 1",
    '[c]\nd = """\n# text\n"""',
    "[e]\nf = '''\n" + "\n".join(MARKS) + "\n'''",
    "[[g]]\nh = [1, # one\n  2]",
    "[telemetry]\non = true",
    "[i]\n'j k' = 1979-05-27",
    "# comment",
    "",
]


@law(120)
@given(st.data())
def test_a_module_of_any_statements_is_baked_lawfully(data):
    lines = [*data.draw(st.sampled_from(STARTS)), *flat(data.draw(st.lists(st.sampled_from(STATEMENTS), max_size=6)))]
    assert_lawful("item.py", ended(data.draw, lines, final=False))


@law(30)
@given(st.data(), st.sampled_from(["latin-1", "cp1252", "euc-jp", "shift_jis", "koi8-r", "gbk", "big5"]))
def test_a_module_in_any_encoding_is_baked_lawfully(data, encoding):
    text = data.draw(st.sampled_from({"latin-1": "éß", "cp1252": "€", "koi8-r": "Ж"}.get(encoding, "中木")))
    lines = [f"# coding: {encoding}", f"x = '{text}'", *data.draw(some(["y = 1", "# c"]))]
    bytes_ = ended(data.draw, lines, final=False).decode().encode(encoding)
    assert_lawful("item.py", bytes_)


@law(120)
@given(st.data(), st.sampled_from(sorted(SCRIPTS)))
def test_a_script_of_any_pieces_is_baked_lawfully(data, name):
    pieces = data.draw(st.lists(st.sampled_from([*SCRIPTS[name], ""]), max_size=6))
    assert_lawful(name, script(data.draw, pieces))


def script(draw, pieces):
    """With one line end for all: mixed ones end no here-document, in any shell."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(flat(pieces)) + end * draw(st.integers(0, 2))
    return text.encode()


@law(60)
@given(st.data())
def test_a_toml_file_of_any_tables_is_baked_lawfully(data):
    lines = flat(data.draw(some(TABLES)))
    assert_lawful("item.toml", ended(data.draw, lines, final=False))


# -- JSON

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("telemetry"), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8).filter(lambda key: key != "telemetry"), values, max_size=4)


@law(150)
@given(st.data(), objects, st.booleans(), st.sampled_from([None, 0, 1, 2, 4, "\t", "   "]))
def test_a_json_object_of_any_style_is_baked_lawfully(data, value, plain, indent):
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]))
    text = json.dumps(value, ensure_ascii=plain, indent=indent, separators=separators)
    space = st.sampled_from(["", "\n", " ", "\r\n", "\t", "\n\n"])
    text = data.draw(space) + text.replace("\n", data.draw(st.sampled_from(["\n", "\r\n"]))) + data.draw(space)
    if "\\ud" not in text:  # a lone surrogate cannot be written as itself
        text = text.encode("utf-8", "replace").decode()
    mark = b"\xef\xbb\xbf" * data.draw(st.booleans())
    assert_lawful("item.json", mark + text.encode())


# -- anything at all


@law(300)
@given(st.binary(max_size=60), st.sampled_from(NAMES))
@example(b"", "")
@example(b"\xef\xbb\xbf", "item.py")
@example(b"\xef\xbb\xbf", "item.yaml")
@example(b"\xef\xbb\xbf\xef\xbb\xbf---\n---\n", "item.md")
def test_any_bytes_are_baked_lawfully_or_refused(old, name):
    assert_lawful_or_refused(name, old)


PIECES = [
    *BODIES,
    *INVALID,
    *MARKS,
    *flat(ENTRIES),
    *flat(STATEMENTS),
    *flat(TABLES),
    "{",
    "}",
    "\\",
    "\r",
    "\x85",
    "\u2028",
]
PIECES += [
    "<<EOF",
    "EOF",
    "__END__",
    "'''",
    '"""',
    "`",
    '"telemetry": {"total_runs": 3}',
    ",",
    "telemetry:",
    "telemetry: {}",
    "  total_runs: 4",
]


@law(500)
@given(st.data(), st.sampled_from(NAMES))
def test_any_lines_are_baked_lawfully_or_refused(data, name):
    lines = data.draw(st.lists(st.sampled_from(PIECES), max_size=12))
    assert_lawful_or_refused(name, ended(data.draw, lines, final=False))


@law(200)
@given(
    st.text(
        st.characters(codec="utf-8", categories=["Cc", "Zs", "Zl", "Zp", "Ps", "Pe", "Po", "Lu", "Nd"]), max_size=40
    ),
    st.sampled_from(NAMES),
)
def test_any_text_is_baked_lawfully_or_refused(text, name):
    assert_lawful_or_refused(name, text.encode())


CORPUS = [path for path in sorted(ITEMS.rglob("*")) if path.is_file() and path.stat().st_size < 4000]


@law(400)
@given(st.data(), st.sampled_from(CORPUS))
def test_a_damaged_item_is_baked_lawfully_or_refused(data, path):
    name, old = path.name.removesuffix(".baked"), bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(old)))
        stop = data.draw(st.integers(start, min(len(old), start + 20)))
        piece = data.draw(
            st.sampled_from(
                [b"", b"\n", b"\r\n", b" ", b"\t", b"'", b'"', b"#", b":", b"---\n", b"\\", bytes(old[start:stop]) * 2]
            )
        )
        old[start:stop] = piece
    assert_lawful_or_refused(name, bytes(old))


DEEP = 20_000
HUGE = {
    "brackets.json": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "braces.json": b'{"a": ' * DEEP + b"1" + b"}" * DEEP,
    "digits.json": b'{"a": ' + b"9" * DEEP + b"}",
    "brackets.yaml": b"a: " + b"[" * DEEP + b"]" * DEEP + b"\n",
    "digits.yaml": b"a: " + b"9" * DEEP + b"\n",
    "dashes.yaml": b"a:\n " + b"- " * DEEP + b"b\n",
    "bomb.yaml": b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60)),
    "loop.yaml": b"a: &a [*a]\n",
    "bomb.md": b"---\na0: &a0 [x]\n"
    + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))
    + b"---\n",
    "brackets.md": b"---\na: " + b"[" * DEEP + b"\n---\n",
    "parentheses.py": b"x = " + b"(" * DEEP + b")" * DEEP + b"\n",
    "minus.py": b"x = " + b"-" * DEEP + b"1\n",
    "digits.py": b"x = " + b"9" * DEEP + b"\n",
    "lines.py": b"x = 1\n" * DEEP,
    "comments.md": b"<!-- " * DEEP,
    "closed_comments.md": b"<!-- -->" * DEEP,
    "blank.md": b"\n" * DEEP + b"---",
    "spaces.md": b" " * DEEP + b"x\n" + b" " * DEEP,
    "ticks.md": b"`" * DEEP,
    "quotes.js": b"`${" * DEEP,
    "heredocs.sh": b"cat <<A " * DEEP,
    "marks.sh": b"# >>> rye-telemetry >>>\n" * DEEP,
}


@pytest.mark.parametrize("name", HUGE)
def test_depth_and_length_are_baked_or_refused_in_time(name):
    """A twentieth of a megabyte at most: anything that takes time with its square, or recurses, is felt here."""
    import time

    started = time.process_time()
    try:
        baked = bake_bytes(HUGE[name], name, FIELDS).data
        assert strip_bytes(baked, name).data == HUGE[name]
    except BakeRefused:
        pass
    assert time.process_time() - started < 3


# -- the block itself

ODD_NUMBERS = [0, 1, 10**15, 0.00001, 1e22, 100000000000.0, 1e-7, 0.1 + 0.2, 1.0, 123456789.123]
CARRIERS = ["item.md", "SKILL.md", "item.yaml", "item.py", "item.sh", "item.ts", "item.sql", "item.toml", "item.json"]
BARE = {"item.md": b"---\na: 1\n---\n", "SKILL.md": b"---\na: 1\n---\n", "item.json": b"{}", "item.yaml": b"a: 1\n"}


@pytest.mark.parametrize("name", CARRIERS)
@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_numbers_are_written_without_exponents_and_read_back_equal(name, number):
    fields = FIELDS | {"avg_duration_ms": number}
    old = BARE.get(name, b"")
    new = bake_bytes(old, name, fields).data
    written = inserted(old, new)
    assert written.isascii()
    value = written.split(b"avg_duration_ms")[1].replace(b'"', b"").split(b":")[1].split(b"\n")[0].split(b",")[0]
    assert b"e" not in value.lower()
    assert_same_fields(read_bytes(new, name), fields)
    assert strip_bytes(new, name).data == old
    assert_readers_agree(name, old, new, fields)


@pytest.mark.parametrize("name", CARRIERS)
def test_extras_come_after_the_six_in_their_order(name):
    new = bake_bytes(BARE.get(name, b""), name, dict(reversed((FIELDS | EXTRAS).items()))).data
    places = [new.index(field.encode()) for field in FIELDS | EXTRAS]
    assert places == sorted(places)
