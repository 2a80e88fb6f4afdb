"""Finding items and planning how to execute them: real files, real children."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rye_telemetry.errors import ItemNotFound, ItemNotRunnable, ParamsInvalid, UsageInvalid
from rye_telemetry.items.find import MAX_DEPTH, find_item
from rye_telemetry.items.params import params_json
from rye_telemetry.items.plan import SHIM, plan_item
from rye_telemetry.items.script import parse_shebang
from rye_telemetry.items.yaml_tool import plan_command

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def user_dir(tmp_path):
    return tmp_path / "user"


@pytest.fixture
def put(project):
    """Writes a file below the project's `.ai/` and returns its path."""

    def write(relative, content="", *, below=None, mode=None):
        path = (below or project / ".ai") / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    return write


@pytest.fixture
def find(project, user_dir):
    def run(item_id, item_type="tool"):
        return find_item(item_type, item_id, project_path=str(project), user_dir=str(user_dir))

    return run


@pytest.fixture
def plan(project):
    def run(path, params=None, *, item_type="tool", env=ENV):
        return plan_item(item_type, path.stem, str(path), params=params or {}, project_path=str(project), env=env)

    return run


def output_of(planned, **options):
    done = subprocess.run(
        planned.argv, env={**ENV, **planned.env}, capture_output=True, text=True, timeout=20, check=True, **options
    )
    return done.stdout


# -- finding


@pytest.mark.parametrize(
    "item_id", ["my_tool", "my_tool.py", "b/my_tool", "a/b/my_tool", "a/b/my_tool.py", "./a//b/my_tool"]
)
def test_an_id_may_leave_out_folders_and_extension(find, put, item_id):
    path = put("tools/a/b/my_tool.py")
    put("tools/a/my_tool_two.py")
    assert find(item_id) == str(path)


@pytest.mark.parametrize(
    ("item_type", "folder"), [("directive", "directives"), ("tool", "tools"), ("knowledge", "knowledge")]
)
def test_each_type_has_its_folder(find, put, item_type, folder):
    path = put(f"{folder}/thing.md")
    assert find("thing", item_type) == str(path)
    for other in {"directive", "tool", "knowledge"} - {item_type}:
        with pytest.raises(ItemNotFound):
            find("thing", other)


def test_another_type_is_refused(find):
    with pytest.raises(UsageInvalid, match="one of directive, tool, knowledge"):
        find("x", "tools")


def test_the_project_comes_before_the_users_space(find, put, user_dir):
    theirs = put("tools/x.py", below=user_dir)
    assert find("x") == str(theirs)
    ours = put("tools/deep/x.sh")
    assert find("x") == str(ours)


def test_an_exact_path_wins_then_the_top_level_then_a_search(find, put):
    deep = put("tools/a/x.py")
    assert find("x") == str(deep)
    top = put("tools/x.py")
    assert find("x") == str(top)
    exact = put("tools/x", mode=0o755)
    assert find("x") == str(exact)
    assert find("a/x") == str(deep)


def test_several_matches_are_named_and_none_is_guessed(find, put):
    put("tools/a/x.py")
    put("tools/b/x.sh")
    with pytest.raises(ItemNotRunnable, match=r"a/x\.py, b/x\.sh.*run-with tool a/x\.py"):
        find("x")
    assert find("b/x").endswith("b/x.sh")


def test_files_that_belong_to_an_item_are_no_second_choice(find, put):
    tool = put("tools/x.py")
    put("tools/x.json")
    put("tools/x.md")
    put("tools/x.py~")
    assert find("x") == str(tool)
    text = put("knowledge/y.md")
    put("knowledge/y.png")
    assert find("y", "knowledge") == str(text)
    runnable = put("tools/z.dat", "#!/bin/sh\n")
    put("tools/z.csv")
    assert find("z") == str(runnable)


def test_a_version_is_part_of_the_id_and_falls_back_to_the_name(find, put, user_dir):
    plain = put("tools/a/x.py")
    assert find("x@1.2") == str(plain)
    assert find("a/x@2") == str(plain)
    versioned = put("tools/x@1.2.py", below=user_dir)
    assert find("x@1.2") == str(versioned)
    with pytest.raises(ItemNotFound, match=r"nearest: x@1\.2|nearest: a/x"):
        find("x@1.2@")
    put("tools/q@1.2", "#!/bin/sh\n")
    with pytest.raises(ItemNotFound):
        find("q@1")


@pytest.mark.parametrize(
    "item_id",
    [
        "../secret",
        "..",
        "../..",
        "a/../../secret",
        "a/..",
        "/etc/passwd",
        "",
        ".",
        "/",
        "./.",
        "a\nb",
        "a\0b",
        "\x1b[2J",
        "x" * 513,
    ],
)
def test_an_id_never_leaves_its_folder(find, put, item_id):
    put("secret.py")
    put("tools/a/x.py")
    with pytest.raises(UsageInvalid) as caught:
        find(item_id)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["*", "[x]", "ünïcode", "🎉", "a b", "null", "1.10", "{x}", "'q'", "-rf", "$HOME", "%s", "x.y.z"]
)
def test_odd_names_are_only_names(find, put, name):
    path = put(f"tools/deep/{name}.sh")
    put("tools/other.sh")
    assert find(name) == str(path)
    assert find(f"deep/{name}.sh") == str(path)


def test_a_name_that_is_not_utf_8_is_found(find, put, project):
    put("tools/x.sh")
    name = b"caf\xe9.sh"
    path = os.fsencode(project) + b"/.ai/tools/" + name
    with open(path, "wb"):
        pass
    assert os.fsencode(find(os.fsdecode(b"caf\xe9"))) == path


def test_links_are_followed_but_never_in_circles(find, put, tmp_path):
    real = put("elsewhere/real.py", below=tmp_path)
    path = put("tools/a/x.py")
    os.symlink(real, path.parent / "linked.py")
    os.symlink(path.parent.parent, path.parent / "loop")
    os.symlink(path.parent / "nowhere", path.parent / "dangling.py")
    os.symlink(real.parent, path.parent / "shelf")
    assert find("linked").endswith("a/linked.py")
    assert find("x") == str(path)
    assert find("real").endswith("shelf/real.py")
    with pytest.raises(ItemNotFound):
        find("dangling")


def test_hidden_folders_and_caches_are_not_searched(find, put):
    for folder in (".git", "__pycache__", "node_modules", "a/.venv"):
        put(f"tools/{folder}/x.py")
    put("tools/.x.py")
    with pytest.raises(ItemNotFound):
        find("x")
    assert find("node_modules/x").endswith("node_modules/x.py")


def test_only_regular_files_are_items(find, put, project):
    put("tools/a/y.py")
    (project / ".ai/tools/x.py").mkdir()
    os.mkfifo(project / ".ai/tools/x")
    with pytest.raises(ItemNotFound):
        find("x")


def test_a_search_ends_at_a_depth_but_an_exact_path_does_not(find, put):
    folder = "/".join("d" * (MAX_DEPTH + 1))
    path = put(f"tools/{folder}/x.py")
    with pytest.raises(ItemNotFound):
        find("x")
    assert find(f"{folder}/x") == str(path)


def test_a_missing_item_names_the_places_and_the_nearest_ids(find, put, project, user_dir):
    put("tools/web/fetch_page.py")
    put("tools/fetch_pages.sh", below=user_dir)
    with pytest.raises(ItemNotFound) as caught:
        find("fetch_pag")
    message = str(caught.value)
    assert f"{project}/.ai/tools" in message
    assert f"{user_dir}/tools" in message
    assert "web/fetch_page" in message
    assert "fetch_pages" in message
    with pytest.raises(ItemNotFound, match=r"knowledge \(no such folder\)"):
        find("x", "knowledge")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_hides_its_items_only(find, put):
    closed = put("tools/closed/x.py").parent
    path = put("tools/open/x.py")
    closed.chmod(0)
    try:
        assert find("x") == str(path)
    finally:
        closed.chmod(0o755)


# -- Python tools


def test_a_python_tool_runs_through_the_shim_in_our_interpreter(plan, put, project):
    path = put("tools/x.py", "def execute(params, project_path):\n    return [params, project_path]")
    planned = plan(path)
    assert planned.argv == [sys.executable, "-B", SHIM, str(path), str(project)]
    assert (planned.env, planned.text) == ({"RYE_PARAMS": "{}"}, None)
    assert json.loads(output_of(plan(path, {"a": "ü"}))) == [{"a": "ü"}, str(project)]


def test_the_projects_environment_comes_first_then_the_active_one(plan, put, project, tmp_path):
    path = put("tools/x.py")
    active = put("active/bin/python", mode=0o755, below=tmp_path)
    env = {**ENV, "VIRTUAL_ENV": str(tmp_path / "active")}
    assert plan(path, env=env).argv[0] == str(active)
    own = put(".venv/bin/python", mode=0o644, below=project)
    assert plan(path, env=env).argv[0] == str(active)
    own.chmod(0o755)
    assert plan(path, env=env).argv[0] == str(own)


@pytest.mark.parametrize(
    ("first_line", "through_shim"),
    [
        ("#!/usr/bin/env python3", True),
        ("#!/usr/bin/python3 -u", True),
        ("#!/usr/bin/env -S X=1 python3.12 -I", True),
        ("#!/usr/bin/env -S uv run --script", False),
        ("#!/usr/bin/env", False),
        ("# no first line", True),
    ],
)
def test_a_python_file_whose_first_line_wants_something_else_gets_it(plan, put, first_line, through_shim):
    planned = plan(put("tools/x.py", first_line + "\nprint(1)\n"))
    assert (SHIM in planned.argv) is through_shim


# -- scripts


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#!/bin/sh\n", ("/bin/sh", None)),
        (b"#! \t/bin/sh \t -e  -u \t\n", ("/bin/sh", "-e  -u")),
        (b"#!/usr/bin/env python3\r\n", ("/usr/bin/env", "python3")),
        (b"#!/bin/sh\r\n", ("/bin/sh", None)),
        (b"\xef\xbb\xbf#!/bin/sh\nx", ("/bin/sh", None)),
        (b"#!/bin/sh", ("/bin/sh", None)),
        (b"#!/caf\xe9\n", (os.fsdecode(b"/caf\xe9"), None)),
        (b"#!\n", None),
        (b"#! \r\n", None),
        (b"", None),
        (b"#", None),
        (b" #!/bin/sh\n", None),
        (b"#!/bin/\0sh\n", None),
        (b"#!" + b"x" * 5000, None),
        (b"\x7fELF", None),
    ],
)
def test_a_first_line_is_read_as_the_kernel_reads_it(head, expected):
    assert parse_shebang(head[:4096]) == expected


def test_a_shell_tool_runs_with_and_without_a_first_line_or_an_x_bit(plan, put):
    assert output_of(plan(put("tools/x.sh", "echo $0 $#"))).split()[1] == "0"
    bash = put("tools/y.sh", "#!/bin/cat\nhello\n", mode=0o644)
    assert output_of(plan(bash)) == "#!/bin/cat\nhello\n"
    assert output_of(plan(put("tools/z", "#!/usr/bin/env -S echo a b\r\n", mode=0o644))).startswith("a b /")


def test_a_compiled_program_is_run_as_it_is(plan, put):
    path = put("tools/native")
    shutil.copy(shutil.which("true"), path)
    path.chmod(0o755)
    assert plan(path).argv == [str(path)]
    path.chmod(0o644)
    with pytest.raises(ItemNotRunnable, match="make it executable"):
        plan(path)


def test_what_nothing_runs_is_refused_with_a_way_out(plan, put):
    with pytest.raises(ItemNotRunnable, match="give it a #! line"):
        plan(put("tools/x.txt", "hello"))
    with pytest.raises(ItemNotRunnable, match="/no/such/interpreter in its first line"):
        plan(put("tools/x.sh", "#!/no/such/interpreter\n"))
    with pytest.raises(ItemNotRunnable, match="node, which is not on PATH"):
        plan(put("tools/x.js", ""), env={"PATH": "/nonexistent"})
    with pytest.raises(ItemNotRunnable, match=r"install tsx .* node 22\.6"):
        plan(put("tools/x.ts", ""), env={"PATH": "/nonexistent"})


@pytest.mark.parametrize("name", ["x.js", "x.mjs", "x.cjs"])
@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_javascript_tool_runs_by_node(plan, put, name):
    path = put(f"tools/{name}", "console.log(JSON.parse(process.env.RYE_PARAMS).a, process.env.RYE_PARAM_A)")
    assert output_of(plan(path, {"a": 5})) == "5 5\n"


@pytest.mark.parametrize(
    ("version", "arguments"),
    [
        ("v20.20.2", None),
        ("v22.5.1", None),
        ("v22.6.0", ["--experimental-strip-types"]),
        ("v22.18.0", []),
        ("v23.0.0", ["--experimental-strip-types"]),
        ("v24.1.0", []),
        ("nonsense", None),
    ],
)
def test_a_typescript_tool_runs_by_a_node_that_can(plan, put, tmp_path, version, arguments):
    node = put("bin/node", f"#!/bin/sh\necho {version}\n", mode=0o755, below=tmp_path)
    path = put("tools/x.ts")
    env = {"PATH": str(node.parent)}
    if arguments is None:
        with pytest.raises(ItemNotRunnable, match="install tsx"):
            plan(path, env=env)
    else:
        assert plan(path, env=env).argv == [str(node), *arguments, str(path)]


def test_a_typescript_tool_prefers_tsx_and_the_projects_own(plan, put, project, tmp_path):
    path = put("tools/x.ts")
    tsx = put("bin/tsx", mode=0o755, below=tmp_path)
    env = {"PATH": f"/nonexistent:{tsx.parent}"}
    assert plan(path, env=env).argv == [str(tsx), str(path)]
    own = put("node_modules/.bin/tsx", mode=0o755, below=project)
    assert plan(path, env=env).argv == [str(own), str(path)]


# -- parameters


def test_scalars_reach_a_script_one_by_one_and_all_as_json(plan, put):
    params = {"name": "O'Neil; rm -rf /", "n": 1.5, "on": True, "none": None, "list": [1], "bad-name": 1, "": 2, "é": 3}
    planned = plan(put("tools/x.sh", 'env | grep ^RYE_PARAM_ | LC_ALL=C sort; printf %s "$RYE_PARAM_NAME"'), params)
    lines = ["RYE_PARAM_N=1.5", "RYE_PARAM_NAME=O'Neil; rm -rf /", "RYE_PARAM_ON=true", "O'Neil; rm -rf /"]
    assert output_of(planned).split("\n") == lines
    assert json.loads(planned.env["RYE_PARAMS"]) == params
    assert plan(put("tools/y.sh")).env == {}


def test_two_params_that_would_be_one_variable_are_refused(plan, put):
    with pytest.raises(ParamsInvalid, match="'a' and 'A' are both RYE_PARAM_A"):
        plan(put("tools/x.sh"), {"a": 1, "A": 2})


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan")])
def test_a_value_that_no_process_can_be_given_is_refused(plan, put, value):
    with pytest.raises(ParamsInvalid):
        plan(put("tools/x.sh"), {"a": value})


def test_params_over_the_limit_are_refused_with_a_way_out(plan, put):
    path = put("tools/x.py", "def main(a):\n    return len(a)")
    assert output_of(plan(path, {"a": "x" * 99_000})) == "99000\n"
    for value in ("x" * 100_000, "é" * 17_000):
        with pytest.raises(ParamsInvalid, match="write the large value to a file"):
            plan(path, {"a": value})


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=9), st.booleans() | st.integers() | st.lists(st.text(max_size=9), max_size=3)))
def test_params_survive_as_plain_ascii(params):
    text = params_json(params)
    assert text.isascii()
    assert json.loads(text) == params


def test_params_of_an_enclosing_run_are_not_handed_on(plan, put):
    env = {**ENV, "RYE_PARAMS": "{}", "RYE_PARAM_A": "1", "RYE_PARAM_B": "2", "RYE_RUN_ID": "x"}
    assert plan(put("tools/x.sh"), {"a": 5}, env=env).unset == ("RYE_PARAM_B",)
    assert plan(put("tools/x.py"), env=env).unset == ("RYE_PARAM_A", "RYE_PARAM_B")


# -- YAML tools


ECHO = f"{sys.executable} -c 'import sys, json; print(json.dumps(sys.argv[1:]))'"


@pytest.mark.parametrize(
    ("args", "params", "expected"),
    [
        ("['{a}']", {"a": "x y; $(id) `id` * | > \"q\" 'q'"}, ["x y; $(id) `id` * | > \"q\" 'q'"]),
        ("['--a={a}-{b}']", {"a": "1 2", "b": "--c"}, ["--a=1 2---c"]),
        ("['{a}']", {"a": ""}, [""]),
        ("['{a}']", {"a": "{b}{{"}, ["{b}{{"]),
        ("['{{a}}', '{{{a}}}', '}}{{']", {"a": 1}, ["{a}", "{1}", "}{"]),
        (
            "['{a}', '{b}', '{c}', '{d}']",
            {"a": True, "b": 1.5, "c": [1, "é"], "d": {"x": None}},
            ["true", "1.5", '[1,"é"]', '{"x":null}'],
        ),
        ("[1.10, on, 0x1F, no, 2026-01-30, 12:30, '']", {}, ["1.10", "on", "0x1F", "no", "2026-01-30", "12:30", ""]),
        ("['a\\nb', '{a}']", {"a": "l1\nl2"}, ["a\\nb", "l1\nl2"]),
    ],
)
def test_a_yaml_tool_fills_whole_arguments_and_never_uses_a_shell(plan, put, args, params, expected):
    path = put("tools/x.yaml", f"command: {json.dumps(ECHO)}\nargs: {args}\n")
    assert json.loads(output_of(plan(path, params))) == expected


def test_command_is_a_list_or_a_string_split_into_words(plan, put):
    assert plan(put("tools/x.yml", "command: git -C 'a b' {rev}"), {"rev": "x y"}).argv == ["git", "-C", "a b", "x y"]
    assert plan(put("tools/x.yml", "command: [git, 'a b']\nargs: [c]")).argv == ["git", "a b", "c"]


def test_defaults_apply_and_a_null_counts_as_not_given(plan, put):
    text = "command: [x, '{a}', '{b}', '{c}', '{d}']\ndefaults: {a: 1.10, b: [1, on]}\nparameters:\n  - {name: c, default: yes}\n  - name: d\n    required: true\n  - a\n  - b\n"
    path = put("tools/x.yaml", text)
    assert plan(path, {"a": None, "d": "D"}).argv[1:] == ["1.10", "[1,true]", "yes", "D"]
    with pytest.raises(ParamsInvalid, match=r"tool x needs d: give them as --params '\{\"d\":\"...\"\}'"):
        plan(path)
    with pytest.raises(ParamsInvalid, match="does not know 'e'; it takes a, b, c, d"):
        plan(path, {"d": 1, "e": 2})


def test_every_missing_placeholder_is_named(plan, put):
    with pytest.raises(ParamsInvalid, match="tool x needs a, b, c"):
        plan(put("tools/x.yaml", "command: [x, '{a}']\nargs: ['{b}']\nenv: {X: '{c}'}"))


def test_a_yaml_tool_has_an_environment_and_knows_where_it_is(plan, put, project):
    path = put(
        "tools/d/x.yaml",
        "command: [sh, '{tool_dir}/y.sh', '{project_path}', '{tool_path}']\nenv: {LEVEL: 1.10, WHO: '<{name}>'}",
    )
    planned = plan(path, {"name": "Ann"})
    assert planned.argv == ["sh", str(path.parent / "y.sh"), str(project), str(path)]
    assert planned.env == {"RYE_PARAMS": '{"name":"Ann"}', "RYE_PARAM_NAME": "Ann", "LEVEL": "1.10", "WHO": "<Ann>"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "no `command`"),
        ("- a\n", "no `command`"),
        ("", "no `command`"),
        ("command: ''\n", "`command` is empty"),
        ("command: []\n", "`command` is empty"),
        ("command: {a: b}\n", "`command` must be a list"),
        ('command: "a \'b"\n', "cannot be split into words"),
        ("command: x\nargs: -n 5\n", "`args` must be a list"),
        ("command: x\nargs: [a, [b]]\n", r"args\[1\] is not plain text"),
        ("command: x\nargs: [a, ]\n  - b", "line 3"),
        ("command: x\nargs:\n- \n", r"args\[0\] is empty"),
        ("command: x\nargs: ['{']\n", r"write a literal \{ as \{\{"),
        ("command: x\nargs: ['{}']\n", r"write a literal \{ as \{\{"),
        ("command: x\nargs: ['a}']\n", r"write a literal \} as \}\}"),
        ("command: x\nargs: ['{a b}']\n", r"write a literal \{ as \{\{"),
        ('command: x\nargs: ["a\\0b"]\n', "NUL"),
        ("command: x\ncommand: y\n", "'command' stands there twice"),
        ("command: x\ncwd: /tmp\n", "`cwd` is not supported"),
        ("command: x\nenv: {'a=b': c}\n", "env 'a=b' must be"),
        ("command: x\nenv: [a]\n", "`env` must map"),
        ("command: x\ndefaults: [a]\n", "`defaults` must map"),
        ("command: x\nparameters: 5\n", "expected a list or a mapping"),
        ("command: x\nparameters: [{required: true}]\n", "without a name"),
        ("command: &a x\nargs: [*a]\n", r"line 2: aliases \(\*a\)"),
        ("command: x\n? [a]\n: b\n", "a key must be plain text"),
        ("command: x\n---\ncommand: y\n", "not valid YAML"),
        ("command: x\nargs: ['a\x07']\n", "not valid YAML"),
        ("\tcommand: x\n", "line 1"),
        ("x: " + "[" * 100_000, "nested deeper than 64"),
        ("x: " + "{a: " * 65 + "1" + "}" * 65, "nested deeper than 64"),
        ("command: x\nbig: " + "y" * 1_100_000, "more than 1 MiB"),
    ],
    ids=range(31),
)
def test_a_yaml_tool_that_is_none_is_refused_with_the_place(plan, put, text, message):
    started = time.monotonic()
    with pytest.raises(ItemNotRunnable, match=message):
        plan(put("tools/x.yaml", text))
    assert time.monotonic() - started < 5


def test_an_alias_bomb_costs_nothing(plan, put):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    with pytest.raises(ItemNotRunnable, match="line 2: aliases"):
        plan(put("tools/x.yaml", "\n".join(lines)))


def test_yaml_that_would_build_objects_is_only_text(plan, put, tmp_path):
    text = "command: [echo, !!python/object/apply:os.system ['touch pwned']]"
    with pytest.raises(ItemNotRunnable):
        plan(put("tools/x.yaml", text))
    path = put(
        "tools/y.yaml", "command: echo\nother: !!python/object/apply:os.system ['touch pwned']\nwhen: 2026-99-99\n"
    )
    assert plan(path).argv == ["echo"]


def test_a_yaml_tool_may_have_a_mark_crlf_and_a_first_line(plan, put):
    assert plan(put("tools/x.yaml", b"\xef\xbb\xbfcommand: echo\r\nargs: [a]\r\n")).argv == ["echo", "a"]
    path = put("tools/y.yaml", "#!/usr/bin/env cat\ncommand: echo\n")
    assert plan(path).argv == ["/usr/bin/env", "cat", str(path)]


def test_an_argument_larger_than_a_process_takes_is_refused(plan, put):
    with pytest.raises(ParamsInvalid, match="write the large value to a file"):
        plan(put("tools/x.yaml", "command: x\nargs: ['{a}{a}']"), {"a": "x" * 90_000})


@settings(deadline=None, max_examples=50)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
    st.text("{}ab", max_size=20),
)
def test_a_value_stays_inside_its_argument_whatever_it_holds(value, around):
    text = json.dumps({"command": ["x", "pre{v}post", around.replace("{", "{{").replace("}", "}}")]})
    argv, _ = plan_command(text, "/x.yaml", params={"v": value}, project_path="/p", item_id="x")
    assert argv == ["x", f"pre{value}post", around]


# -- directives and knowledge

HEADERS = {
    "frontmatter list": "---\nname: d\ninputs:\n  - name: topic\n    required: true\n  - name: tone\n    default: 1.10\n  - other\n---\n",
    "frontmatter mapping": "---\ninputs:\n  topic: {required: true, description: x}\n  tone: {default: 1.10}\n  other: what it is\n---\n",
    "frontmatter schema": "---\ninputs:\n  type: object\n  required: [topic]\n  properties: {topic: {type: string}, tone: {default: 1.10}, other: {}}\n---\n",
    "behind a signature": "\n<!-- rye:signed:2026 -->\n<!-- b\n -->\n\n---\ninputs:\n- {name: topic, required: true}\n- {name: tone, default: 1.10}\n- other\n---\n",
    "rye fence": "<!-- s -->\n```yaml\nname: d\ninputs:\n- {name: topic, required: true}\n- {name: tone, default: 1.10}\n- {name: other}\n```\n",
    "rye xml": "<!-- s -->\n# Title\n\n```xml\n<directive name='d'>\n<metadata><limits a=\"1\"/></metadata>\n<inputs>\n<input name=\"topic\" type='string' required=\"true\">\n raw < text & more\n</input>\n<input required='false' name='tone' default='1.10' />\n<input name=\"other\"/></inputs></directive>\n```\n",
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", HEADERS)
def test_a_directive_is_filled_in_and_otherwise_untouched(plan, put, name, ending):
    head = HEADERS[name].replace("\n", ending)
    body = f"About {{input:topic}} in {{input:tone}}.{ending}{{input:topic}}{{input:other?}}{{input:other}}{{x}} end  "
    path = put("directives/d.md", "\ufeff" + head + body)
    text = plan(path, {"topic": "{input:tone}"}, item_type="directive").text
    filled = body.replace("{input:topic}", "\0").replace("{input:tone}", "1.10").replace("{input:other?}", "")
    assert text == "\ufeff" + head + filled.replace("\0", "{input:tone}")
    for params, message in (
        ({}, "directive d needs topic"),
        ({"topic": None}, "directive d needs topic"),
        ({"topic": 1, "tonne": 2}, "does not know 'tonne'; it takes other, tone, topic"),
    ):
        with pytest.raises(ParamsInvalid, match=message):
            plan(path, params, item_type="directive")


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("{input:a}", {}, "{input:a}"),
        ("{input:a?}|", {}, "|"),
        ("{input:a:x y}", {}, "x y"),
        ("{input:a|x: y}", {}, "x: y"),
        ("{input:a:}|", {}, "|"),
        ("{input:a:x}{input:a?}{input:a}", {"a": "é"}, "ééé"),
        ("{input:a}", {"a": [1, True, None]}, "[1,true,null]"),
        ("{input:a}", {"a": False}, "false"),
        ("{input:a-b}{input:a b}{ input:a}", {"a-b": 1}, "1{input:a b}{ input:a}"),
        ("no inputs", {"surplus": 1}, "no inputs"),
        ("{input:a", {"a": 1}, "{input:a"),
    ],
)
def test_placeholders_of_a_directive(plan, put, text, params, expected):
    assert plan(put("directives/d.md", text), params, item_type="directive").text == expected


def test_every_missing_input_is_named(plan, put):
    text = "---\ninputs: [{name: a, required: true}, {name: b, required: yes}, {name: c}]\n---\n"
    with pytest.raises(ParamsInvalid, match="directive d needs a, b: give them"):
        plan(put("directives/d.md", text), item_type="directive")


@pytest.mark.parametrize(
    "text",
    [
        "---\ndescription: a: b: c inputs\n---\nbody {input:a}\n",
        "---\nnever closed, inputs\n",
        "```yaml\nnever closed: inputs\n",
        "# T\n\n```yaml\ninputs: [{name: a, required: true}]\n```\na sample further down\n",
        '# T\n\n~~~\n<inputs><input name="a" required="true"/></inputs>\n~~~\n',
        "<!-- inputs never closed\n---\ninputs: [{name: a, required: true}]\n---\n",
        "---\n---\ninputs\n",
        "--- inputs\n",
        "---\n[inputs]\n---\n",
        "",
    ],
)
def test_a_directive_without_readable_inputs_is_printed_as_it_is(plan, put, text):
    assert plan(put("directives/d.md", text), item_type="directive").text == text


@pytest.mark.parametrize(
    "inputs", ["inputs: [", "inputs: &a [*a]", "inputs: 5", "inputs: [{required: true}]", "inputs:\n  x: 1\n  x: 2"]
)
def test_a_directive_whose_inputs_cannot_be_read_is_refused(plan, put, inputs):
    with pytest.raises(ItemNotRunnable, match="directive d: "):
        plan(put("directives/d.md", f"---\n{inputs}\n---\n"), item_type="directive")


def test_knowledge_is_printed_byte_for_byte(plan, put):
    data = b"\xef\xbb\xbf---\r\ninputs: [\n---\r{input:a}\0 \xe2\x80\xa8 no newline at the end"
    planned = plan(put("knowledge/k.md", data), {"a": 1}, item_type="knowledge")
    assert planned.text.encode() == data
    assert (planned.argv, planned.env) == (None, {})


@pytest.mark.parametrize("item_type", ["directive", "knowledge"])
def test_text_that_is_not_utf_8_is_refused_with_the_place(plan, put, item_type):
    with pytest.raises(ItemNotRunnable, match="byte 5 is 0xe9"):
        plan(put("knowledge/k.md", b"caf\xc3\xa9\xe9"), item_type=item_type)


@pytest.mark.parametrize(
    ("name", "item_type"),
    [("x.md", "knowledge"), ("x.md", "directive"), ("x.py", "tool"), ("x.yaml", "tool"), ("x.sh", "tool")],
)
def test_a_file_over_16_mib_is_refused(plan, put, name, item_type):
    path = put(f"tools/{name}")
    os.truncate(path, 16 * 1024 * 1024 + 1)
    with pytest.raises(ItemNotRunnable, match="larger than 16 MiB"):
        plan(path, item_type=item_type)


def test_a_file_that_vanished_or_is_none_is_refused(plan, put, project):
    path = put("tools/x.sh")
    path.unlink()
    for item_type in ("tool", "knowledge"):
        with pytest.raises(ItemNotRunnable, match="No such file"):
            plan(path, item_type=item_type)
        with pytest.raises(ItemNotRunnable, match="not a regular file"):
            plan(project, item_type=item_type)


def test_finding_and_planning_import_nothing_heavy(put, project):
    put("tools/x.sh", "#!/bin/sh\n")
    heavy = [
        "typing",
        "re",
        "json",
        "pathlib",
        "ast",
        "inspect",
        "dataclasses",
        "subprocess",
        "yaml",
        "frontmatter",
        "shlex",
    ]
    source = f"""
import os, sys
from rye_telemetry.items.find import find_item
from rye_telemetry.items.plan import plan_item
path = find_item("tool", "x", project_path={str(project)!r}, user_dir="/nowhere")
plan_item("tool", "x", path, params={{"a": 1}}, project_path={str(project)!r}, env=os.environ)
print([name for name in {heavy!r} if name in sys.modules])
"""
    # -S: what site imports for an editable installation is none of ours.
    root = os.path.dirname(os.path.dirname(os.path.dirname(SHIM)))
    done = subprocess.run(
        [sys.executable, "-S", "-c", source], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
