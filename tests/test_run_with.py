"""What `run-with` promises to the command and to who called it: exit codes, streams, environment, nesting, reports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import textwrap
import time

import pytest
from processes import ITEM, PYTHON, RYE, last_run, run, runs, wrap

from rye_telemetry.runner.handdown import MAX_REPORT_BYTES, fold_report, trace_parent
from rye_telemetry.store import TelemetryStore

HANDED_DOWN = {"RYE_RUN_ID", "RYE_PARENT_RUN_ID", "RYE_REPORT", "TRACEPARENT"}


@pytest.fixture
def telemetry(monkeypatch, request):
    monkeypatch.setenv("RYE_TELEMETRY", request.param)
    return request.param == "1"


def pytest_generate_tests(metafunc):
    if "telemetry" in metafunc.fixturenames:
        metafunc.parametrize("telemetry", ["1", "0"], ids=["on", "off"], indirect=True)


def script(folder, text, *, name="script", mode=0o755):
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    path.chmod(mode)
    return str(path)


def python(code, *arguments):
    return [PYTHON, "-c", textwrap.dedent(code), *arguments]


# -- exit codes


@pytest.mark.usefixtures("enabled")
def test_every_exit_code_is_the_commands_own():
    codes = sorted({*range(8), *range(8, 120, 16), *range(120, 148), *range(148, 250, 16), *range(250, 256)})
    one = f'{RYE} run-with tool x -- sh -c "exit $0"; echo $0 $?'
    asked = " ".join(map(str, codes))
    printed = run(["bash", "-c", f"echo {asked} | xargs -P 4 -n 1 bash -c '{one}'"]).stdout
    assert sorted(printed.splitlines()) == sorted(b"%d %d" % (code, code) for code in codes)
    recorded = runs()
    assert sorted(r["exit_code"] for r in recorded) == codes
    assert {(r["outcome"], r["error"]) for r in recorded if r["exit_code"] in (0, 3)} == {
        ("success", None),
        ("failure", "exited with status 3"),
    }


def test_exit_codes_of_the_command_with_telemetry_off(home):
    for code in (0, 1, 126, 127, 128, 255):
        assert run(wrap("sh", "-c", f"exit {code}")).returncode == code
    assert list(home.iterdir()) == []


def cannot_start(folder):
    script(folder, "echo", name="plain", mode=0o644)
    script(folder, "#!/no/such/interpreter\n", name="lost")
    script(folder, "echo no shebang $1", name="bare")
    script(folder, "", name="empty")
    (folder / "directory").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "text").write_text("")
    return [
        [str(folder / "plain")],
        [str(folder / "directory")],
        [str(folder / "missing")],
        [str(folder / "loop")],
        [str(folder / "dangling")],
        [str(folder / "text" / "below")],
        [str(folder / "lost")],
        [str(folder / "bare"), "said"],
        [str(folder / "empty")],
        ["plain"],
        ["bare", "found"],
        ["no-such-command-anywhere"],
        ["true", "x" * 131_072],
        ["true", *["x" * 100_000] * 30],
    ]


def test_what_cannot_be_started_gives_the_code_that_env_gives(tmp_path, monkeypatch, telemetry):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for command in cannot_start(tmp_path):
        try:
            bare = run(["env", *command])
        except OSError:  # the test itself cannot start so long a command
            continue
        wrapped = run(wrap(*command))
        assert (wrapped.returncode, wrapped.stdout) == (bare.returncode, bare.stdout), command[0][:80]
        assert wrapped.stderr.count(b"\n") == bare.stderr.count(b"\n"), wrapped.stderr


@pytest.mark.usefixtures("enabled")
def test_a_command_that_cannot_be_started_is_a_failure_with_its_reason(tmp_path):
    run(wrap("no-such-command-anywhere"))
    assert (last_run()["outcome"], last_run()["exit_code"]) == ("failure", 127)
    assert last_run()["error"] == "command not found"
    run(wrap(str(tmp_path)))
    assert (last_run()["exit_code"], last_run()["error"]) == (126, "Permission denied")


def test_too_long_a_list_of_arguments_is_126(telemetry):
    assert run(wrap("bash", "-c", "/bin/true {1..400000}")).returncode == 126


@pytest.mark.usefixtures("enabled")
def test_arguments_that_fit_only_without_our_variables_still_reach_the_command():
    """The longest argument with which the wrapper itself can be started leaves no room for one more variable."""

    def ended(size):
        """A quarter of the stack is what arguments and environment may take."""
        done = run(["bash", "-c", 'ulimit -s 800; exec "$@"', "-", *wrap("true", "x" * 100_000, "x" * size)])
        return None if done.returncode == 126 and done.stderr.startswith(b"-: line") else done

    fits, too_long = 60_000, 130_000
    while too_long - fits > 1:
        size = (fits + too_long) // 2
        done = ended(size)
        fits, too_long = (fits, size) if done is None else (size, too_long)
        assert done is None or done.returncode == 0, done.stderr
    done = ended(fits)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"takes the place of run-with" in done.stderr
    assert too_long < 130_000


def test_the_command_gets_its_arguments_byte_for_byte(telemetry):
    arguments = [b"", b" ", b"\xff\xfe", "é".encode(), b"-x", b"--", b"a\nb", b"$HOME", b"*", b"--timeout", b"\\"]
    code = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    for locale in ({}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
        ended = run([*map(os.fsencode, wrap(PYTHON, "-c", code)), *arguments], env={**os.environ, **locale})
        assert ended.stdout == b"\0".join(arguments)


def test_a_megabyte_of_arguments_arrives(telemetry):
    arguments = ["x" * 100_000] * 10
    assert run(wrap(*python("import sys; print(sum(map(len, sys.argv[1:])))", *arguments))).stdout == b"1000000\n"


def test_a_command_starts_with_a_dash_or_looks_like_ours(tmp_path, monkeypatch, telemetry):
    script(tmp_path, "#!/bin/sh\necho dash $1", name="-dash")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run(wrap("-dash", "--help")).stdout == b"dash --help\n"
    assert run(wrap(RYE, *ITEM, "--", "echo", "inner")).stdout == b"inner\n"


# -- the environment


def child_environment(argv, **more):
    ended = run([*argv, "cat", "/proc/self/environ"], **more)
    assert ended.returncode == 0, ended.stderr
    return dict(entry.partition(b"=")[::2] for entry in ended.stdout.split(b"\0") if entry)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"LC_ALL": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_CTYPE": "no_SUCH.locale"},
        {"LANG": "C"},
        {"LANG": "en_US.ISO-8859-1", "LATIN": "\udce9", "é": "ü"},
        {"PYTHONPATH": "/nowhere", "PYTHONUNBUFFERED": "1", "_": "x", "EMPTY": ""},
    ],
    ids=lambda given: " ".join(f"{k}={v}" for k, v in given.items() if v.isascii()) or "none",
)
def test_the_environment_is_unchanged_but_for_what_is_handed_down(home, telemetry, given):
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "RYE_TELEMETRY": "1" if telemetry else "0", **given}
    bare = child_environment([], env=env)
    wrapped = child_environment(wrap(), env=env)
    added = {name.decode() for name in wrapped.keys() - bare.keys()}
    assert added == (HANDED_DOWN - {"RYE_PARENT_RUN_ID"} if telemetry else set())
    assert {name: wrapped.get(name) for name in bare} == bare


def test_a_variable_without_a_name_does_not_stop_the_command(telemetry):
    assert run(["env", "=odd", *wrap("echo", "there")]).stdout == b"there\n"


def test_a_stale_report_or_parent_is_not_handed_on(monkeypatch, enabled):
    monkeypatch.setenv("RYE_REPORT", "/somebody/elses")
    monkeypatch.setenv("RYE_PARENT_RUN_ID", "left over")
    monkeypatch.setenv("RYE_RUN_ID", "no run id")
    env = child_environment(wrap())
    assert env[b"RYE_REPORT"].startswith(os.fsencode(enabled))
    assert b"RYE_PARENT_RUN_ID" not in env


def test_path_unset_finds_commands_as_the_system_does(telemetry):
    env = {name: value for name, value in os.environ.items() if name != "PATH"}
    assert run(wrap("sh", "-c", "echo found"), env=env).stdout == b"found\n"
    assert run(wrap("no-such-command-anywhere"), env=env).returncode == 127


# -- what else a process inherits


SURROUNDINGS = """
import os, resource, signal, sys
print(os.getcwd(), os.nice(0), os.umask(0o22), os.getsid(0), resource.getrlimit(resource.RLIMIT_NOFILE))
for line in open("/proc/self/status"):
    if line.startswith(("SigBlk", "SigIgn", "SigCgt", "Uid", "Groups", "NoNewPrivs", "CapEff", "Cpus_allowed")):
        print(line, end="")
"""


@pytest.mark.parametrize("options", [(), ("--timeout", "20")], ids=["plain", "timeout"])
def test_umask_nice_limits_and_signals_are_handed_on_as_they_were(tmp_path, telemetry, options):
    code = """
    import os, resource, signal, sys
    os.umask(0o27); os.nice(3); resource.setrlimit(resource.RLIMIT_NOFILE, (77, 99))
    for number in (signal.SIGPIPE, signal.SIGXFSZ): signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD): signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN})
    os.execvp(sys.argv[1], sys.argv[1:])
    """
    probe = [PYTHON, "-c", SURROUNDINGS]
    bare = run(python(code, *probe), cwd=tmp_path)
    wrapped = run(python(code, *wrap(*probe, options=options)), cwd=tmp_path)
    assert wrapped.stdout == bare.stdout
    assert wrapped.stderr == b""
    if telemetry:
        assert last_run()["outcome"] == "success"


def test_sigchld_ignored_around_us_keeps_exit_codes_and_scripts_without_a_shebang(tmp_path, telemetry):
    ignoring = (
        "import os,signal,sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    bare = script(tmp_path, "exit 5", name="bare")
    for command, code in (
        (["sh", "-c", "exit 7"], 7),
        ([bare], 5),
        (["no-such-command-anywhere"], 127),
        ([str(tmp_path)], 126),
    ):
        for _ in range(3):
            assert run(python(ignoring, *wrap(*command))).returncode == code


def test_a_pipe_reader_that_leaves_ends_the_command_by_sigpipe(telemetry):
    ended = run(["bash", "-c", f'{RYE} run-with tool x -- yes | head -1; echo "${{PIPESTATUS[0]}}"'])
    assert ended.stdout == b"y\n141\n"
    if telemetry:
        assert (last_run()["signal"], last_run()["outcome"]) == ("SIGPIPE", "failure")


def test_a_file_size_limit_ends_the_command_by_sigxfsz(tmp_path, telemetry):
    big = tmp_path / "big"
    ended = run(
        ["bash", "-c", f"ulimit -c 0; ulimit -f 100; {RYE} run-with tool x -- dd if=/dev/zero of={big} bs=1M count=1"]
    )
    assert ended.returncode in (-25, 128 + 25)  # with telemetry off it is the command itself that bash started


def test_inherited_descriptors_reach_the_command_and_none_of_ours_does(telemetry):
    listing = ["sh", "-c", "ls -l /proc/self/fd | grep -v /proc/ | sed 's/.* \\([0-9]* ->\\)/\\1/'; cat <&7"]
    read_end, write_end = os.pipe()
    os.write(write_end, b"through\n")
    os.close(write_end)
    bare = run(["bash", "-c", '"$@" 7<<< through 5</dev/null', "-", *listing], stdin=subprocess.DEVNULL).stdout
    wrapped = run(
        ["bash", "-c", '"$@" 7<<< through 5</dev/null', "-", *wrap(*listing)], stdin=subprocess.DEVNULL
    ).stdout
    os.close(read_end)
    plain = lambda text: [line.split(b"pipe:")[0] for line in text.splitlines()]  # noqa: E731
    assert plain(wrapped) == plain(bare)
    assert wrapped.endswith(b"through\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stay_closed_and_nothing_of_ours_lands_on_them(home, tmp_path, telemetry, closed):
    proof = tmp_path / "proof"
    probe = f"ls -l /proc/$$/fd > {proof}; echo out; echo err >&2; exit 4"
    ended = run(["bash", "-c", f'"$@" {closed}', "-", *wrap("bash", "-c", probe)])
    assert ended.returncode == 4
    assert ended.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else b"out\n")
    assert ".local" not in proof.read_text()
    if telemetry:
        assert last_run()["exit_code"] == 4
        for path in (home / ".local").rglob("*.ndjson"):
            assert b"out\n" not in path.read_bytes()
            assert b"err\n" not in path.read_bytes()


def test_a_deleted_working_directory_is_no_obstacle(tmp_path, telemetry):
    for more in ((), ("--project-path", str(tmp_path))):
        gone = tmp_path / "gone"
        gone.mkdir()
        ended = run(
            [
                "bash",
                "-c",
                f'cd {gone} && rmdir {gone} && "$@"',
                "-",
                *wrap("sh", "-c", "echo on; exit 6", options=more),
            ]
        )
        assert (ended.returncode, ended.stdout) == (6, b"on\n"), ended.stderr
        assert ended.stderr in (b"", b"sh: 0: getcwd() failed: No such file or directory\n")


def test_standard_input_passes_untouched(tmp_path, telemetry):
    data = os.urandom(10 << 20)
    assert run(wrap("cat"), input=data, stdin=None).stdout == data
    path = tmp_path / "input"
    path.write_bytes(b"one\ntwo\n")
    with path.open("rb") as f:
        run(wrap("head", "-c", "4"), stdin=f)
        assert run(["cat"], stdin=f).stdout == b"two\n"  # nothing was read ahead


def test_two_hundred_megabytes_pass_identically_and_no_slower_than_twice(enabled):
    make = ["head", "-c", "200000000", "/dev/zero"]
    sums = []
    took = []
    for argv in (make, wrap(*make)):
        began = time.monotonic()
        sums.append(run(["bash", "-c", '"$@" | cksum', "-", *argv]).stdout)
        took.append(time.monotonic() - began)
    assert sums[0] == sums[1]
    assert last_run()["outcome"] == "success"


# -- nesting and tracing


@pytest.mark.usefixtures("enabled")
def test_a_run_inside_a_run_knows_its_parent_ten_deep():
    argv = ["sh", "-c", "echo $TRACEPARENT"]
    for depth in range(10):
        argv = [RYE, "run-with", "tool", f"level{depth}", "--", *argv]
    printed = run(argv).stdout.decode().strip()
    recorded = {r["item_id"]: r for r in runs()}
    chain = [recorded[f"level{depth}"] for depth in range(9, -1, -1)]
    assert [r["parent_run_id"] for r in chain] == [None, *(r["run_id"] for r in chain[:-1])]
    first, last = chain[0]["run_id"].replace("-", ""), chain[-1]["run_id"].replace("-", "")
    assert printed == f"00-{first}-{last[16:]}-01"


@pytest.mark.usefixtures("enabled")
def test_a_given_trace_goes_on_and_an_invalid_one_does_not(monkeypatch):
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    monkeypatch.setenv("TRACEPARENT", given)
    continued = child_environment(wrap())[b"TRACEPARENT"].decode()
    assert continued.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert continued.endswith("-00")
    assert "00f067aa0ba902b7" not in continued


@pytest.mark.parametrize(
    "given",
    [
        "",
        "garbage",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "G" * 32 + "-" + "1" * 16 + "-01",
    ],
)
def test_a_trace_that_cannot_go_on_begins_anew(given):
    run_id = "01a1fbb0-e068-7884-8123-456789abcdef"
    assert trace_parent(given, run_id) == "00-01a1fbb0e06878848123456789abcdef-8123456789abcdef-01"


# -- labels, params, tags


@pytest.mark.usefixtures("enabled")
def test_labels_and_tags_are_recorded():
    options = (
        "--agent",
        "a1",
        "--workflow=w 1",
        "--caller",
        "c",
        "--session",
        "s",
        "--model",
        "m",
        "--tag",
        "k=v=w",
        "--tag",
        "é=",
    )
    run(wrap("true", options=options))
    found = last_run()
    assert [found[name] for name in ("agent", "workflow", "caller", "session_id", "model")] == [
        "a1",
        "w 1",
        "c",
        "s",
        "m",
    ]
    assert found["tags"] == {"k": "v=w", "é": ""}


def test_params_reach_a_command_by_its_environment(tmp_path, telemetry):
    params = {"n": 3, "word": "é x", "deep": {"a": [1]}}
    path = tmp_path / "params.json"
    path.write_text(json.dumps(params))
    show = python(
        "import json, os; print(json.dumps([json.loads(os.environ['RYE_PARAMS']), os.environ['RYE_PARAM_WORD']]))"
    )
    for given, stdin in ((json.dumps(params), b""), (f"@{path}", b""), ("-", json.dumps(params).encode())):
        ended = run(wrap(*show, options=("--params", given)), input=stdin, stdin=None)
        assert json.loads(ended.stdout) == [params, "é x"], ended.stderr
    if telemetry:
        assert last_run()["inputs"] == {"n": "int", "word": "str", "deep": "dict"}


@pytest.mark.parametrize(
    "given", ["", "[1]", "{", "3", "nul", "@/no/such/file", "@/", "NaN", '{"a": NaN}', "[" * 100_000]
)
def test_params_that_are_no_object_are_refused_before_the_command(given, telemetry):
    ended = run(wrap("echo", "started", options=("--params", given)))
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.startswith(b"rye-telemetry: --params")
    assert ended.stderr.count(b"\n") == 1
    with TelemetryStore() as store:  # a mistake in what was typed says nothing about the item
        assert store.get("x") is None


@pytest.mark.usefixtures("enabled")
def test_very_many_parameters_do_not_make_a_line_that_nobody_reads():
    """Half a megabyte of names: more than a journal line may hold."""
    names = {f"name-{number:06}": 1 for number in range(4000)}
    params = json.dumps({**names, **{f"{'long' * 45}{number:04}": 1 for number in range(400)}})
    ended = run(wrap("true", options=("--params", "-")), input=params.encode(), stdin=None)
    assert ended.returncode in (0, 1)
    tags = [part for number in range(3000) for part in ("--tag", f"{number:04}{'t' * 90}={'v' * 90}")]
    assert run(wrap("true", options=tags)).returncode == 0
    assert last_run()["outcome"] == "success"


# -- the report


def reporting(*lines):
    return python(
        "import os, sys; open(os.environ['RYE_REPORT'], 'ab').write(bytes.fromhex(sys.argv[1]))", b"".join(lines).hex()
    )


@pytest.mark.usefixtures("enabled")
def test_a_report_is_taken_up(home):
    run(
        wrap(
            *reporting(b'{"http_calls": 3}\n', b'{"http_calls": 2, "subprocess_calls": 1}\n', b'{"tokens": {"in": 5}}')
        )
    )
    found = last_run()
    assert (found["http_calls"], found["subprocess_calls"], found["metrics"]) == (5, 1, {"tokens": {"in": 5}})
    assert list((home / ".local/state/rye/telemetry/reports").iterdir()) == []


@pytest.mark.usefixtures("enabled")
def test_a_reported_error_explains_a_failure_only():
    run(wrap("sh", "-c", """echo '{"error": "disk on fire"}' > $RYE_REPORT; exit 3"""))
    assert last_run()["error"] == "disk on fire"
    run(wrap("sh", "-c", """echo '{"error": "almost"}' > $RYE_REPORT"""))
    assert last_run()["error"] is None


GARBAGE = [
    b"",
    b"\n\n\n",
    b"\xff\xfe\x00\n",
    b'{"http_calls": 1',
    b'[1]\n"x"\n3\nnull\n',
    b'{"http_calls": -1}\n{"http_calls": 1.5}\n{"http_calls": true}\n{"http_calls": "7"}\n{"subprocess_calls": null}\n',
    b'{"http_calls": ' + b"9" * 5000 + b"}\n",
    b'{"http_calls": 1e999}\n{"x": NaN}\n{"y": Infinity}\n',
    b"[" * 200_000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"error": {"deep": ["\\ud800", 1]}, "metrics": {"\\udfff": "\\ud800"}}\n',
    b'{"error": "line one\\nline two\\u0000"}\n',
    b'{"run_id": "stolen", "outcome": "success", "item_id": "other", "started_at": 5}\n',
    b'{"http_calls": 1099511627775}\n' * 30_000,
    b'{"http_calls": 9007199254740991}\n' * 3,
    b'{"k": "' + b"v" * 3_000_000 + b'"}\n',
    b'{"k": 1}\n' * 300_000,
    b"".join(b'{"key%d": "%s"}\n' % (number, b"v" * 400) for number in range(2000)),
    os.urandom(100_000),
]


@pytest.mark.usefixtures("enabled")
def test_no_report_however_strange_costs_the_run(tmp_path):
    for number, report in enumerate(GARBAGE):
        path = tmp_path / "report"
        path.write_bytes(report)
        ended = run([RYE, "run-with", "tool", f"item{number}", "--", "sh", "-c", f"cat {path} > $RYE_REPORT; exit 9"])
        assert (ended.returncode, ended.stdout, ended.stderr) == (9, b"", b""), number
    recorded = {r["item_id"]: r for r in runs()}
    assert len(recorded) == len(GARBAGE)
    assert {r["outcome"] for r in recorded.values()} == {"failure"}


@pytest.mark.parametrize(
    "replaced",
    [
        "rm $RYE_REPORT",
        "rm $RYE_REPORT; mkdir $RYE_REPORT",
        "rm $RYE_REPORT; mkfifo $RYE_REPORT",
        "ln -sf /etc/passwd $RYE_REPORT",
        "ln -sf /dev/zero $RYE_REPORT",
        "rm -r ${RYE_REPORT%/*}",
        "chmod 0 $RYE_REPORT",
        "rm -r ${RYE_REPORT%/*/*}",
    ],
)
def test_a_report_that_was_replaced_costs_nothing(enabled, replaced):
    ended = run(wrap("sh", "-c", f"{replaced}; exit 2"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, b"", b"")
    assert (last_run()["outcome"], last_run()["exit_code"]) == ("failure", 2)
    left = list((enabled / ".local/state/rye/telemetry").glob("reports/*"))
    assert [path for path in left if not path.is_dir()] == []


def test_a_report_adds_up_and_counts_what_it_rejects():
    told = fold_report(b'{"http_calls": 1}\nnonsense\n{"http_calls": 4, "m": 1}\n\n{"m": 2}')
    assert told == {"http_calls": 5, "report_rejected": 1, "metrics": {"m": 2}}
    assert fold_report(b"") == {}
    assert len(b"x" * MAX_REPORT_BYTES) == 1 << 20


# -- off


def test_off_adds_no_file_and_execs_the_command(home):
    ended = subprocess.Popen(wrap("sh", "-c", "echo $$"), stdout=subprocess.PIPE)
    assert int(ended.communicate()[0]) == ended.pid
    assert list(home.rglob("*")) == []


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    "options", [(), ("--timeout", "9"), ("--params", '{"a": 1}')], ids=["plain", "timeout", "params"]
)
def test_off_creates_opens_for_writing_and_locks_no_file(tmp_path, home, options):
    (home / ".ai").mkdir()
    (home / ".ai" / "config.yaml").write_text("telemetry:\n  enabled: false\n")
    trace = tmp_path / "trace"
    run(["strace", "-f", "-o", str(trace), *wrap("/bin/true", options=options)])
    lines = trace.read_text().splitlines()
    execs = [line for line in lines if "execve(" in line and line.endswith("= 0")]
    ours = lines[: lines.index(next(line for line in execs if '"/bin/true"' in line))]
    if "--timeout" not in options:
        assert execs[0].split()[0] == execs[-1].split()[0]  # the same process
    touching = re.compile(
        r" (mkdir|creat|unlink|rename|link|symlink|chmod|fchmod|chown|truncate|ftruncate|flock|mknod|utime)\w*\("
    )
    writing = re.compile(r" open(at)?\(.*O_(WRONLY|RDWR|CREAT|APPEND|TRUNC)")
    assert [line for line in ours if touching.search(line) or "F_SETLK" in line] == []
    assert [line for line in ours if writing.search(line)] == []


def test_off_with_a_timeout_supervises_and_records_nothing(home):
    began = time.monotonic()
    assert run(wrap("sleep", "9", options=("--timeout", "0.2"))).returncode == 124
    assert time.monotonic() - began < 5
    assert list(home.rglob("*")) == []


def test_off_hands_the_outer_run_through(enabled):
    inner = wrap("sh", "-c", "echo $RYE_RUN_ID")
    printed = run(["env", "RYE_TELEMETRY=1", *wrap("env", "RYE_TELEMETRY=0", *inner)]).stdout.decode().strip()
    assert printed == last_run()["run_id"]


# -- what is said


def test_mistakes_are_usage_errors_and_start_nothing(telemetry, home):
    for arguments in (
        ["run-with"],
        ["run-with", "tool"],
        ["run-with", "gadget", "x", "--", "echo", "ran"],
        ["run-with", "tool", "x", "y", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--timeout", "soon", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--timeout", "0", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--timeout", "nan", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--tag", "novalue", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--unknown", "--", "echo", "ran"],
        ["run-with", "tool", "x", "--"],
    ):
        ended = run([RYE, *arguments])
        assert ended.returncode in (1, 2), arguments
        assert b"ran" not in ended.stdout.split()
        assert ended.stderr
    assert list(home.rglob("*")) == []


def test_python_dash_m_is_the_same_command(telemetry):
    assert run([PYTHON, "-m", "rye_telemetry", *ITEM, "--", "sh", "-c", "exit 8"]).returncode == 8
