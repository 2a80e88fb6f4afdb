"""Consent and settings: who decides, what cannot be read, and edits that change one value and no other byte."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from io import StringIO

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rye_telemetry import config, config_tree
from rye_telemetry.config import read_consent, read_run_settings, read_settings, set_values
from rye_telemetry.config_edit import _replace, edit_bytes
from rye_telemetry.config_scan import scan_settings
from rye_telemetry.config_values import choice_text
from rye_telemetry.errors import ConfigInvalid, StateBusy, UsageInvalid

ON = "telemetry:\n  enabled: true\n"
OFF = "telemetry:\n  enabled: false\n"
quick = settings(database=None, deadline=None, max_examples=400)


@pytest.fixture
def env(home):
    return {"HOME": str(home)}


@pytest.fixture
def user_file(home):
    (home / ".ai").mkdir()
    return home / ".ai" / "config.yaml"


@pytest.fixture
def project(tmp_path):
    (tmp_path / ".ai").mkdir()
    return tmp_path


def consent_of(env, project="/nowhere"):
    found = read_consent(env, str(project))
    return found.enabled, found.decided_by, found.warning


# Who decides


def test_telemetry_is_off_when_nobody_said_anything(env, project):
    assert consent_of(env, project) == (False, "default", None)


def test_users_file_switches_on_and_off(env, user_file):
    user_file.write_text(ON)
    assert consent_of(env) == (True, f"user config: {user_file}", None)
    user_file.write_text(OFF)
    assert consent_of(env) == (False, f"user config: {user_file}", None)


@pytest.mark.parametrize("word", ["1", "true", "ON", "Yes", " on "])
def test_variable_switches_on_before_any_file(env, user_file, project, word):
    user_file.write_text(OFF)
    (project / ".ai" / "config.yaml").write_text(OFF)
    assert consent_of(env | {"RYE_TELEMETRY": word}, project) == (True, "RYE_TELEMETRY", None)


@pytest.mark.parametrize("word", ["0", "false", "off", "NO"])
def test_variable_switches_off_before_any_file(env, user_file, word):
    user_file.write_text(ON)
    assert consent_of(env | {"RYE_TELEMETRY": word}) == (False, "RYE_TELEMETRY", None)


def test_variable_that_says_neither_is_off_with_a_warning(env, user_file):
    user_file.write_text(ON)
    enabled, decided_by, warning = consent_of(env | {"RYE_TELEMETRY": "may\nbe"})
    assert (enabled, decided_by) == (False, "RYE_TELEMETRY")
    assert warning.startswith("RYE_TELEMETRY is 'may\\nbe'")
    assert "\n" not in warning


def test_empty_variable_says_nothing(env, user_file):
    user_file.write_text(ON)
    assert consent_of(env | {"RYE_TELEMETRY": ""})[0] is True


def test_project_may_switch_off_and_never_on(env, user_file, project):
    theirs = project / ".ai" / "config.yaml"
    theirs.write_text(ON)
    assert consent_of(env, project) == (False, "default", None)
    user_file.write_text(ON)
    assert consent_of(env, project) == (True, f"user config: {user_file}", None)
    theirs.write_text(OFF)
    assert consent_of(env, project) == (False, f"project config: {theirs}", None)
    theirs.write_text("telemetry:\n  enabled: maybe\n")
    assert consent_of(env, project)[:2] == (False, f"unreadable config: {theirs}")


def test_home_as_project_is_the_users_file(env, home, user_file):
    user_file.write_text(OFF)
    assert consent_of(env, home) == (False, f"user config: {user_file}", None)


def test_user_space_moves_the_users_file(env, tmp_path):
    (tmp_path / "config.yaml").write_text(ON)
    assert consent_of(env | {"USER_SPACE": str(tmp_path)}) == (True, f"user config: {tmp_path / 'config.yaml'}", None)


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "on", "On", "!!bool true"])
def test_every_yaml_spelling_of_true_is_on(env, user_file, word):
    user_file.write_text(f"telemetry: {{enabled: {word}}}\n")
    assert consent_of(env)[0] is True


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "other: 1\n", "telemetry:\n", "telemetry: {}\n", "telemetry:\n  enabled:\n"]
)
def test_file_that_says_nothing_about_us_decides_nothing(env, user_file, text):
    user_file.write_text(text)
    assert consent_of(env) == (False, "default", None)


def test_merge_keys_and_aliases_are_followed(env, user_file):
    user_file.write_text("defaults: &d {enabled: yes}\ntelemetry:\n  <<: *d\n")
    assert consent_of(env)[0] is True
    user_file.write_text("a: &a true\ntelemetry: &t {enabled: *a}\nb: *t\n")
    assert consent_of(env)[0] is True


# What cannot be read


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\ntelemetry:\n  enabled: maybe\n", "line 3: telemetry.enabled is neither true nor false"),
        (b"telemetry:\n  enabled: 'true'\n", "line 2: telemetry.enabled is neither true nor false"),
        (b"telemetry:\n  enabled: 1\n", "line 2: telemetry.enabled"),
        (b"telemetry:\n  enabled: [true]\n", "line 2: telemetry.enabled"),
        (b"telemetry:\n  enabled: true\n  enabled: false\n", "line 3: 'enabled' stands twice, first in line 2"),
        (b"telemetry: true\n", "line 1: telemetry is not a mapping"),
        (b"- telemetry\n", "line 1: this file is not a mapping"),
        (b"tool: [\n", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "line 2: a second document begins"),
        (b"a: *nothing\n", "line 1: *nothing stands for nothing"),
        (b"a: \x00\n", "line 1: not valid YAML"),
        (b"a: 1\nb: \xff\n", "line 2: not UTF-8"),
        ("telemetry: {enabled: true}".encode("utf-16"), "line 1: not UTF-8"),
        (b"#" * (1 << 20) + b"##", "larger than 1 MiB"),
        (b"a: " + b"[" * 1_000_000, "line 1: nested deeper than 64"),
        (b"- " * 100_000, "line 1: nested deeper than 64"),
    ],
)
def test_config_that_cannot_be_understood_is_off_with_one_line(env, user_file, content, said):
    user_file.write_bytes(content)
    enabled, decided_by, warning = consent_of(env)
    assert (enabled, decided_by) == (False, f"unreadable config: {user_file}")
    assert said in warning
    assert str(user_file) in warning
    assert "\n" not in warning
    assert read_consent(env | {"RYE_TELEMETRY": "1"}, "").enabled is True


def test_config_that_is_no_readable_file_is_off_with_one_line(env, user_file):
    user_file.mkdir()
    assert "is not a file" in consent_of(env)[2]
    user_file.rmdir()
    os.mkfifo(user_file)
    begin = time.monotonic()
    assert "is not a file" in consent_of(env)[2]
    assert time.monotonic() - begin < 1
    user_file.unlink()
    user_file.symlink_to(user_file)
    assert "cannot be read" in consent_of(env)[2]


def test_config_without_permission_is_off_with_one_line(user_file):
    """As another user, because root may read everything."""
    user_file.write_text(ON)
    user_file.chmod(0)
    code = "import os, sys\nfrom rye_telemetry.config import read_consent\nif os.getuid() == 0: os.setuid(65534)\n"
    code += "print(repr(read_consent({'HOME': sys.argv[1]}, '')))"
    home = user_file.parent.parent
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert "enabled=False, decided_by='unreadable config:" in done.stdout
    assert "Permission denied" in done.stdout


def test_hostile_paths_stay_one_line(env):
    assert consent_of(env, "/no\0where")[0] is False
    assert "\n" not in (consent_of(env | {"USER_SPACE": "/x\ny"})[2] or "")


def test_alias_bomb_costs_nothing(env, user_file):
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    merges = "\n".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 9)}]" for n in range(1, 30))
    user_file.write_text(f"a0: &a0 x\n{levels}\nm0: &m0 {{b: c}}\n{merges}\ntelemetry:\n  <<: *m29\n")
    begin = time.monotonic()
    assert consent_of(env) == (False, "default", None)
    assert time.monotonic() - begin < 1


def test_removed_working_directory_is_no_fault(env, user_file, tmp_path, monkeypatch):
    user_file.write_text(ON)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert consent_of(env, ".")[0] is True
    assert config.configure_telemetry(True, env=env)["changed"] is False


def test_missing_home_is_off_without_a_word(tmp_path):
    code = "from rye_telemetry.config import read_consent\nprint(read_consent({'HOME': 'relative'}, '.').decided_by)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "default\n"


# Settings


def test_run_settings_come_from_one_look(env, user_file):
    user_file.write_text(ON + "  durability: fsync\n")
    consent, durability = read_run_settings(env, "")
    assert (consent.enabled, durability) == (True, "fsync")
    assert read_settings(env, "").durability == "fsync"
    assert read_settings(env, "").sources["durability"] == f"user config: {user_file}"


def test_unknown_durability_falls_back_and_says_so(env, user_file):
    user_file.write_text(ON + "  durability: paper\n")
    consent, durability = read_run_settings(env, "")
    assert (consent.enabled, durability) == (True, "none")
    assert "line 3: telemetry.durability is neither none nor fsync" in consent.warning


def test_settings_of_an_unreadable_file_are_the_defaults(env, user_file):
    user_file.write_text("{")
    found = read_settings(env, "")
    assert (found.enabled, found.durability, found.sources["durability"]) == (False, "none", "default")


def test_forced_on_with_an_unreadable_file_says_so(env, user_file):
    user_file.write_text("{")
    consent, durability = read_run_settings(env | {"RYE_TELEMETRY": "1"}, "")
    assert (consent.enabled, durability) == (True, "none")
    assert "defaults" in consent.warning


def test_every_setting_is_a_name_below_telemetry_and_its_default_is_one_that_may_be_typed():
    for setting in config.SETTINGS:
        assert setting.help.endswith(".")
        typed = shlex.join(setting.default) if setting.form == "command" else choice_text(setting.default).strip("[]")
        assert config.parse_setting(f"telemetry.{setting.name}={typed}") == (setting.name, setting.default)
        for choice in setting.choices:
            value = [choice] if setting.form == "words" else choice
            assert config.parse_setting(f"{setting.name}={choice_text(choice)}") == (setting.name, value)


def test_unknown_key_names_the_nearest():
    with pytest.raises(UsageInvalid, match="did you mean durability"):
        config.parse_setting("telemetry.durabilty=none")
    with pytest.raises(UsageInvalid, match="there is enabled, durability"):
        config.parse_setting("x=1")
    with pytest.raises(UsageInvalid, match="not KEY=VALUE"):
        config.parse_setting("enabled")
    with pytest.raises(UsageInvalid, match="enabled is true or false, not 'maybe'"):
        config.parse_setting("enabled=maybe")


# The scanner

PIECES = (
    "telemetry:|enabled:|enabled: true|enabled: off # c|durability: fsync|durability: x| |  |    |\n|\n|\n|a:|b: 1|- x|- a: 1|-|# c| # c|"
    'k: >|k: \\|-|k: "x"|k: \'y\'|k: [a, [b, "c"], {d: e}]|{a: b}|[]|---|...|\n  |\n    |\n- |\n  - |:|: |&a|*a|!t|? |~|é|\t|\r\n|'
    "\u2028|%|@|`|1.10|k: http://x/y|x: y|- - a|- [a]|\\|<<: *a|=|k: 'a''b'|k: \"a\" # c|foo bar|a-b.c: d"
)
FIRM = """# settings
telemetry:
  enabled: true  # on
  durability: none
  other:
    - a: 1
      b: 2
models:
- name: foo
  opts: [a, b, {c: d}]
- bar
text: |
  some text
    more

  end
url: http://x/y
empty:
nested:
    deep:
        deeper: "x y"
"""
pieces = st.sampled_from(PIECES.replace("\\|", "\0").split("|")).map(lambda piece: piece.replace("\0", "|"))


@st.composite
def bent_texts(draw):
    """A whole file with pieces put in and cut out anywhere: valid, nearly valid, or not."""
    text = FIRM
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.one_of(st.just(""), st.just("  "), pieces))
            + text[at + draw(st.sampled_from([0, 0, 1, 2, 9])) :]
        )
    return text.replace("\n", "\r\n") if draw(st.integers(0, 9)) == 0 else text


def parsed(text):
    try:
        return config_tree.read_document(text, path="p").settings(config.SETTINGS, section="telemetry")
    except ConfigInvalid as e:
        return str(e)


def scanned(text):
    return scan_settings(text, section="telemetry", hot=config._HOT)


@quick
@given(st.one_of(bent_texts(), st.lists(pieces, max_size=25).map("".join)))
@example("a: 'x\ntelemetry:\n  enabled: true\n'\n")
@example("a: [\ntelemetry:\n  enabled: true\n]\n")
@example("a: |\n telemetry:\n  enabled: true\n")
@example("telemetry:\n  enabled: true\nb: [\n")
@example("telemetry:\n  enabled: true\n   x: y\n")
@example("a:\n  telemetry:\n    enabled: true\n")
def test_scanner_says_what_the_parser_says_or_nothing(text):
    found = scanned(text)
    assert found is None or (found, None) == parsed(text)


@pytest.mark.parametrize(
    "text", [ON, FIRM, FIRM.replace("\n", "\r\n"), "---\n" + ON, "# only\n", "a: 'b' # c\n" + ON, ""]
)
def test_scanner_knows_the_plain_form(text):
    assert scanned(text) is not None


def test_scanner_is_cheap_and_needs_no_yaml(user_file):
    user_file.write_text(FIRM)
    code = """
import sys, time
from rye_telemetry.config import read_run_settings
env = {"HOME": sys.argv[1]}
read_run_settings(env, "/")
times = []
for _ in range(300):
    begin = time.perf_counter()
    read_run_settings(env, "/")
    times.append(time.perf_counter() - begin)
print(min(times) * 1e6, *({"yaml", "re", "json", "typing"} & set(sys.modules) - before))
"""
    code = "import sys; before = set(sys.modules)\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code, str(user_file.parent.parent)], capture_output=True, text=True, check=True
    )
    least_us, *imported = done.stdout.split()
    assert not imported
    assert float(least_us) < 400  # 60 on the machine it was written on


# Editing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "telemetry:\n  enabled: true\n"),
        ("# hi", "# hi\ntelemetry:\n  enabled: true"),
        ("--- # c\n...\n", "--- # c\ntelemetry:\n  enabled: true\n...\n"),
        ("a: 1", "a: 1\ntelemetry:\n  enabled: true"),
        ("a: |\n  x", "telemetry:\n  enabled: true\na: |\n  x"),
        ("a: |+\n  x\n\n", "a: |+\n  x\n\ntelemetry:\n  enabled: true\n"),
        ("a:\n    b: 1\n\n# tail\n", "a:\n    b: 1\n\n# tail\ntelemetry:\n    enabled: true\n"),
        ("telemetry: # c\nb: 2\n", "telemetry: # c\n  enabled: true\nb: 2\n"),
        ("telemetry: null # c\nb: 2", "telemetry: # c\n  enabled: true\nb: 2"),
        ("telemetry: {}", "telemetry: {enabled: true}"),
        ("telemetry: { a: b } # d\n", "telemetry: { enabled: true, a: b } # d\n"),
        ("telemetry: {\n  # c\n  a: b\n}\n", "telemetry: {\n  # c\n  enabled: true,\n  a: b\n}\n"),
        ('{"a": 1}', '{"telemetry": {"enabled": true}, "a": 1}'),
        ("telemetry:\n    enabled: no   # why\n    x: 1\n", "telemetry:\n    enabled: true   # why\n    x: 1\n"),
        (
            "telemetry:\r\n  b: 'x' # x\r\n  # end\r\nz: 1\r\n",
            "telemetry:\r\n  b: 'x' # x\r\n  enabled: true\r\n  # end\r\nz: 1\r\n",
        ),
        ("telemetry:\n  enabled: # c\n", "telemetry:\n  enabled: true # c\n"),
        ("telemetry:\n  enabled: 'maybe'\n", "telemetry:\n  enabled: true\n"),
        ("telemetry:\n  enabled: |\n    foo\n  x: 1\n", "telemetry:\n  enabled: true\n  x: 1\n"),
        ("telemetry:\n  a: >+\n    foo\n\n\nb: 1\n", "telemetry:\n  a: >+\n    foo\n\n\n  enabled: true\nb: 1\n"),
        ("? telemetry\n: enabled: no\n", "? telemetry\n: enabled: true\n"),
        ("x: &a no\ntelemetry:\n  enabled: *a\n", "x: &a no\ntelemetry:\n  enabled: true\n"),
        ("d: &d {enabled: no}\ntelemetry:\n  <<: *d\n", "d: &d {enabled: no}\ntelemetry:\n  <<: *d\n  enabled: true\n"),
        ("\ufeffa: é😀\ntelemetry: ~\n", "\ufeffa: é😀\ntelemetry:\n  enabled: true\n"),
        ("'telemetry':\n  \"enabled\": no\n", "'telemetry':\n  \"enabled\": true\n"),
        ("telemetry:\n  enabled: yes\n", "telemetry:\n  enabled: yes\n"),
        ("{telemetry}\n", "{telemetry: {enabled: true}}\n"),
        ("{a: b, telemetry, c: d}\n", "{a: b, telemetry: {enabled: true}, c: d}\n"),
        ("null\n", "telemetry:\n  enabled: true\n"),
    ],
)
def test_edit_changes_one_value_and_no_other_byte(before, after):
    assert edit_bytes(before.encode(), {"telemetry.enabled": True}, path="p").decode() == after
    assert edit_bytes(after.encode(), {"telemetry.enabled": True}, path="p").decode() == after


def test_edit_keeps_the_quotes_of_a_text():
    before = b"telemetry:\n  durability: 'none'\n"
    assert edit_bytes(before, {"telemetry.durability": "fsync"}, path="p") == b"telemetry:\n  durability: 'fsync'\n"
    assert b'"on"' in edit_bytes(before, {"telemetry.other": "on"}, path="p")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: [\n", "not valid YAML"),
        ("a: 1\nb: 2: 3\n", "line 2: not valid YAML"),
        ("telemetry: true\n", "line 1: telemetry is not a mapping"),
        ("- a\n", "line 1: this file is not a mapping"),
        ("telemetry:\n  enabled: [a]\n", "line 2: telemetry.enabled is not a single value"),
        ("telemetry: {}\ntelemetry: {}\n", "line 2: 'telemetry' stands twice"),
        ("telemetry: &t\n  enabled: no\nother: *t\n", "line 1: telemetry is shared"),
        ("telemetry:\n  enabled: &x no\nother: *x\n", "line 2: telemetry.enabled is shared"),
        ("d: &d {enabled: no}\ntelemetry: *d\n", "line 2: telemetry is shared"),
    ],
)
def test_edit_refuses_what_it_cannot_change_alone(user_file, text, said):
    user_file.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        set_values(str(user_file), {"telemetry.enabled": True})
    assert said in str(caught.value)
    assert str(user_file) in str(caught.value)
    assert user_file.read_text() == text
    assert os.listdir(user_file.parent) == ["config.yaml"]


words = st.sampled_from(["a", "b-c", "enabled", "x.y", "é", "q r"])
scalars = st.sampled_from(["1", "yes", "'a: b'", '"q\\n"', "~", "1.10", "plain # not c"[:5], "", "on"])


@st.composite
def settings_files(draw):
    """A mapping of other programs' keys, in many layouts, with a telemetry section or without."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    keys = draw(st.lists(words, max_size=4, unique=True))
    parts = [draw(other_keys(key)) for key in keys]
    step = draw(st.sampled_from([1, 2, 4]))
    section = draw(telemetry_sections(step))
    parts.insert(draw(st.integers(0, len(parts))), section)
    head = draw(st.sampled_from(["", "", "---\n", "# head\n\n", "%YAML 1.1\n---\n"]))
    tail = draw(st.sampled_from(["", "", "# tail\n", "\n\n", "...\n"]))
    if "---" not in head and not any(parts):
        tail = tail.replace("...", "# nothing")
    text = head + "".join(parts) + tail
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return draw(st.sampled_from(["", "", "\ufeff"])) + text.replace("\n", end)


@st.composite
def other_keys(draw, key):
    comment = draw(st.sampled_from(["", "  # why", " #"]))
    shape = draw(st.sampled_from(["scalar", "flow", "map", "seq", "text", "folded"]))
    return {
        "scalar": f"{key}: {draw(scalars)}{comment}\n",
        "flow": f"{key}: {{k: [1, 'b'],\n  j: {draw(scalars)}}}{comment}\n",
        "map": f"{key}:{comment}\n   k: {draw(scalars)}\n\n   # in between\n   j: 2\n",
        "seq": f"{key}:\n- a\n- k: {draw(scalars)}\n  j: 1{comment}\n",
        "text": f"{key}: |{draw(st.sampled_from(['', '+', '-']))}\n    one\n      two\n\n",
        "folded": f"{key}: >-{comment}\n    telemetry:\n      enabled: false\n",
    }[shape]


@st.composite
def telemetry_sections(draw, step):
    comment = draw(st.sampled_from(["", " # t"]))
    value = draw(st.sampled_from(["false", "no", "'maybe'", "", "~", "!!bool 'no'", "&v off"]))
    indent = " " * step
    return draw(
        st.sampled_from(
            [
                "",
                f"telemetry:{comment}\n",
                f"telemetry: null{comment}\n",
                f"telemetry: {{}}{comment}\n",
                f"telemetry: {{ x: y }}{comment}\n",
                f"telemetry: {{\n  enabled: {value},\n  x: y }}{comment}\n",
                f"telemetry:\n{indent}enabled: {value}{comment}\n{indent}x: y\n",
                f"telemetry:{comment}\n{indent}x: y\n\n{indent}# of enabled\n{indent}enabled: {value}\n",
                f"telemetry:\n{indent}x: |\n{indent}   text\n{indent}y: {value}{comment}\n",
                f"telemetry: &t\n{indent}x: {{a: b}}{comment}\n",
            ]
        )
    )


def loaded(text, loader):
    text = text.removeprefix("\ufeff")
    data = yaml.load(text, yaml.CSafeLoader) if loader == "pyyaml" else YAML(typ="safe", pure=True).load(StringIO(text))
    return data or {}


@settings(quick, max_examples=150)
@given(settings_files(), st.booleans())
def test_edit_changes_only_that_value(text, value):
    before = text.encode()
    after = edit_bytes(before, {"telemetry.enabled": value}, path="p")
    for loader in ("pyyaml", "ruamel"):
        old, new = loaded(text, loader), loaded(after.decode(), loader)
        assert after == before or new["telemetry"]["enabled"] is value
        assert dict(new, telemetry=None) == dict(old, telemetry=None)
        assert dict(new["telemetry"], enabled=value) == dict(old.get("telemetry") or {}, enabled=value)
    assert after.startswith(b"\xef\xbb\xbf") == before.startswith(b"\xef\xbb\xbf")
    assert after.endswith(b"\n") == before.endswith(b"\n") or not text.strip("\ufeff")
    assert not any(line.endswith(b"\r") != (b"\r\n" in before) for line in after.split(b"\n")[:-1] if b"\r\n" in before)
    old_lines, new_lines = (raw.removeprefix(b"\xef\xbb\xbf").splitlines() for raw in (before, after))
    changed = [line for line in old_lines if line not in new_lines]
    assert len(changed) <= 1
    assert all(b"telemetry" in line or b"enabled" in line for line in changed)
    assert parsed(after.decode("utf-8-sig"))[0]["enabled"] is value
    assert edit_bytes(after, {"telemetry.enabled": value}, path="p") == after


# Writing


def test_new_file_is_private_and_its_folder_too(home):
    path = home / "new" / ".ai" / "config.yaml"
    before = os.umask(0)
    try:
        assert set_values(str(path), {"telemetry.enabled": True}) is True
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() == ON
    assert os.listdir(path.parent) == ["config.yaml"]


def test_existing_file_keeps_its_mode_and_its_symlink(tmp_path, user_file):
    target = tmp_path / "dotfiles.yaml"
    target.write_text("a: 1\n")
    target.chmod(0o640)
    user_file.symlink_to(target)
    assert set_values(str(user_file), {"telemetry.enabled": True}) is True
    assert user_file.is_symlink()
    assert target.read_text() == "a: 1\n" + ON
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_unchanged_file_is_not_touched(user_file):
    user_file.write_text(ON)
    before = user_file.stat()
    assert set_values(str(user_file), {"telemetry.enabled": True}) is False
    after = user_file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_edit_never_replaces_what_changed_meanwhile(user_file):
    user_file.write_text("a: 2\n")
    assert _replace(str(user_file), b"a: 3\n", before=b"a: 1\n", is_alone=False) is False
    assert user_file.read_text() == "a: 2\n"
    assert os.listdir(user_file.parent) == ["config.yaml"]


def test_read_only_file_stays_as_it_is():
    """As another user, because root may write everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = os.path.join(folder, "config.yaml")
        with open(path, "w") as f:
            f.write(OFF)
        os.chmod(path, 0o444)
        code = """
import os, sys
from rye_telemetry import config_edit
from rye_telemetry.errors import ConfigInvalid
if os.getuid() == 0: os.setuid(65534)
try:
    config_edit.set_values(sys.argv[1], {"telemetry.enabled": True})
except ConfigInvalid as e:
    print(e)
"""
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert "cannot be written (it is read-only)" in done.stdout
        assert os.listdir(folder) == ["config.yaml"]
        with open(path) as f:
            assert f.read() == OFF


def test_leftover_of_a_killed_edit_goes_with_the_next(user_file):
    (user_file.parent / ".config.yaml.rye-telemetry.tmp").write_text("half")
    set_values(str(user_file), {"telemetry.enabled": True})
    assert os.listdir(user_file.parent) == ["config.yaml"]


def test_folder_that_cannot_be_made_is_a_clear_error(home):
    (home / ".ai").write_text("a file")
    with pytest.raises(ConfigInvalid, match="cannot be written"):
        set_values(str(home / ".ai" / "config.yaml"), {"telemetry.enabled": True})


def test_edits_at_the_same_moment_lose_nothing(user_file):
    user_file.write_text("a: 1\n")
    code = """
import sys
from rye_telemetry.config import set_values
for n in range(10):
    set_values(sys.argv[1], {f"telemetry.k{sys.argv[2]}_{n}": n % 2 == 0})
"""
    children = [subprocess.Popen([sys.executable, "-c", code, str(user_file), str(n)]) for n in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    found = yaml.safe_load(user_file.read_text())
    assert found["a"] == 1
    assert found["telemetry"] == {f"k{child}_{n}": n % 2 == 0 for child in range(4) for n in range(10)}
    assert os.listdir(user_file.parent) == ["config.yaml"]


def test_folder_locked_by_a_dead_slow_program_is_said(user_file, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("rye_telemetry.config_edit.LOCK_WAIT_S", 0.05)
    fd = os.open(user_file.parent, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(StateBusy, match="try again"):
            set_values(str(user_file), {"telemetry.enabled": True})
    finally:
        os.close(fd)
    assert not user_file.exists()


# The library function and the command


def test_configure_telemetry_writes_the_users_file(env, home):
    path = home / ".ai" / "config.yaml"
    answer = config.configure_telemetry(True, env=env)
    assert answer == {
        "success": True,
        "enabled": True,
        "config_path": str(path),
        "changed": True,
        "settings": {"enabled": True},
    }
    assert config.configure_telemetry(True, env=env)["changed"] is False
    assert path.read_text() == ON


def test_configure_telemetry_notes_who_decides_otherwise(env, project, monkeypatch):
    answer = config.configure_telemetry(True, env=env | {"RYE_TELEMETRY": "0"})
    assert answer["note"] == "telemetry is off here all the same: RYE_TELEMETRY decides"
    (project / ".ai" / "config.yaml").write_text(OFF)
    monkeypatch.chdir(project)
    assert "project config" in config.configure_telemetry(True, env=env)["note"]


def test_command_opts_in_and_says_which_file_it_wrote(cli, home):
    path = home / ".ai" / "config.yaml"
    assert cli("configure", "--enabled", "TRUE").stdout == f"telemetry is on\nwritten to {path}\n"
    assert "nothing to change" in cli("configure", "--enabled", "true").stdout
    assert json.loads(cli("configure", "--enabled", "false", "--json").stdout) == {
        "success": True,
        "settings": {"enabled": False},
        "config_path": str(path),
        "changed": True,
        "enabled": False,
    }
    assert path.read_text() == OFF


def test_command_lists_every_setting_with_its_source(cli, home):
    listed = cli("configure").stdout
    for setting in config.SETTINGS:
        assert f"{setting.name} = {choice_text(setting.default)}    from: default" in listed
        assert setting.help in listed
    cli("configure", "--set", "telemetry.durability=fsync", "--set", "enabled=true")
    found = json.loads(cli("configure", "--json").stdout)
    changed = found["settings"][:2]
    assert [(row["name"], row["value"]) for row in changed] == [("enabled", True), ("durability", "fsync")]
    assert {row["source"] for row in changed} == {f"user config: {home / '.ai' / 'config.yaml'}"}


def test_command_refuses_what_it_does_not_understand(cli, home):
    assert "enabled is true or false, not 'maybe'" in cli("configure", "--enabled", "maybe", code=2).stderr
    assert "did you mean durability?" in cli("configure", "--set", "durabilty=none", code=2).stderr
    assert not (home / ".ai").exists()


def test_command_leaves_a_broken_file_alone(cli, user_file):
    user_file.write_text("a: 1\nb: 2: 3\n")
    assert f"{user_file}, line 2: not valid YAML" in cli("configure", "--enabled", "true", code=1).stderr
    assert user_file.read_text() == "a: 1\nb: 2: 3\n"
    assert "not valid YAML" in cli("configure").stderr
