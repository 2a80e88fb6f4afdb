"""Texts made to hurt: each ends soon, in a bake that can be undone or in a refusal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused

FIELDS = {"total_runs": 3}
SIZE = 60_000
BLOCK = "# >>> rye-telemetry >>>\n# telemetry:\n#   total_runs: 3\n# <<< rye-telemetry <<<\n"

# Each took more than eight seconds, or the square of its length, in some version of ours.
SLOW = {
    "digest.md": "x: 1\n#digest:" + "a" * 1300 + " " * 2700 + "x\n",
    "comments.md": "<!-- rye:signed:a:b:c:d -->\n```xml\n" + "<!---->" * 200 + "x\n",
    "keys.md": "---\na: b: c\nname" + " " * SIZE + "x\n---\n",
    "merges.yaml": "a: &a {x: 1}\n" + "<<: *a\n" * 5000,
    "payload.sh": "__A" + "_" * SIZE + "x\n",
    "brackets.sh": "((" * SIZE + "\n",
    "comments.js": "/* " * SIZE + "\n// >>> rye-telemetry >>>\n",
    "comments.sql": "/* " * SIZE + "\n-- >>> rye-telemetry >>>\n",
    "brackets.lua": "[[" * SIZE + "\n-- >>> rye-telemetry >>>\n",
    "raw.r": 'r"-(' * SIZE + "\n# >>> rye-telemetry >>>\n",
    "pods.pl": "=pod\n\n=cut\n" * 5000 + "x 'y' z\n" * 5000,
    "blocks.sh": "x='\n" + BLOCK * 2000 + "'\n",
    "marks.py": "x = '''\n" + BLOCK * 1000 + "'''\n",
}


def lawful_or_refused(data, name):
    """Bake and strip; BakeRefused is an answer, anything else is not."""
    for call in (
        lambda: bake_bytes(data, name, FIELDS),
        lambda: strip_bytes(data, name),
        lambda: read_bytes(data, name),
    ):
        try:
            call()
        except BakeRefused:
            continue
    try:
        baked = bake_bytes(data, name, FIELDS).data
    except BakeRefused as e:
        return e.code
    assert strip_bytes(baked, name).data == strip_bytes(data, name).data
    return "baked"


@pytest.mark.parametrize("name", SLOW)
def test_a_text_made_to_be_slow_is_not(name):
    """They took minutes, or for ever; now the slowest takes a second."""

    def give_up(*_):
        raise AssertionError("it goes on and on")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, 60)
    try:
        lawful_or_refused(SLOW[name].encode(), name)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.yaml", "a: 1\ntelemetry: {{ telemetry }}\n", "foreign_telemetry"),
        ("a.md", "---\na: 1\ntelemetry: {{ telemetry }}\n---\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  total_runs: 1\n  last_run: 2026-02-30\n", "foreign_telemetry"),
        ("a.yaml", "telemetry: {total_runs: 1, last_run: 2026-01-01T00:00:00+99:99}\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  ? [a, b]\n  : 1\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  <<: 1\n  total_runs: 1\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  total_runs: =\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  total_runs: 0b_\n", "foreign_telemetry"),
        ("a.yaml", "telemetry:\n  total_runs: " + "1" * 5000 + "\n", "foreign_telemetry"),
        ("a.json", '{"telemetry": {"total_runs": ' + "1" * 5000 + "}}", "foreign_telemetry"),
        ("a.json", '{"a":' * 900 + "1" + "}" * 900, None),
        ("a.md", "---\n\ufefftitle: x\nb: |\n  2\ntelemetry: {total_runs: 1}\nz: 2\n---\n", None),
        ("a.md", "<!-- rye:signed:a:b:c --> text -->\n", "changed_elsewhere"),
        ("a.md", "<!-- rye:signed:2026-01-01T00:00:00Z:aa-->:bb:cc -->\n# T\n", "changed_elsewhere"),
    ],
)
def test_a_text_made_to_break_a_parser_is_refused_or_baked_whole(name, text, code):
    assert lawful_or_refused(text.encode(), name) == code or code is None


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        ("a.js", "const re = /`/;\n", "const t = `x`;\n"),
        ("a.js", "x.replace(/\\/*$/, '')\n", "/* more */\n"),
        ("a.js", "const s = `a ${ x ? `b` : '`' } c`;\n", "const t = `d`;\n"),
        ("a.sh", "echo $'it\\'s'\n", "echo 'a'\n"),
        ("a.sh", "case x in\n\\'*) ;;\nesac\ny=${x//\\\"/}\n", 'echo "b"\n'),
        ("a.sql", "select 'it\\'s';\n", "select 'a';\n"),
    ],
)
def test_a_block_behind_an_odd_quote_is_never_doubled(name, text, more):
    """What is written behind the block must not hide it from us; where we cannot tell, we say so."""
    baked = bake_bytes(text.encode(), name, FIELDS).data + more.encode()
    try:
        again = bake_bytes(baked, name, {"total_runs": 4}).data
    except BakeRefused:
        return
    assert again.count(b">>> rye-telemetry >>>") == 1


def test_brackets_deeper_than_a_stack_end_no_process():
    code = (
        "from rye_telemetry.bake import bake_bytes\nfrom rye_telemetry.errors import BakeRefused\n"
        "text = b'a: &a {x: 1}\\n<<: *a\\nb: ' + b'[' * 300000 + b']' * 300000\n"
        "try:\n    bake_bytes(text, 'a.yaml', {'total_runs': 1})\nexcept BakeRefused as e:\n    print(e.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "invalid_yaml\n"
