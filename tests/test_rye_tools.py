"""The six RYE tools, as a project has them: installed, renewed, left alone when edited, and run in every way they may be."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
import venv
from pathlib import Path

import pytest

from rye_telemetry.errors import RyeTelemetryError, UsageInvalid
from rye_telemetry.items import install
from rye_telemetry.items.install import TOOLS, install_tools
from rye_telemetry.store import TelemetryStore

METADATA = ("__version__", "__tool_type__", "__executor_id__", "__category__", "__tool_description__")
# Stands for a rye-telemetry that pipx installed: it says what it was asked, in the exit code it was told to end with.
FAKE = """#!{python}
import json, os, sys
argv = sys.argv[1:]
if argv[0] in ("bake", "nonsense"):
    sys.stderr.write("Usage: rye-telemetry\\n\\nError: No such command 'bake'.\\n")
    sys.exit(2)
if argv[0] == "run-with":
    stdin = sys.stdin.read() if "--params=-" in argv else ""
    print("out", stdin)
    sys.stderr.write("err")
    sys.exit(7)
if argv[:2] == ["status", "--json"] and "--item-id=unknown" in argv:
    sys.stderr.write("rye-telemetry: nothing is recorded under 'unknown'")
    sys.exit(1)
print(json.dumps({{"argv": argv, "cwd": os.getcwd(), "state_dir": "/there"}}))
"""


@pytest.fixture
def project(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    install_tools(str(project))
    (project / ".ai" / "tools" / "my_tool.py").write_text(
        "import sys\n\n\ndef execute(params, project_path):\n"
        "    print('to stderr', file=sys.stderr)\n    return {'success': params.get('key') != 'bad', 'got': params}\n"
    )
    return project


@pytest.fixture
def folder(project):
    return project / ".ai" / "tools" / "rye" / "telemetry"


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """An interpreter that cannot import rye_telemetry."""
    place = tmp_path_factory.mktemp("bare")
    venv.create(place, with_pip=False)
    return place / "bin" / "python"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A `rye-telemetry` on PATH, and nothing else there."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "rye-telemetry"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    return program


def run(python, script, *args, cwd=None, **more):
    """Run a tool as its usage line says: in its folder, by its bare name."""
    cwd = cwd or script.parent
    name = script.name if cwd == script.parent else str(script)
    return subprocess.run(
        [str(python), name, *args], capture_output=True, text=True, timeout=60, check=False, cwd=cwd, **more
    )


def answer(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["success"] is (code == 0)
    return found


def load(path):
    """Import a tool as RYE does, by its path, with none of its folder on the import path."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        spec = importlib.util.spec_from_file_location(f"rye_tool_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


# Installing


def test_install_writes_six_tools_and_again_nothing(tmp_path):
    first = install_tools(str(tmp_path))
    assert [os.path.basename(path) for path, _ in first] == list(TOOLS)
    assert {state for _, state in first} == {"written"}
    folder = tmp_path / ".ai" / "tools" / "rye" / "telemetry"
    assert sorted(os.listdir(folder)) == sorted(TOOLS)
    before = {path: os.stat(path).st_mtime_ns for path, _ in first}
    assert {state for _, state in install_tools(str(tmp_path))} == {"unchanged"}
    assert before == {path: os.stat(path).st_mtime_ns for path, _ in first}


def test_edited_tool_is_left_alone_and_a_missing_one_written(folder, project):
    edited = folder / "status.py"
    edited.write_text(edited.read_text() + "# mine\n")
    (folder / "clear.py").unlink()
    states = {os.path.basename(path): state for path, state in install_tools(str(project))}
    assert states == dict.fromkeys(TOOLS, "unchanged") | {"status.py": "edited", "clear.py": "written"}
    assert edited.read_text().endswith("# mine\n")


def test_older_version_of_ours_is_renewed(folder, project, monkeypatch):
    older = folder / "lib.py"
    today = older.read_bytes()
    older.write_bytes(b"# as released before\r\n")
    older.chmod(0o600)
    digest = hashlib.sha256(b"# as released before\n").hexdigest()
    monkeypatch.setitem(install.RELEASED, "lib.py", (digest, *install.RELEASED["lib.py"]))
    assert dict(install_tools(str(project)))[str(older)] == "written"
    assert older.read_bytes() == today
    assert older.stat().st_mode & 0o777 == 0o600


def test_checkout_with_crlf_and_a_signature_of_rye_are_no_edits(folder, project):
    crlf, signed = folder / "lib.py", folder / "status.py"
    crlf.write_bytes(crlf.read_bytes().replace(b"\n", b"\r\n"))
    signed.write_bytes(b"# rye:signed:2026-11-20T12:00:00Z:abc\n" + signed.read_bytes())
    assert {state for _, state in install_tools(str(project))} == {"unchanged"}


def test_every_tool_of_today_is_among_the_released_ones():
    for name in TOOLS:
        data = Path(install.__file__).with_name("rye_tools").joinpath(name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert digest in install.RELEASED[name], f"items/install.py: RELEASED[{name!r}] lacks {digest!r}"


def test_project_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(UsageInvalid, match="is not a directory"):
        install_tools(str(tmp_path / "none"))
    (tmp_path / ".ai").write_text("a file")
    with pytest.raises(RyeTelemetryError, match="cannot be written"):
        install_tools(str(tmp_path))


def test_init_command_says_what_it_did(cli, tmp_path):
    said = cli("init", "--path", tmp_path).stdout.splitlines()
    assert said[0] == "written: .ai/tools/rye/telemetry/lib.py"
    edited = tmp_path / ".ai" / "tools" / "rye" / "telemetry" / "export.py"
    edited.write_text("mine")
    found = json.loads(cli("init", "--json", cwd=tmp_path).stdout)
    assert found["project_path"] == str(tmp_path)
    assert [row["state"] for row in found["tools"] if row["path"] == str(edited)] == ["edited"]
    assert "left alone, it was edited: .ai/tools/rye/telemetry/export.py" in cli("init", cwd=tmp_path).stdout
    assert "is not a directory" in cli("init", "--path", tmp_path / "none", code=2).stderr


# What RYE sees


@pytest.mark.parametrize("name", TOOLS)
def test_tool_carries_ryes_metadata_and_loads_by_path(folder, name):
    before = dict(sys.modules)
    module = load(folder / name)
    assert {field: type(getattr(module, field)) for field in METADATA} == dict.fromkeys(METADATA, str)
    assert (module.__tool_type__, module.__executor_id__) == ("python", "python_runtime")
    assert module.__category__ == "rye/telemetry"
    assert module.CONFIG_SCHEMA["type"] == "object"
    assert callable(module.execute)
    assert "lib" not in set(sys.modules) - set(before)
    assert sorted(os.listdir(folder)) == sorted(TOOLS)


def test_tools_answer_through_execute(folder, project, home):
    path = home / ".ai" / "config.yaml"
    done = load(folder / "configure.py").execute({"enabled": True}, str(project))
    assert (done["success"], done["config_path"]) == (True, str(path))
    assert path.read_text() == "telemetry:\n  enabled: true\n"
    assert load(folder / "status.py").execute({}, str(project))["enabled"] is True
    assert load(folder / "status.py").execute({"item_id": "unknown"}, str(project))["success"] is False
    assert load(folder / "clear.py").execute({}, str(project))["cleared_runs"] == 0
    assert load(folder / "lib.py").execute({}, str(project))["state_dir"] == str(home / ".local" / "state" / "rye")
    path.write_text("a: [")
    failed = load(folder / "configure.py").execute({"enabled": "false"}, str(project))
    assert failed["success"] is False
    assert "not valid YAML" in failed["error"]


def test_lib_hands_out_the_librarys_names(folder):
    import rye_telemetry

    lib = load(folder / "lib.py")
    for name in ("TelemetryStore", "TelemetryContext", "get_rye_state_dir"):
        assert getattr(lib, name) is getattr(rye_telemetry, name)
    with pytest.raises(AttributeError):
        _ = lib.anything_else


def test_run_with_main_and_execute_return_what_happened(folder, project):
    module = load(folder / "run_with.py")
    done = asyncio.run(module.main("tool", "my_tool", str(project), {"key": "value"}))
    assert (done["success"], done["outcome"], done["exit_code"]) == (True, "success", 0)
    assert done["output"] == {"success": True, "got": {"key": "value"}}
    named = {"item_type": "tool", "item_id": "my_tool", "params": {"key": "bad"}}
    failed = asyncio.run(module.execute(named, str(project)))
    assert (failed["success"], failed["outcome"]) == (False, "failure")
    assert asyncio.run(module.execute({"item_id": "x"}, str(project)))["success"] is False


def test_export_uses_the_library_as_soon_as_it_can_bake(folder, project, monkeypatch):
    import rye_telemetry

    asked = []
    bake = types.SimpleNamespace(call=lambda *args: asked.append(args) or {"success": True, "changed": True})
    monkeypatch.setattr(rye_telemetry, "export_telemetry", bake.call, raising=False)
    named = {"item_id": "my_tool", "item_path": ".ai/tools/my_tool.py"}
    assert load(folder / "export.py").execute(named, str(project)) == {"success": True, "changed": True}
    assert asked == [("my_tool", str(project / ".ai" / "tools" / "my_tool.py"))]


# The usage lines


def test_usage_lines_run_as_written_from_the_folder(folder, project, home):
    """With the interpreter that has the package."""
    python = sys.executable
    assert answer(run(python, folder / "configure.py", "--enabled", "true"))["enabled"] is True
    assert answer(run(python, folder / "lib.py"))["state_dir"] == str(home / ".local" / "state" / "rye")
    line = (
        "--item-type",
        "tool",
        "--item-id",
        "my_tool",
        "--project-path",
        str(project),
        "--params",
        '{"key": "value"}',
    )
    done = run(python, folder / "run_with.py", *line)
    assert (done.returncode, json.loads(done.stdout)["got"]) == (0, {"key": "value"})
    assert done.stderr == "to stderr\n"
    assert run(python, folder / "run_with.py", *line[:-1], '{"key": "bad"}').returncode == 1
    assert answer(run(python, folder / "status.py"))["total_runs"] == 2
    assert answer(run(python, folder / "status.py", "--item-id", "my_tool"))["total_runs"] == 2
    assert "my_too" in answer(run(python, folder / "status.py", "--item-id", "my_too"), code=1)["error"]
    assert answer(run(python, folder / "clear.py", "--item-id", "my_tool"))["cleared_runs"] == 2
    assert answer(run(python, folder / "clear.py"))["cleared_runs"] == 0
    assert answer(run(python, folder / "configure.py", "--enabled", "false"))["enabled"] is False
    assert sorted(os.listdir(folder)) == sorted(TOOLS)


def test_export_bakes_the_item_as_its_usage_line_says(folder, project, enabled):
    line = ("--item-id", "my_tool", "--item-path", ".ai/tools/my_tool.py")
    path = project / ".ai" / "tools" / "my_tool.py"
    before = path.read_bytes()
    assert answer(run(sys.executable, folder / "export.py", *line))["changed"] is False
    assert path.read_bytes() == before
    with TelemetryStore() as store:
        store.record_execution("my_tool", "tool", "success", 12.5)
    told = answer(run(sys.executable, folder / "export.py", *line))
    assert (told["changed"], told["result"], told["telemetry"]["total_runs"]) == (True, "baked", 1)
    assert path.read_bytes().startswith(before)
    assert b"#   total_runs: 1\n" in path.read_bytes()
    assert answer(run(sys.executable, folder / "export.py", *line))["changed"] is False


def test_a_baked_tool_is_not_an_edited_one(folder, project, enabled, cli):
    with TelemetryStore() as store:
        store.record_execution("status", "tool", "success", 12.5)
    cli("bake", "status", "--item-path", folder / "status.py")
    assert b"total_runs: 1" in (folder / "status.py").read_bytes()
    assert "edited" not in cli("init", cwd=project).stdout


def test_runtime_of_rye_gives_everything_as_params(folder, project, tmp_path):
    given = ("--params", '{"enabled": true}', "--project-path", str(project))
    assert answer(run(sys.executable, folder / "configure.py", *given, cwd=tmp_path))["enabled"] is True
    whole = {"item_type": "tool", "item_id": "my_tool", "params": {"key": "k"}}
    given = ("--params", json.dumps(whole), "--project-path", str(project))
    done = run(sys.executable, folder / "run_with.py", *given, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["got"]) == (0, {"key": "k"})


@pytest.mark.parametrize("args", [(), ("--enabled", "maybe"), ("--on",), ("--params", "[]"), ("--params", "{")])
def test_mistakes_are_answered_in_json(folder, home, args):
    assert answer(run(sys.executable, folder / "configure.py", *args), code=1)["error"]
    assert not (home / ".ai").exists()


def test_files_of_every_name_in_the_working_directory_disturb_nothing(folder, tmp_path):
    for name in ("json.py", "rye_telemetry.py", "lib.py", "argparse.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')\n")
    answer(run(sys.executable, folder / "status.py", cwd=tmp_path))
    done = run(sys.executable, folder / "export.py", "--item-id", "x", "--item-path", "y", cwd=tmp_path)
    assert answer(done)["result"] == "nothing_recorded"


# Where the interpreter has no rye_telemetry


def test_tools_go_through_the_command_on_path(folder, project, bare_python, fake):
    asked = {
        "configure.py": (("--enabled", "TRUE"), ["configure", "--json", "--enabled", "true"]),
        "status.py": (("--item-id=-x y",), ["status", "--json", "--item-id=-x y"]),
        "clear.py": ((), ["clear", "--yes", "--json"]),
    }
    for name, (args, argv) in asked.items():
        found = answer(run(bare_python, folder / name, *args))
        assert (found["argv"], found["cwd"]) == (argv, str(project))
    assert answer(run(bare_python, folder / "lib.py")) == {"success": True, "state_dir": "/there"}
    assert answer(run(bare_python, folder / "status.py", "--item-id", "unknown"), code=1)["error"] == (
        "nothing is recorded under 'unknown'"
    )
    export = run(bare_python, folder / "export.py", "--item-id", "x", "--item-path", "y")
    assert "not available in this version" in answer(export, code=1)["error"]


def test_run_with_becomes_the_command_on_path(folder, project, bare_python, fake):
    line = ("--item-type", "tool", "--item-id", "my_tool", "--project-path", str(project), "--params", "{}")
    done = run(bare_python, folder / "run_with.py", *line, "--timeout", "3", "--", "make", "--params")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out \n", "err")
    code = (
        "import asyncio, importlib.util, json, sys\n"
        "spec = importlib.util.spec_from_file_location('tool', sys.argv[1])\n"
        "tool = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(tool)\n"
        "print(json.dumps(asyncio.run(tool.main('tool', 'x', '.', {'a': 1}))))\n"
    )
    done = subprocess.run(
        [str(bare_python), "-B", "-c", code, str(folder / "run_with.py")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {
        "success": False,
        "outcome": "failure",
        "exit_code": 7,
        "output": 'out {"a": 1}\n',
        "error": "err",
    }


def test_without_library_and_command_the_answer_is_how_to_install(folder, bare_python, fake):
    fake.unlink()
    for name, args in {
        "lib.py": (),
        "configure.py": ("--enabled", "true"),
        "status.py": (),
        "clear.py": (),
        "export.py": ("--item-id", "x", "--item-path", "y"),
        "run_with.py": ("--item-type", "tool", "--item-id", "x", "--project-path", "."),
    }.items():
        error = answer(run(bare_python, folder / name, *args), code=1)["error"]
        assert "pipx install rye-telemetry" in error
        assert "pip install rye-telemetry" in error
    assert sorted(os.listdir(folder)) == sorted(TOOLS)


def test_copied_into_another_folder_a_tool_still_finds_its_lib(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    assert answer(run(sys.executable, other / "status.py", cwd=tmp_path))["enabled"] is False
