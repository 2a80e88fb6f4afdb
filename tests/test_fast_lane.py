"""The fast lane and the command line read one table of options: they mean the same by the same words."""

from __future__ import annotations

import contextlib
import io

import typer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.main import get_command

from rye_telemetry.cli import app as application
from rye_telemetry.errors import RyeTelemetryError
from rye_telemetry.runner.options import OPTIONS, Request, make_request, parse_plain

NAMES = [option[0] for option in OPTIONS]
WORDS = st.sampled_from(
    [
        "tool",
        "directive",
        "knowledge",
        "gadget",
        "x",
        "a/b@1",
        "--",
        "-",
        "",
        "=",
        "-h",
        "--help",
        "-x",
        "-5",
        "1",
        "0.5",
        "0",
        "nan",
        "k=v",
        "=v",
        "k=",
        "é",
        "\udcff",
        "a\nb",
        "{}",
        "--no",
        "--agentx",
        "--age",
        "--Agent",
        "--agent ",
        "---",
        "--=",
    ]
)
VALUES = st.one_of(WORDS, st.sampled_from(["3", "1e3", "inf", "-1", "0x1", "k=v=w"]), st.text(max_size=5))
PARTS = st.one_of(
    WORDS.map(lambda word: [word]),
    st.sampled_from(NAMES).map(lambda name: [name]),
    st.tuples(st.sampled_from(NAMES), VALUES).map(list),
    st.tuples(st.sampled_from(NAMES), VALUES).map(lambda pair: ["=".join(pair)]),
    st.just(["tool", "x"]),
)
ARGUMENTS = st.tuples(
    st.sampled_from([[], ["tool"], ["tool", "x"]]),
    st.lists(PARTS, max_size=5),
    st.sampled_from([[], ["--"], ["--", "true"], ["--", "--", "-x"], ["--", "sh", "-c", "exit 3", "--agent"]]),
).map(lambda parts: [*parts[0], *(word for part in parts[1] for word in part), *parts[2]])


def typed(arguments):
    """Return the request that the command line makes of the arguments, or its exit code when it makes none."""
    made: list[Request] = []
    command = get_command(application.app).commands["run-with"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            context = command.make_context("run-with", list(arguments))
            values = dict(context.params)
            made.append(make_request(values.pop("places") or [], values, context.meta["command"]))
    except RyeTelemetryError as e:
        return e.exit_code
    except typer.Exit as e:
        return e.exit_code
    except Exception as e:  # the framework's usage errors
        if not hasattr(e, "exit_code"):
            raise
        return e.exit_code
    return made[0]


@settings(max_examples=120, deadline=None)
@given(ARGUMENTS)
@example(["tool", "x", "--agent", "--workflow", "--", "true"])
@example(["--item-type", "tool", "x", "--", "true"])
@example(["x", "--item-type=tool"])
@example(["tool", "x", "--tag", "a=1", "--tag=b=2", "--agent=", "--", "true"])
@example(["tool", "x", "--params", "-"])
@example(["tool", "x", "--timeout", "-1"])
@example(["tool", "--help", "x"])
@example(["tool", "x", "--help", "--", "--help"])
@example(["tool", "x", "--agent", "a", "--agent", "b"])
@example(["tool", "x", "--agent"])
@example(["tool", "\udcff", "--", "true"])
@example(["tool", "x", "--agent", "\udcff", "--", "true"])
def test_both_ways_mean_the_same(arguments):
    plain = parse_plain(arguments)
    explained = typed(arguments)
    if plain is not None:
        assert explained == plain
    elif isinstance(explained, int):
        assert explained in ({0} if {"-h", "--help"} & set(arguments) else set()) | {1, 2}
    else:
        raise AssertionError(f"the fast lane leaves over what is a plain run: {arguments}")


def test_every_option_reaches_the_request():
    arguments = [
        "--item-type=tool",
        "--item-id=x",
        "--params={}",
        "--timeout=2",
        "--project-path=/p",
        "--agent=a",
        "--workflow=w",
        "--caller=c",
        "--session=s",
        "--model=m",
        "--tag=k=v",
        "--",
        "true",
        "-x",
    ]
    assert [a.partition("=")[0] for a in arguments[: len(NAMES)]] == NAMES
    request = parse_plain(arguments)
    assert request is not None
    assert {name: getattr(request, name) for name in Request.__slots__} == {
        "item_type": "tool",
        "item_id": "x",
        "params": "{}",
        "timeout_s": 2.0,
        "project_path": "/p",
        "labels": {"agent": "a", "workflow": "w", "caller": "c", "session_id": "s", "model": "m"},
        "tags": {"k": "v"},
        "command": ["true", "-x"],
    }
    assert typed(arguments) == request
