"""Whether the hash of a signature holds, before a bake and after it, and what follows; the digests are those of sha256sum."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import time
from pathlib import Path

import pytest

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import SigningFailed
from rye_telemetry.publish.signed import MAX_ARGUMENT_BYTES, Policy, policy, resign, signature_state

TIME = b"2026-01-30T12:00:00Z"
SIGNATURE = b"AxTZYCNXccfazm6aDhpRF-YBpE9iJPR_ExuTsYdNGc2orlpB6NxqiFuRnMpjtDsX=="
OLDER, NEWER = b"0123456789abcdef", b"0123456789abcdef" * 4
FIELDS = {"total_runs": 3, "success_count": 3, "success_rate": 1.0, "last_run": "2026-01-30T12:00:00Z"}
DIGESTS = {
    b"x = 1\n": "9e26bf369911c45c243c684147b23fc9e1dcfcf257d299a1c632016a6fcd33f4",
    b'<directive name="a">\n  <step/>\n</directive>': "c3f36c14e29747037854ff8a68114bfe16d6e9a93a348b9abc706fabf74fb54c",
    b"Body text.\n\nMore.": "a23e9ab668c1fc1f27bf4b8acc304313ff242b9f1aa6fa88c1401c7fe366a10a",
    b"# Title\n\nBody.\n": "22e4e5179a8a13b1b016a3bc9ab6e1c6e1c2eb9fc0215785ba75323fb5b4addc",
    b"---\nname: x\n---\nBody\n": "47af5e0c4bb227ff634ac5c06344b895aa237fdef86fca77701c8285a16bdb30",
    b"a: 1\r\n": "db9bda4272ee21cda5ff1d213fa8366a2cca3143c5a795bdcd5f75a85106033d",
    b"a: 1\n": "37b128c59f1f5097f73f82691cb519f1f568667faab5ced1b4ab979d36837eae",
    b"#!/bin/sh\nexit 3\n": "bb6220bfa599c6294ebc0954c2781c5513b565eb55f01aba387bfd0dc90176b1",
    b"exit 3\n": "09f04881ea8a851192518e6a9f37b5c85d4fbb7004452eaddcbb4a557d218425",
}


def fields(content, *, key=OLDER, prefix=b"rye"):
    """Return what stands in a signature over `content`."""
    digest = DIGESTS.get(content) or hashlib.sha256(content).hexdigest()
    return b":".join((prefix, b"signed", TIME, digest.encode(), SIGNATURE, key))


def hashed_by_older(data, kind):
    """Return what the older engine hashes of a file without a signature, from the words of the contract."""
    if kind == "directive":
        return data[data.index(b"<directive") : data.rindex(b"</directive>") + len(b"</directive>")].strip()
    if kind == "knowledge":
        return data.split(b"---", 2)[2].strip() if data.startswith(b"---") else data
    return data.partition(b"\n")[2] if data.startswith(b"#!") else data


def sign(data, kind, *, key=OLDER, leader=b"#", end=b"\n"):
    """Sign a file that has no signature, as the engine with keys of this length does."""
    shebang, rest = (data[: data.index(b"\n") + 1], data.partition(b"\n")[2]) if data.startswith(b"#!") else (b"", data)
    said = fields(rest if key == NEWER else hashed_by_older(data, kind), key=key)
    line = b"<!-- " + said + b" -->" if kind != "tool" else leader + b" " + said
    return shebang + line + end + rest


ITEMS = {
    "directive": ("a.md", b"# A\n\n```xml\n" + b'<directive name="a">\n  <step/>\n</directive>' + b"\n```\n\nMore.\n"),
    "knowledge": ("k.md", b"---\nid: k\ntitle: T\n---\n\nBody text.\n\nMore.\n"),
    "tool": ("t.py", b"#!/usr/bin/env python3\nx = 1\n"),
}


def baked(data, name):
    new = bake_bytes(data, name, FIELDS).data
    assert read_bytes(new, name) == FIELDS
    return new


# -- one signature at a time


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.py", b"# %s\nx = 1\n"),
        ("t.sh", b"#!/bin/bash\n# %s\nexit 3\n"),
        ("t.ts", b"// %s\nx = 1\n"),
        ("t.sql", b"-- %s\nx = 1\n"),
        ("t.yaml", b"# %s\na: 1\n"),
        ("t.yaml", b"# %s\na: 1\r\n"),
        ("d.md", b'<!-- %s -->\n# A\n<directive name="a">\n  <step/>\n</directive>\n'),
        ("k.md", b"<!-- %s -->\n---\nid: k\n---\n\n\nBody text.\n\nMore.\n\n"),
        ("k.md", b"<!-- %s -->\n# Title\n\nBody.\n"),
        ("K.MDX", b"<!-- %s -->\n# Title\n\nBody.\n"),
    ],
)
def test_a_signature_of_the_older_engine_holds_by_what_it_hashed(name, data):
    good = [data.replace(b"%s", fields(content)) for content in DIGESTS]
    assert [signature_state(each, name) for each in good].count("verified") == (2 if b"\r" in data else 1)
    assert {signature_state(each.replace(b"1", b"2").replace(b"o", b"0"), name) for each in good} == {"broken"}


@pytest.mark.parametrize("prefix", [b"rye", b"ryeos"])
@pytest.mark.parametrize("name", ["t.py", "k.md", "c.yaml"])
def test_a_signature_of_the_newer_engine_is_over_every_byte_behind_it(name, prefix):
    for content in DIGESTS:
        leader, end = (b"<!-- ", b" -->\n") if name == "k.md" else (b"# ", b"\n")
        said = leader + fields(content, key=NEWER, prefix=prefix) + end
        assert signature_state(said + content, name) == "verified"
        assert signature_state(said + content + b" ", name) == "broken"
        assert signature_state(said.replace(b"\n", b"\r\n") + content, name) == "verified"


def test_the_newer_engine_does_not_hash_a_shebang_and_does_hash_line_ends():
    data = sign(b"#!/bin/sh\nexit 3\n", "tool", key=NEWER)
    assert fields(b"exit 3\n", key=NEWER) in data
    assert signature_state(data, "t.sh") == "verified"
    assert signature_state(data.replace(b"exit 3\n", b"exit 3\r\n"), "t.sh") == "broken"


def test_the_newer_engine_knows_no_directive_and_no_header():
    """What the older one leaves out is signed here."""
    for kind in ("directive", "knowledge"):
        name, data = ITEMS[kind]
        over_part = b"<!-- " + fields(hashed_by_older(data, kind), key=NEWER) + b" -->\n" + data
        assert signature_state(over_part, name) == "broken"
        assert signature_state(over_part.replace(NEWER, OLDER), name) == "verified"


def test_the_older_engine_reads_files_as_text_so_a_checkout_with_crlf_still_holds():
    for kind, (name, data) in ITEMS.items():
        signed = sign(data, kind)
        assert signature_state(signed, name) == "verified"
        assert signature_state(signed.replace(b"\n", b"\r\n"), name) == "verified", kind


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("key", [OLDER, NEWER], ids=["older", "newer"])
def test_a_byte_order_mark_stands_before_the_line_and_outside_the_hash(kind, key):
    name, data = ITEMS[kind]
    assert signature_state(b"\xef\xbb\xbf" + sign(data, kind, key=key), name) == "verified"


def test_a_header_ends_for_the_older_engine_with_the_next_three_dashes():
    """Also where they stand in a value: so it hashed, and so it will look again."""
    data = b"---\nid: a---b\n---\nBody\n"
    said = b"<!-- %s -->\n" % fields(b"b\n---\nBody")
    assert signature_state(said + data, "k.md") == "verified"
    assert signature_state(b"<!-- %s -->\n" % fields(b"Body") + data, "k.md") == "broken"


def test_knowledge_without_a_header_is_hashed_with_its_line_ends():
    assert signature_state(b"<!-- %s -->\nBody\n" % fields(b"Body\n"), "k.md") == "verified"
    assert signature_state(b"<!-- %s -->\nBody\n" % fields(b"Body"), "k.md") == "broken"


def test_text_around_the_body_is_cut_as_text_is():
    """The older engine cut every blank that Unicode knows, and it read UTF-8."""
    data = b"<!-- %s -->\n---\nid: k\n---\n\xc2\xa0\n\xe2\x80\xa8B\xc3\xb6dy\xe3\x80\x80\n" % fields("Bödy".encode())
    assert signature_state(data, "k.md") == "verified"


def test_bytes_that_are_no_text_have_a_state_all_the_same():
    assert signature_state(b"<!-- %s -->\n\xff\xfe\n" % fields(b"\xff\xfe\n"), "k.md") == "verified"
    assert signature_state(b"# %s\n\xff\x00" % fields(b"\xff\x00"), "t.bin") == "verified"


def test_what_a_registry_attests_stands_behind_the_key():
    data = sign(b"x = 1\n", "tool").replace(OLDER, OLDER + b"|registry@ada")
    assert signature_state(data, "t.py") == "verified"


def test_the_older_engine_under_the_new_prefix_is_known_by_its_key():
    name, data = ITEMS["directive"]
    assert signature_state(sign(data, "directive").replace(b"rye:signed", b"ryeos:signed"), name) == "verified"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x = 1\n",
        b"\n# " + fields(b"x = 1\n") + b"\nx = 1\n",
        b"x = 1\n# " + fields(b"x = 1\n") + b"\n",
        b"#!/bin/sh\n\n# " + fields(b"x = 1\n") + b"\n",
        b'"' + fields(b"x = 1\n") + b'"\n',
        b"# rye:validated:2026-01-30T12:00:00Z:aa\nx = 1\n",
        b"# not rye:signed:\n",
    ],
)
def test_a_signature_stands_on_the_first_line_or_behind_a_shebang_or_there_is_none(data):
    assert signature_state(data, "t.py") is None


@pytest.mark.parametrize("line", [b"T:H:S:K", b"", b"x" * 64, TIME + b":" + b"G" * 64 + b":s:" + OLDER])
def test_a_signature_line_that_no_engine_writes_is_broken(line):
    assert signature_state(b"# rye:signed:" + line + b"\nx = 1\n", "t.py") == "broken"
    assert signature_state(b"# rye:signed:" + line, "t.py") == "broken"


def test_a_hostile_line_is_looked_at_in_no_time():
    began = time.monotonic()
    data = b"# rye:signed:" + b"a:" * 500_000 + b"\nx\n" + b"<directive " * 100_000
    assert signature_state(data, "a.md") == "broken"
    assert signature_state(b"<!-- rye:signed:" + b" -->" * 500_000, "a.md") == "broken"
    assert signature_state(b"<!-- %s -->\n" % fields(b"x") + b"<directive " * 300_000, "a.md") == "broken"
    assert time.monotonic() - began < 2


# -- what a bake does to it


@pytest.mark.parametrize(
    ("kind", "key", "after"),
    [
        ("directive", OLDER, "verified"),
        ("knowledge", OLDER, "verified"),
        ("tool", OLDER, "broken"),
        ("directive", NEWER, "broken"),
        ("knowledge", NEWER, "broken"),
        ("tool", NEWER, "broken"),
    ],
)
def test_a_bake_breaks_what_is_hashed_with_the_block_and_a_strip_mends_it(kind, key, after):
    name, data = ITEMS[kind]
    signed = sign(data, kind, key=key)
    assert signature_state(signed, name) == "verified"
    new = baked(signed, name)
    assert signature_state(new, name) == after
    assert strip_bytes(new, name).data == signed
    line = next(line for line in signed.splitlines() if b"rye:signed:" in line)
    assert line in new.splitlines()[:2], "a signature is never removed"


def test_knowledge_that_gets_a_header_is_cut_differently_from_then_on():
    """The engine hashed its text to the last line end, and behind a header it does not."""
    signed = sign(b"# Title\n\nBody.\n", "knowledge")
    assert signature_state(signed, "k.md") == "verified"
    assert signature_state(baked(signed, "k.md"), "k.md") == "broken"


def test_items_signed_with_the_block_in_them_hold_until_its_numbers_change():
    for kind, (name, data) in ITEMS.items():
        signed = sign(baked(data, name), kind, key=NEWER)
        assert signature_state(signed, name) == "verified"
        assert bake_bytes(signed, name, FIELDS).data == signed, kind
        more = bake_bytes(signed, name, {**FIELDS, "total_runs": 4}).data
        assert signature_state(more, name) == "broken"


# -- what follows from it


@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.parametrize("setting", ["skip", "resign"])
def test_the_policy(hook, setting):
    def found(before, after):
        return policy(before, after, hook=hook, setting=setting)

    assert found(None, None) is Policy.BAKE
    assert found("verified", "verified") is Policy.BAKE
    assert found("broken", "verified") is Policy.BAKE, "a strip mends what a bake broke"
    assert found("broken", "broken") is Policy.BAKE_AND_SAY_INVALID_ALREADY, "and it is never signed over"
    breaks = Policy.RESIGN if setting == "resign" else Policy.SKIP if hook else Policy.BAKE_AND_WARN
    assert found("verified", "broken") is breaks


# -- signing anew


@pytest.fixture
def signer(tmp_path):
    """A command that signs as the newer engine does, and notes how it was called."""
    script = tmp_path / "signer.py"
    script.write_text(f"""import hashlib, json, os, re, sys
with open({str(tmp_path / "calls")!r}, "a") as calls:
    print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("KEY"), sys.stdin.read()]), file=calls)
print("signed", len(sys.argv) - 1)
for path in sys.argv[1:]:
    with open(path, "rb") as f:
        head, _, rest = f.read().partition(b"\\n")
    digest = hashlib.sha256(rest).hexdigest().encode()
    with open(path, "wb") as f:
        f.write(re.sub(rb":[0-9a-f]{{64}}:", b":" + digest + b":", head) + b"\\n" + rest)
""")
    return script


def calls(tmp_path):
    import json

    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def test_all_paths_are_signed_in_one_call_and_what_it_says_goes_to_stderr(tmp_path, signer, capfd):
    folder = tmp_path / "a folder"
    folder.mkdir()
    names = ["t 1.py", "-rf.py", "$(touch x).py", "é.py"]
    for name in names:
        (folder / name).write_bytes(baked(sign(b"x = 1\n", "tool", key=NEWER), name))
        assert signature_state((folder / name).read_bytes(), name) == "broken"
    env = {**os.environ, "KEY": "secret"}
    resign(names, command=[sys.executable, str(signer), "{path}"], env=env, cwd=str(folder))
    assert calls(tmp_path) == [[["t 1.py", "./-rf.py", "$(touch x).py", "é.py"], str(folder), "secret", ""]]
    for name in names:
        assert signature_state((folder / name).read_bytes(), name) == "verified"
    assert capfd.readouterr() == ("", "signed 4\n")
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_path_may_be_part_of_a_word(tmp_path, signer):
    (tmp_path / "signer.py").write_text(re.sub("for path.*", "", signer.read_text(), flags=re.DOTALL))
    command = [sys.executable, str(signer), "--file={path}", "-v"]
    resign(["a", "b"], command=command, env=os.environ, cwd=str(tmp_path))
    assert calls(tmp_path)[0][0] == ["--file=a", "--file=b", "-v"]


def test_more_names_than_one_call_takes_are_signed_in_several(tmp_path, signer):
    (tmp_path / "signer.py").write_text(re.sub("for path.*", "", signer.read_text(), flags=re.DOTALL))
    paths = [f"{number:04}" + "é" * 100 for number in range(1200)]
    resign(paths, command=[sys.executable, str(signer), "{path}"], env=os.environ, cwd=str(tmp_path))
    called = [call[0] for call in calls(tmp_path)]
    assert [path for some in called for path in some] == paths
    assert len(called) == 3
    assert all(sum(len(os.fsencode(path)) + 1 for path in some) <= MAX_ARGUMENT_BYTES for some in called)


def test_no_path_needs_no_command():
    resign([], command=["no-such-command", "{path}"], env={}, cwd=".")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["no-such-command", "sign", "{path}"], "'no-such-command sign' cannot be started: No such file"),
        (["/", "{path}"], "cannot be started: Permission denied"),
        (["sh", "-c", "exit 3", "{path}"], "ended with exit 3"),
        (["sh", "-c", "kill -9 $$", "{path}"], "ended with signal 9"),
        (["rye", "sign"], r"bake.sign_command has no \{path\}"),
        ([], r"bake.sign_command has no \{path\}"),
    ],
)
def test_a_command_that_fails_is_named_with_what_to_do(tmp_path, command, words):
    with pytest.raises(SigningFailed, match=words) as e:
        resign(["a.py"], command=command, env=os.environ, cwd=str(tmp_path))
    assert "bake.sign_command" in str(e.value)
    assert e.value.exit_code == 1


def test_a_command_without_the_right_to_run_is_said_to_be_one(tmp_path):
    script = tmp_path / "sign"
    script.write_text("#!/bin/sh\n")
    assert not script.stat().st_mode & stat.S_IXUSR
    with pytest.raises(SigningFailed, match="Permission denied"):
        resign(["a"], command=[str(script), "{path}"], env=os.environ, cwd=str(Path.cwd()))
