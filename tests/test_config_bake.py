"""The settings of baking: lists, commands and amounts; the project's own choice, and what it may not choose."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rye_telemetry import config
from rye_telemetry.config import change_settings, parse_setting, read_consent, read_run_settings, read_settings
from rye_telemetry.config_edit import edit_bytes
from rye_telemetry.config_scan import scan_settings
from rye_telemetry.config_tree import read_document
from rye_telemetry.errors import ConfigInvalid, UsageInvalid

FIELDS = "telemetry.bake.fields"
WORDS = ("timeout_count", "p95_duration_ms", "content_hash", "first_run", "window_days", "success_rate_low")
DEFAULTS = {
    "bake.fields": [],
    "bake.signed": "skip",
    "bake.sign_command": ["rye", "sign", "{path}"],
    "bake.min_change.total_runs": "10%, 10",
    "bake.min_change.success_rate": "0.01",
    "bake.min_change.avg_duration_ms": "10%",
}
PLAIN = """telemetry:
  enabled: true
  bake:
    fields:
      - first_run
      - content_hash
    signed: resign   # ours
    sign_command: [rye, sign, "--quiet", "{path}"]
    min_change:
      total_runs: 20%, 50
      success_rate: 0.05
      avg_duration_ms: "1%"
  durability: fsync
"""


@pytest.fixture
def env(home):
    return {"HOME": str(home)}


@pytest.fixture
def user_file(home):
    (home / ".ai").mkdir()
    return home / ".ai" / "config.yaml"


@pytest.fixture
def project_file(tmp_path):
    (tmp_path / ".ai").mkdir()
    return tmp_path / ".ai" / "config.yaml"


def bake_of(found):
    return {name: value for name, value in found.values.items() if name.startswith("bake.")}


def said(body):
    """Return a settings file with these lines below `bake:`."""
    return "telemetry:\n  bake:\n" + "".join(f"    {line}\n" for line in body.splitlines())


# Reading


def test_nothing_said_is_the_default(env, tmp_path):
    found = read_settings(env, str(tmp_path))
    assert bake_of(found) == DEFAULTS
    assert {found.sources[name] for name in DEFAULTS} == {"default"}


def test_a_default_that_somebody_changed_is_the_default_again_the_next_time(env):
    read_settings(env, "").values["bake.fields"].append("x")
    assert bake_of(read_settings(env, "")) == DEFAULTS


def test_the_plain_form_is_read(env, user_file):
    user_file.write_text(PLAIN)
    found = read_settings(env, "")
    assert bake_of(found) == {
        "bake.fields": ["first_run", "content_hash"],
        "bake.signed": "resign",
        "bake.sign_command": ["rye", "sign", "--quiet", "{path}"],
        "bake.min_change.total_runs": "20%, 50",
        "bake.min_change.success_rate": "0.05",
        "bake.min_change.avg_duration_ms": "1%",
    }
    assert {found.sources[name] for name in DEFAULTS} == {f"user config: {user_file}"}
    assert found.consent.warning is None


@pytest.mark.parametrize(
    "text",
    [
        "fields: [first_run, 'window_days']",
        "fields:\n- first_run\n- window_days",
        "fields:\n  - first_run\n  - window_days\n  - first_run",
        "fields: first_run,window_days",
        "fields: ' first_run , window_days'",
        "fields: [&a first_run, window_days]",
    ],
)
def test_a_list_is_read_in_every_form(env, user_file, text):
    user_file.write_text(said(text))
    found = read_settings(env, "")
    assert (found.values["bake.fields"], found.consent.warning) == (["first_run", "window_days"], None)


@pytest.mark.parametrize("text", ["fields: []", "fields:", "fields: ''", "fields: ~"])
def test_an_empty_list_has_no_words(env, user_file, text):
    user_file.write_text(said(text))
    found = read_settings(env, "")
    assert (found.values["bake.fields"], found.consent.warning) == ([], None)


@pytest.mark.parametrize("text", ["[sign, 'yes', 1, '{path}']", "sign yes 1 '{path}'", "'sign  \"yes\" 1 {path}'"])
def test_the_words_of_a_command_are_texts_as_they_stand(env, user_file, text):
    user_file.write_text(said(f"sign_command: {text}"))
    assert read_settings(env, "").values["bake.sign_command"] == ["sign", "yes", "1", "{path}"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fields: [first_run, other]", "bake.fields"),
        ("fields: [[first_run]]", "bake.fields"),
        ("fields: [first_run, ]\n  x: y", ""),
        ("fields: [~]", "bake.fields"),
        ("fields: {first_run: yes}", "bake.fields"),
        ("fields: yes", "bake.fields"),
        ("fields: !!binary first_run", "bake.fields"),
        ("fields: first_run,", "bake.fields"),
        ("signed: maybe", "bake.signed"),
        ("signed: [skip]", "bake.signed"),
        ("sign_command: [rye, sign]", "bake.sign_command"),
        ("sign_command: ['{path}']", "bake.sign_command"),
        ("sign_command: ['', '{path}']", "bake.sign_command"),
        ("sign_command: []", "bake.sign_command"),
        ("sign_command: [rye, ~, '{path}']", "bake.sign_command"),
        ("sign_command: [rye, !!int 1, '{path}']", "bake.sign_command"),
        ("sign_command: rye sign --file={path}", "bake.sign_command"),
        ('sign_command: "rye \'sign {path}"', "bake.sign_command"),
        ("min_change: {total_runs: many}", "bake.min_change.total_runs"),
        ("min_change: {total_runs: [1]}", "bake.min_change.total_runs"),
        ("min_change: {total_runs: -1}", "bake.min_change.total_runs"),
        ("min_change: {success_rate: nan}", "bake.min_change.success_rate"),
        ("min_change: {success_rate: 1e3}", "bake.min_change.success_rate"),
        ("min_change: {success_rate: '1%%'}", "bake.min_change.success_rate"),
        ("min_change: {success_rate: '1,,2'}", "bake.min_change.success_rate"),
        ("min_change: {avg_duration_ms: '٣'}", "bake.min_change.avg_duration_ms"),
        ("min_change: {avg_duration_ms: '.'}", "bake.min_change.avg_duration_ms"),
        ("min_change: {avg_duration_ms: yes}", "bake.min_change.avg_duration_ms"),
    ],
)
def test_a_value_that_may_not_be_is_left_aside_with_a_warning(env, user_file, text, name):
    user_file.write_text("# head\n" + said(text) + "  enabled: true\n")
    found = read_settings(env, "")
    if not name:
        assert found.consent.decided_by.startswith("unreadable config")
        return
    assert bake_of(found) == DEFAULTS
    assert found.sources[name] == "default"
    assert found.enabled is True
    assert f"{user_file}, line 4: telemetry.{name} is" in found.consent.warning
    assert "until then it is" in found.consent.warning
    assert "\n" not in found.consent.warning


@pytest.mark.parametrize("text", ["bake: 5", "bake: [a]", "bake: {fields: []}\n  bake: {}", "bake: {min_change: 3}"])
def test_a_section_in_no_form_of_ours_switches_nothing_off(env, user_file, text):
    user_file.write_text(f"telemetry:\n  enabled: true\n  {text}\n")
    assert read_consent(env, "").enabled is True
    found = read_settings(env, "")
    assert bake_of(found) == DEFAULTS
    assert found.consent.warning.count("counts for nothing") == 1


def test_words_that_stand_for_others_are_followed(env, user_file):
    user_file.write_text("a: &a first_run\n" + said("fields: [*a, window_days]"))
    assert read_settings(env, "").values["bake.fields"] == ["first_run", "window_days"]


def test_every_fault_is_said_once(env, user_file):
    user_file.write_text("telemetry:\n  durability: paper\n  bake: {signed: a, fields: b}\n")
    warning = read_settings(env, "").consent.warning
    assert [warning.count(f"telemetry.{name}") for name in ("durability", "bake.signed", "bake.fields")] == [1, 1, 1]


# The project's file


def test_the_project_decides_how_its_items_are_baked(env, user_file, project_file, tmp_path):
    user_file.write_text(PLAIN)
    project_file.write_text(said("fields: [window_days]\nmin_change: {total_runs: 5}"))
    found = read_settings(env, str(tmp_path))
    assert found.values["bake.fields"] == ["window_days"]
    assert found.values["bake.signed"] == "resign"
    assert found.values["bake.min_change.total_runs"] == "5"
    assert found.values["bake.min_change.success_rate"] == "0.05"
    assert found.sources["bake.fields"] == f"project config: {project_file}"
    assert found.sources["bake.min_change.success_rate"] == f"user config: {user_file}"
    assert (found.durability, found.consent.warning) == ("fsync", None)


def test_the_project_never_names_a_command(env, user_file, project_file, tmp_path):
    project_file.write_text(said("sign_command: [evil, '{path}']") + "  durability: fsync\n")
    found = read_settings(env, str(tmp_path))
    assert found.values["bake.sign_command"] == DEFAULTS["bake.sign_command"]
    assert found.sources["bake.sign_command"] == "default"
    assert found.durability == "none"
    assert f"{project_file} sets telemetry.bake.sign_command, which only your own file may" in found.consent.warning
    user_file.write_text(said("sign_command: [mine, '{path}']"))
    assert read_settings(env, str(tmp_path)).values["bake.sign_command"] == ["mine", "{path}"]


def test_the_project_never_has_its_items_signed(env, user_file, project_file, tmp_path):
    project_file.write_text(said("signed: resign"))
    found = read_settings(env, str(tmp_path))
    assert found.values["bake.signed"] == "skip"
    assert "telemetry.bake.signed, which only your own file may" in found.consent.warning


def test_what_is_wrong_in_the_projects_file_is_said(env, user_file, project_file, tmp_path):
    user_file.write_text(said("fields: [first_run]"))
    project_file.write_text(said("fields: [x]"))
    found = read_settings(env, str(tmp_path))
    assert found.values["bake.fields"] == ["first_run"]
    assert f"{project_file}, line 3" in found.consent.warning
    project_file.write_text("{")
    found = read_settings(env, str(tmp_path))
    assert found.values["bake.fields"] == ["first_run"]
    assert found.consent.warning.count(str(project_file)) == 1
    forced = read_settings(env | {"RYE_TELEMETRY": "1"}, str(tmp_path))
    assert (forced.enabled, str(project_file) in forced.consent.warning) == (True, True)


def test_home_as_project_is_the_users_own_file(env, home, user_file):
    user_file.write_text(PLAIN)
    found = read_settings(env, str(home))
    assert found.values["bake.sign_command"] == ["rye", "sign", "--quiet", "{path}"]
    assert (found.sources["bake.fields"], found.consent.warning) == (f"user config: {user_file}", None)


def test_an_unreadable_file_of_the_users_leaves_the_project_its_choice(env, user_file, project_file, tmp_path):
    user_file.write_text("{")
    project_file.write_text(said("fields: [first_run]"))
    found = read_settings(env, str(tmp_path))
    assert (found.enabled, found.values["bake.fields"]) == (False, ["first_run"])


# The hot path


@pytest.mark.parametrize(
    "text", [PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN.replace("  enabled: true\n", "") + "  enabled: true\n"]
)
def test_the_scanner_reads_past_the_section(env, user_file, text):
    assert scan_settings(text, section="telemetry", hot=config._HOT) == {"enabled": True, "durability": "fsync"}
    user_file.write_bytes(text.encode())
    consent, durability = read_run_settings(env, "")
    assert (consent.enabled, durability, consent.warning) == (True, "fsync", None)


def test_the_scanner_takes_no_setting_from_deeper_down():
    text = "telemetry:\n  bake:\n    enabled: true\n    min_change:\n      durability: fsync\n"
    assert scan_settings(text, section="telemetry", hot=config._HOT) == {}


def test_a_run_says_nothing_about_how_items_are_baked(env, user_file):
    user_file.write_text("telemetry: {enabled: true, bake: {fields: [nonsense]}}\n")
    consent, _ = read_run_settings(env, "")
    assert (consent.enabled, consent.warning) == (True, None)


# Typing


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("bake.fields=p95_duration_ms,content_hash", ["p95_duration_ms", "content_hash"]),
        ("telemetry.bake.fields= first_run , first_run", ["first_run"]),
        ("bake.fields=", []),
        ("bake.signed=RESIGN", "resign"),
        ("bake.sign_command=rye sign {path}", ["rye", "sign", "{path}"]),
        ("bake.sign_command=sh -c 'sign \"$@\"' -- {path}", ["sh", "-c", 'sign "$@"', "--", "{path}"]),
        ("bake.min_change.total_runs=5 %, 3", "5 %, 3"),
        ("bake.min_change.success_rate= 0.5 ", "0.5"),
        ("bake.min_change.avg_duration_ms=0", "0"),
    ],
)
def test_what_is_typed_is_understood(typed, value):
    assert parse_setting(typed)[1] == value


@pytest.mark.parametrize(
    ("typed", "may_be"),
    [
        ("bake.fields=p95", "any of timeout_count, p95_duration_ms"),
        ("bake.fields=first_run content_hash", "any of timeout_count"),
        ("bake.fields=[first_run]", "any of timeout_count"),
        ("bake.signed=no", "skip or resign"),
        ("bake.sign_command=rye sign", "a command with {path} as a word of its own"),
        ("bake.sign_command=rye 'sign {path}", "a command with {path}"),
        ("bake.min_change.total_runs=", "numbers or percentages from 0"),
        ("bake.min_change.total_runs=-5", "numbers or percentages from 0"),
        ("bake.min_change.success_rate=inf", "numbers or percentages from 0"),
    ],
)
def test_a_mistake_is_named_with_what_may_be(typed, may_be):
    with pytest.raises(UsageInvalid) as caught:
        parse_setting(typed)
    name, _, value = typed.partition("=")
    assert str(caught.value).startswith(f"{name} is {may_be}")
    assert str(caught.value).endswith(f"not {value!r}")


def test_a_mistyped_name_is_put_right():
    with pytest.raises(UsageInvalid, match=r"did you mean bake\.fields"):
        parse_setting("bake.field=first_run")


# Writing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "telemetry:\n  bake:\n    fields: [p95_duration_ms, content_hash]\n"),
        (
            "telemetry:\n  enabled: true # on\nother: 1\n",
            "telemetry:\n  enabled: true # on\n  bake:\n    fields: [p95_duration_ms, content_hash]\nother: 1\n",
        ),
        (
            "telemetry:\n    bake: # how\n        signed: skip\n",
            "telemetry:\n    bake: # how\n        signed: skip\n        fields: [p95_duration_ms, content_hash]\n",
        ),
        (said("fields: [first_run] # c"), said("fields: [p95_duration_ms, content_hash] # c")),
        (said("fields:\n  - first_run\n  - x\nsigned: skip"), said("fields: [p95_duration_ms, content_hash]\nsigned: skip")),
        (said("fields:\n- first_run\n# why\nsigned: skip"), said("fields: [p95_duration_ms, content_hash]\n# why\nsigned: skip")),
        (said("fields: # c\n  - first_run"), said("fields: # c\n  [p95_duration_ms, content_hash]")),
        (said("fields: first_run"), said("fields: [p95_duration_ms, content_hash]")),
        (said("fields:"), said("fields: [p95_duration_ms, content_hash]")),
        (said("fields: p95_duration_ms, content_hash"), said("fields: [p95_duration_ms, content_hash]")),
        ("telemetry: {bake: {}}\n", "telemetry: {bake: {fields: [p95_duration_ms, content_hash]}}\n"),
        (
            '{"telemetry": {"bake": {"fields": ["first_run"]}}}',
            '{"telemetry": {"bake": {"fields": ["p95_duration_ms", "content_hash"]}}}',
        ),
        ("telemetry:\r\n  x: 1\r\n", "telemetry:\r\n  x: 1\r\n  bake:\r\n    fields: [p95_duration_ms, content_hash]\r\n"),
    ],
)  # fmt: skip
def test_a_list_is_written_and_no_other_byte(before, after):
    value = ["p95_duration_ms", "content_hash"]
    assert edit_bytes(before.encode(), {FIELDS: value}, path="p").decode() == after
    assert edit_bytes(after.encode(), {FIELDS: value}, path="p").decode() == after


def test_a_list_in_another_form_that_says_the_same_stays():
    before = said("fields:\n  - first_run  # since when\n  - content_hash").encode()
    assert edit_bytes(before, {FIELDS: ["first_run", "content_hash"]}, path="p") == before


def test_a_list_that_others_use_is_left_to_its_owner():
    for text in ("x: &a [first_run]\ntelemetry: {bake: {fields: *a}}\n", "telemetry: {bake: {fields: &a []}}\nx: *a\n"):
        try:
            after = edit_bytes(text.encode(), {FIELDS: ["window_days"]}, path="p").decode()
        except ConfigInvalid as e:
            assert "shared" in str(e)  # noqa: PT017 (either is right)
        else:
            assert yaml.safe_load(after)["x"] == yaml.safe_load(text)["x"]


def test_a_single_value_never_replaces_a_list():
    with pytest.raises(ConfigInvalid, match="not a single value"):
        edit_bytes(said("signed: [a]").encode(), {"telemetry.bake.signed": "skip"}, path="p")


words = st.lists(st.sampled_from(WORDS), unique=True, max_size=4)
commands = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6), max_size=3).map(
    lambda more: ["sign", *more, "{path}"]
)


@settings(database=None, deadline=None, max_examples=150)
@given(
    st.sampled_from(
        [said(""), PLAIN, "a: 1\n", "telemetry: {bake: {fields: [x]}, y: z}\n", PLAIN.replace("\n", "\r\n")]
    ),
    words,
    commands,
)
def test_what_was_written_is_read_and_the_rest_stays(text, fields, command):
    written = edit_bytes(text.encode(), {FIELDS: fields, "telemetry.bake.sign_command": command}, path="p").decode()
    found, warning = read_document(written, path="p").settings(config.SETTINGS, section="telemetry")
    assert (found.get("bake.fields", []), found["bake.sign_command"], warning) == (fields, command, None)
    assert others(written) == others(text)


def others(text):
    """Return what a file says apart from the two lists."""
    document = yaml.safe_load(text)
    section = document.pop("telemetry", None) or {}
    bake = section.pop("bake", None) or {}
    kept = {name: value for name, value in bake.items() if name not in ("fields", "sign_command")}
    return document, section, kept


# The command


def test_the_command_writes_and_lists_them(cli, home):
    path = home / ".ai" / "config.yaml"
    done = cli(
        "configure", "--set", "bake.fields=p95_duration_ms,content_hash", "--set", "bake.sign_command=rye sign {path}"
    )
    assert done.stdout == (
        "bake.fields is [p95_duration_ms, content_hash]\nbake.sign_command is [rye, sign, {path}]\n"
        f"written to {path}\n"
    )
    assert path.read_text() == (
        'telemetry:\n  bake:\n    fields: [p95_duration_ms, content_hash]\n    sign_command: [rye, sign, "{path}"]\n'
    )
    cli("configure", "--set", "bake.min_change.total_runs=5%", "--set", "enabled=true")
    assert yaml.safe_load(path.read_text())["telemetry"]["bake"]["min_change"] == {"total_runs": "5%"}
    listed = cli("configure").stdout
    assert f"bake.fields = [p95_duration_ms, content_hash]    from: user config: {path}\n" in listed
    assert "    any of timeout_count, p95_duration_ms, content_hash" in listed
    rows = {row["name"]: row for row in json.loads(cli("configure", "--json").stdout)["settings"]}
    assert rows["bake.fields"]["value"] == ["p95_duration_ms", "content_hash"]
    assert rows["bake.fields"]["choices"] == list(WORDS)
    assert rows["bake.sign_command"]["values"] == "a command with {path} as a word of its own"
    assert "bake.fields is any of" in cli("configure", "--set", "bake.fields=x", code=2).stderr


def test_who_decides_otherwise_is_said(env, project_file, tmp_path):
    project_file.write_text(said("min_change: {total_runs: 5}"))
    answer = change_settings({"bake.min_change.total_runs": "7"}, env=env, project_path=str(tmp_path))
    assert (
        answer["note"] == f"bake.min_change.total_runs is 5 here all the same: project config: {project_file} decides"
    )
    note = change_settings({"enabled": True}, env=env | {"RYE_TELEMETRY": "0"}, project_path="")["note"]
    assert note == "telemetry is off here all the same: RYE_TELEMETRY decides"
    assert "note" not in change_settings({"bake.min_change.total_runs": "5"}, env=env, project_path=str(tmp_path))


def test_the_words_are_those_that_baking_knows():
    block = pytest.importorskip("rye_telemetry.bake.block")
    [fields] = [setting for setting in config.SETTINGS if setting.name == "bake.fields"]
    assert fields.choices == WORDS
    assert set(fields.choices) == set(block.EXTRAS)


def test_a_removed_working_directory_is_no_fault(env, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    assert bake_of(read_settings(env, ".")) == DEFAULTS
