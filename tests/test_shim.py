"""The child side of a run, in real interpreters, against a real HTTP server."""

from __future__ import annotations

import ast
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from rye_telemetry.items.plan import SHIM


class Answers(http.server.BaseHTTPRequestHandler):
    """`/hops/N` redirects N times; anything else is ok."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        hops = int(self.path.rpartition("/")[2]) if self.path.startswith("/hops/") else 0
        body = b"ok"
        if hops:
            self.send_response(302)
            self.send_header("Location", f"/hops/{hops - 1}" if hops > 1 else "/done")
            body = b""
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Ran:
    def __init__(self, done, report_path):
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()
        self.report = None
        if report_path.is_file():
            self.report = [json.loads(line) for line in report_path.read_text().splitlines()]

    @property
    def error(self):
        return next((line["error"] for line in self.report or () if "error" in line), None)

    def counted(self, name):
        return sum(line.get(name, 0) for line in self.report)


@pytest.fixture
def shim(tmp_path):
    """Runs an item through the shim; its file stands alone in its folder."""

    def run(source, params=None, *, name="item.py", report=True, env=None, python=sys.executable, args=("-B",)):
        folder = tmp_path / "tools"
        folder.mkdir(exist_ok=True)
        item = folder / name
        item.write_bytes(source if isinstance(source, bytes) else source.encode())
        report_path = tmp_path / "report.ndjson"
        report_path.unlink(missing_ok=True)
        full = {**os.environ, "RYE_PARAMS": json.dumps(params or {}), **(env or {})}
        for name in ("RYE_REPORT", "PYTHONDONTWRITEBYTECODE"):
            full.pop(name, None)
        if report is True:
            full["RYE_REPORT"] = str(report_path)
        elif report:
            full["RYE_REPORT"] = str(report)
        argv = [python, *args, SHIM, str(item), str(tmp_path)]
        done = subprocess.run(argv, env=full, capture_output=True, timeout=30, check=False, cwd=tmp_path)
        return Ran(done, report_path)

    return run


# -- functions


@pytest.mark.parametrize(
    "signature",
    [
        "params, project_path",
        "project_path, params",
        "p, root",
        "params, *, project_path",
        "params, /, project_path='x'",
        "*args",
        "params, project_path, timeout=5",
        "params, project_path, **options",
        "**kwargs",
    ],
)
def test_execute_gets_params_and_project_path_whatever_it_calls_them(shim, tmp_path, signature):
    body = """
    found = dict(locals())
    flat = [*found.get("args", ()), *found.get("kwargs", {}).values(), *found.values()]
    return {"params": {"a": 1} in flat, "path": PATH in flat}
"""
    ran = shim(f"PATH = {str(tmp_path)!r}\ndef execute({signature}):{body}", {"a": 1})
    assert (ran.code, json.loads(ran.out)) == (0, {"params": True, "path": True})


@pytest.mark.parametrize(("signature", "expected"), [("", 0), ("params", 1), ("project_path", 1)])
def test_execute_with_fewer_parameters_gets_what_it_takes(shim, signature, expected):
    ran = shim(f"def execute({signature}):\n    return len(locals())", {"a": 1})
    assert (ran.code, ran.out) == (0, f"{expected}\n")


def test_execute_with_one_parameter_too_many_fails_in_one_line(shim):
    ran = shim("def execute(params, project_path, client):\n    return 1")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "execute() of" in ran.err
    assert "needs client; it takes params, project_path, client" in ran.err
    assert ran.error in ran.err


def test_main_gets_the_params_by_name(shim):
    ran = shim(
        "def main(name, *, greeting='Hello', **rest):\n    return f'{greeting} {name} {rest}'", {"name": "Ann", "x": 1}
    )
    assert (ran.code, ran.out) == (0, "\"Hello Ann {'x': 1}\"\n")


def test_main_names_all_that_is_missing_and_unknown_in_one_line(shim):
    ran = shim("def main(name, age, title=None):\n    return 1", {"colour": "red", "title": "Dr"})
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "needs name, age and does not know 'colour'; it takes name, age, title" in ran.err
    assert ran.error in ran.err


def test_a_type_error_inside_main_is_shown_as_the_items_own(shim):
    ran = shim("def main(a):\n    return a + 1", {"a": "x"})
    assert ran.code == 1
    assert "return a + 1" in ran.err
    assert "shim" not in ran.err
    assert ran.error.startswith("TypeError: ")


def test_main_gets_the_project_path_when_it_asks_for_it(shim, tmp_path):
    ran = shim(
        "async def main(item_id, project_path, params=None):\n    return [item_id, project_path]", {"item_id": "x"}
    )
    assert json.loads(ran.out) == ["x", str(tmp_path)]


@pytest.mark.parametrize("kind", ["async def execute(params):", "@wrapped\nasync def execute(params):"])
def test_an_async_function_is_awaited(shim, kind):
    source = f"""
import asyncio, functools
def wrapped(f):
    @functools.wraps(f)
    async def inner(*args, **kwargs):
        return await f(*args, **kwargs)
    return inner
{kind}
    await asyncio.sleep(0)
    return params
"""
    assert shim(source, {"é": [1]}).out == '{"é": [1]}\n'


def test_a_decorated_function_is_asked_for_its_real_parameters(shim):
    source = """
import functools
def wrapped(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs)
    return inner
@wrapped
def main(a, b=2):
    return [a, b]
"""
    assert shim(source, {"a": 1}).out == "[1, 2]\n"
    assert "needs a" in shim(source, {}).err


def test_a_function_that_returns_nothing_prints_nothing(shim):
    ran = shim("def execute(params):\n    pass")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_odd_values_are_printed_as_valid_json(shim):
    source = """
import datetime, pathlib
def execute(params):
    return {"when": datetime.date(2026, 1, 30), "path": pathlib.PurePosixPath("/x"), "n": float("nan"), 1: {2}}
"""
    ran = shim(source)
    assert ran.code == 0
    assert json.loads(ran.out) == {"when": "2026-01-30", "path": "/x", "n": None, "1": "{2}"}


def test_text_that_stdout_cannot_take_is_escaped(shim):
    source = "def execute(params):\n    return ['é', '\\ud800', '\\U0001f600']"
    ran = shim(source, env={"PYTHONIOENCODING": "latin-1"})
    assert ran.code == 0
    assert json.loads(ran.out) == ["é", "\ud800", "\U0001f600"]


def test_success_false_is_printed_and_is_a_failure_with_its_error(shim):
    ran = shim("def execute(params):\n    return {'success': False, 'error': 'no such page'}")
    assert (ran.code, json.loads(ran.out), ran.err) == (1, {"success": False, "error": "no such page"}, "")
    assert ran.error == "no such page"
    assert shim("def main():\n    return {'success': False, 'error': {'code': 5}}").error == '{"code": 5}'


@pytest.mark.parametrize("value", ["{'success': True}", "{'success': 0}", "{'success': None}", "False", "1"])
def test_only_success_false_is_a_failure(shim, value):
    ran = shim(f"def execute(params):\n    return {value}")
    assert (ran.code, ran.error) == (0, None)


def test_the_module_of_a_function_is_a_real_module(shim, tmp_path):
    source = """
from __future__ import annotations
import sys, pickle, dataclasses
@dataclasses.dataclass
class Point:
    x: int
def execute(params, project_path):
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
    assert sys.modules[__name__].execute is execute
    return [__name__, __file__, sys.argv, sys.path[0], __spec__.name, sys.dont_write_bytecode]
"""
    item = str(tmp_path / "tools" / "my_tool.py")
    ran = shim(source, name="my_tool.py")
    assert json.loads(ran.out) == ["my_tool", item, [item], str(tmp_path / "tools"), "my_tool", True]


@pytest.mark.parametrize("name", ["my-tool.py", "json.py", "__main__.py", "a b@1.2.py"])
def test_a_name_that_python_already_has_or_cannot_have_is_another_module(shim, name):
    ran = shim("def execute(params):\n    return __name__", name=name)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith('"rye_item_')


def test_worker_processes_find_the_functions_of_an_item(shim):
    source = """
import multiprocessing
def double(n):
    return 2 * n
def execute(params):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(double, [1, 2])
"""
    ran = shim(source, name="pooled.py")
    assert (ran.out, ran.err) == ("[2, 4]\n", "")


def test_a_main_that_reads_the_command_line_stays_a_program(shim):
    source = """
import sys
def main(argv=None):
    print("ran", __name__)
    return 3
if __name__ == "__main__":
    sys.exit(main())
"""
    ran = shim(source)
    assert (ran.code, ran.out) == (3, "ran __main__\n")
    assert shim(source.replace("argv=None", "n=1"), {"n": 4}).out == "ran item\n3\n"


def test_a_function_only_below_the_top_level_is_not_an_entry(shim):
    ran = shim("class A:\n    def execute(self): pass\ndef outer():\n    def main(): pass\nprint(__name__)")
    assert ran.out == "__main__\n"


# -- scripts

SCRIPTS = {
    "output": "import sys\nprint('out')\nprint('err', file=sys.stderr)",
    "globals": "print(sorted(globals()), __name__, __file__, __spec__, __package__, __doc__)",
    "argv and path": "import sys, os\nprint(sys.argv, os.path.samefile(sys.path[0], os.path.dirname(__file__)), len(sys.path))",
    "exit code": "import sys\nsys.exit(7)",
    "exit message": "raise SystemExit('gone wrong')",
    "exit none": "raise SystemExit(None)",
    "exit odd": "raise SystemExit([1, 2])",
    "exception": "def f():\n    1 / 0\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('x') from e",
    "context": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    int('x')",
    "group": "raise ExceptionGroup('g', [ValueError(1)])" if sys.version_info >= (3, 11) else "0",
    "syntax error": "print('never'\n",
    "tab error": "if 1:\n\tx\n        y\n",
    "warning": "x = 1\nif x is 1:\n    print('main')\ns = '\\d'\n",
    "excepthook": "import sys\nsys.excepthook = lambda *a: print('hooked', a[0].__name__)\n1 / 0",
    "thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()",
    "atexit": "import atexit\natexit.register(print, 'bye')\n1 / 0",
    "missing module": "import no_such_module",
    "missing in library": "import importlib\nimportlib.import_module('no_such')",
    "abort": "import os\nos._exit(9)",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "interrupt": "raise KeyboardInterrupt",
    "interrupt by signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)",
    "future": "x: Undefined = 1\nprint(__annotations__)"
    if sys.version_info < (3, 9)
    else "import __main__\nprint(__main__.__file__)",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))",
    "crlf": "print('a')\r\nprint('main')\r\n",
    "bom": "\ufeffprint('é')",
    "stdin": "print(repr(input()))",
    "isatty": "import sys\nprint(sys.stdin.isatty())",
    "modules": "import sys\nprint('json' in sys.modules, 'ast' in sys.modules, 're' in sys.modules, 'inspect' in sys.modules)",
    "deep": "x = " + "+".join(["1"] * 400) + "\nprint(x, 'main')",
    "annotation": "def f(x: Undefined): pass\nprint('main')",
    "empty": "",
}


def bare_and_shim(tmp_path, source, *, report=True):
    item = tmp_path / "script.py"
    item.write_bytes(source.encode())
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    bare = subprocess.run(
        [sys.executable, "-B", str(item)], env=env, capture_output=True, input=b"typed\n", check=False
    )
    if report:
        env["RYE_REPORT"] = str(tmp_path / "report")
    argv = [sys.executable, "-B", SHIM, str(item), str(tmp_path)]
    through = subprocess.run(argv, env=env, capture_output=True, input=b"typed\n", check=False)
    return bare, through


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_behaves_as_under_bare_python(tmp_path, name):
    bare, through = bare_and_shim(tmp_path, SCRIPTS[name])
    assert (through.returncode, through.stdout, through.stderr) == (bare.returncode, bare.stdout, bare.stderr)


def test_an_interrupted_item_dies_of_the_signal_and_reports_no_error(shim):
    ran = shim("def execute(params):\n    raise KeyboardInterrupt")
    assert ran.code == -signal.SIGINT
    assert "shim" not in ran.err
    assert ran.report == [{"http_calls": 0, "subprocess_calls": 0}]


def test_an_exception_in_execute_is_shown_without_our_frames(shim):
    ran = shim("def execute(params):\n    return [][1]")
    assert ran.code == 1
    assert ran.err.startswith("Traceback (most recent call last):\n")
    assert ran.err.count("File ") == 1
    assert ran.error == "IndexError: list index out of range"


@pytest.mark.parametrize("source", [b"x = 1\0", b"# coding: no-such\n", b"\xff\xfe", b"\x89PNG\r\n"])
def test_a_file_that_is_no_python_is_refused_as_one(shim, source):
    ran = shim(source)
    assert (ran.code, ran.out) == (1, "")
    assert "shim" not in ran.err
    assert ran.error.startswith(("SyntaxError", "ValueError"))


def test_an_import_that_fails_inside_a_watched_library_shows_no_frame_of_ours(tmp_path):
    (tmp_path / "httpx").mkdir()
    (tmp_path / "httpx" / "__init__.py").write_text("import nowhere_to_be_found\n")
    bare, through = bare_and_shim(tmp_path, "import httpx\n")
    assert (through.returncode, through.stderr) == (bare.returncode, bare.stderr)


def test_params_do_not_reach_the_environment_of_a_function(shim):
    ran = shim("import os\ndef execute(params):\n    return [params, 'RYE_PARAMS' in os.environ]", {"a": 1})
    assert ran.out == '[{"a": 1}, false]\n'


def test_params_reach_a_script_through_its_environment(shim):
    source = "import os\nprint(os.environ.get('RYE_PARAMS'))"
    assert shim(source, {"a": 1}).out == '{"a": 1}\n'
    assert shim(source, {}).out == "None\n"


def test_nothing_is_written_beside_the_item(shim, tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "beside.py").write_text("x = 1\n")
    ran = shim("import beside\ndef execute(params):\n    return beside.x", args=())
    assert ran.out == "1\n"
    assert sorted(os.listdir(tmp_path / "tools")) == ["beside.py", "item.py"]


def test_an_item_may_live_beside_files_that_shadow_the_standard_library(shim, tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("json.py", "inspect.py", "_json.py"):
        (tmp_path / "tools" / name).write_text("raise RuntimeError('shadow')\n")
    assert shim("def execute(params):\n    return 1", {"a": 1}).out == "1\n"
    assert shim("def execute(params):\n    1 / 0").error == "ZeroDivisionError: division by zero"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no safe path before Python 3.11")
def test_safe_path_is_respected(shim, tmp_path):
    ran = shim("import sys\ndef execute(params):\n    return sys.path", env={"PYTHONSAFEPATH": "1"})
    assert str(tmp_path / "tools") not in json.loads(ran.out)
    assert not any("runner" in entry for entry in json.loads(ran.out))


def test_an_item_behind_a_link_finds_its_neighbours(shim, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "neighbour.py").write_text("x = 5\n")
    (real / "linked.py").write_text("import neighbour\ndef execute(params):\n    return neighbour.x\n")
    link = tmp_path / "link.py"
    link.symlink_to(real / "linked.py")
    done = subprocess.run([sys.executable, "-B", SHIM, str(link), str(tmp_path)], capture_output=True, check=False)
    assert done.stdout == b"5\n"


def test_the_shim_is_written_in_the_python_of_3_8():
    ast.parse(Path(SHIM).read_bytes(), feature_version=(3, 8))


# -- counting


REQUESTS = {
    "urllib": (3, "import urllib.request\nurllib.request.urlopen(URL).read()"),
    "requests": (9, "import requests\nrequests.get(URL)\nwith requests.Session() as s:\n    s.get(URL); s.get(URL)"),
    "urllib3": (3, "import urllib3\nurllib3.PoolManager().request('GET', URL).data"),
    "http.client": (
        2,
        """
import http.client
c = http.client.HTTPConnection(URL.split('/')[2])
for _ in range(2):
    c.request('GET', '/'); c.getresponse().read()
c.close()
""",
    ),
    "httpx": (4, "import httpx\nhttpx.get(URL, follow_redirects=True)\nhttpx.get(URL)"),
    "httpx async": (
        6,
        """
import httpx, asyncio
async def go():
    async with httpx.AsyncClient(follow_redirects=True) as c:
        await asyncio.gather(c.get(URL), c.get(URL))
asyncio.run(go())
""",
    ),
    "aiohttp": (
        4,
        """
import aiohttp, asyncio
async def go():
    async with aiohttp.ClientSession() as s:
        async with s.get(URL) as r: await r.read()
        async with s.get(URL, allow_redirects=False) as r: await r.read()
asyncio.run(go())
""",
    ),
    "mock transport": (
        0,
        "import httpx\nhttpx.Client(transport=httpx.MockTransport(lambda r: httpx.Response(200))).get(URL)",
    ),
    "threads": (
        24,
        """
import urllib.request, threading
t = [threading.Thread(target=lambda: urllib.request.urlopen(URL).read()) for _ in range(8)]
for x in t: x.start()
for x in t: x.join()
""",
    ),
    "found twice and reloaded": (
        3,
        """
import importlib, importlib.util
assert importlib.util.find_spec('http.client')
import http.client
importlib.reload(http.client)
import urllib.request
urllib.request.urlopen(URL).read()
""",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_each_request_is_counted_once_redirects_included(shim, url, name):
    expected, source = REQUESTS[name]
    ran = shim(f"URL = {url + '/hops/2'!r}\n{source}\n")
    assert (ran.code, ran.err) == (0, "")
    assert ran.counted("http_calls") == expected
    assert ran.counted("subprocess_calls") == 0


def test_a_library_that_was_imported_before_is_counted_too(shim, tmp_path, url):
    (tmp_path / "sitecustomize.py").write_text("import http.client\n")
    source = f"import urllib.request\nurllib.request.urlopen({url!r}).read()"
    assert shim(source, env={"PYTHONPATH": str(tmp_path)}).counted("http_calls") == 1


def test_a_library_in_an_archive_is_counted_once_even_when_it_was_looked_for_before(shim, tmp_path):
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("httpx.py", "class HTTPTransport:\n    def handle_request(self): pass\n")
    source = (
        "import importlib.util\nimportlib.util.find_spec('httpx')\nimport httpx\nhttpx.HTTPTransport().handle_request()"
    )
    assert shim(source, env={"PYTHONPATH": str(tmp_path / "lib.zip")}).counted("http_calls") == 1


def test_counting_leaves_the_libraries_as_they_look(shim):
    source = """
import inspect, httpx, http.client
assert inspect.iscoroutinefunction(httpx.AsyncHTTPTransport.handle_async_request)
assert list(inspect.signature(http.client.HTTPConnection.putrequest).parameters)[:3] == ["self", "method", "url"]
assert "def putrequest" in inspect.getsource(http.client.HTTPConnection.putrequest)
assert type(httpx.__spec__.loader) is type(http.client.__spec__.loader)
"""
    assert shim(source).err == ""


SPAWNS = {
    "run": "subprocess.run(['true'])",
    "run by posix_spawn": "subprocess._USE_POSIX_SPAWN = True; subprocess.run([shutil.which('true')], close_fds=False)",
    "system": "os.system('true')",
    "popen": "os.popen('true').close()",
    "posix_spawn": "os.waitpid(os.posix_spawn(shutil.which('true'), ['true'], os.environ), 0)",
    "spawnv": "os.spawnv(os.P_WAIT, shutil.which('true'), ['true'])",
    "spawnvp, which searches PATH": "os.spawnvp(os.P_WAIT, 'true', ['true'])",
    "exec": "os.execvp('true', ['true'])",
    "async": "asyncio.run(asyncio.create_subprocess_exec('true'))",
    "not found": "subprocess.run(['no-such-program-here']) if 0 else os.system('exit 3')",
}


@pytest.mark.parametrize("name", SPAWNS)
def test_each_spawn_is_counted_once(shim, name):
    ran = shim(f"import os, subprocess, shutil, asyncio\n{SPAWNS[name]}\n")
    assert (ran.code, ran.err) == (0, "")
    assert (ran.counted("subprocess_calls"), ran.counted("http_calls")) == (1, 0)


def test_what_forked_children_do_is_counted_and_nothing_is_written_twice(shim, url):
    source = f"""
import os, urllib.request, subprocess, sys
urllib.request.urlopen({url!r}).read()
for way in ("hard", "soft"):
    child = os.fork()
    if not child:
        urllib.request.urlopen({url!r}).read()
        subprocess.run(["true"])
        os._exit(0) if way == "hard" else sys.exit(0)
    os.waitpid(child, 0)
"""
    ran = shim(source)
    assert (ran.counted("http_calls"), ran.counted("subprocess_calls")) == (3, 2)
    assert ran.report[-1] == {"http_calls": 1, "subprocess_calls": 0}


def test_counts_are_told_however_the_item_ends(shim):
    for ending in ("1 / 0", "raise SystemExit(3)", "raise KeyboardInterrupt", "pass"):
        ran = shim(f"import os\ndef execute(params):\n    os.system('true')\n    {ending}")
        assert ran.report[-1] == {"http_calls": 0, "subprocess_calls": 1}


def test_what_happens_at_exit_is_still_counted(shim):
    assert shim("import atexit, os\natexit.register(os.system, 'true')").counted("subprocess_calls") == 1


def test_an_error_is_told_in_at_most_500_characters(shim):
    ran = shim("raise ValueError('é\"\\n' * 1000)")
    assert len(ran.error) == 500
    assert ran.error.startswith('ValueError: é"\né"\n')
    assert shim("raise SystemExit('no config')").error == "no config"
    assert shim("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd").error == "Odd"


def test_lines_the_item_wrote_itself_stay_whole(shim):
    ran = shim("import os\nopen(os.environ['RYE_REPORT'], 'a').write('{\"tokens\": {\"input\": 5}}')")
    assert ran.report == [{"tokens": {"input": 5}}, {"http_calls": 0, "subprocess_calls": 0}]


def test_without_a_report_nothing_is_written_and_nothing_is_watched(shim, tmp_path):
    ran = shim("import sys, os\nos.system('true')\nprint([type(f).__name__ for f in sys.meta_path])", report=False)
    assert (ran.code, ran.report) == (0, None)
    assert "ImportWatch" not in ran.out
    assert sorted(os.listdir(tmp_path)) == ["tools"]


@pytest.mark.parametrize("kind", ["missing folder", "folder", "device", "pipe", "read-only", "empty name"])
def test_a_report_that_cannot_be_written_changes_nothing(shim, tmp_path, kind):
    target = tmp_path / "target"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "read-only":
        target.write_text("")
        target.chmod(0o400)
    places = {"missing folder": target / "x", "device": "/dev/full", "empty name": " "}
    ran = shim("import os\nos.system('true')\nprint('done')\n1 / 0", report=places.get(kind, target))
    assert (ran.code, ran.out) == (1, "done\n")
    assert ran.err.count("File ") == 1
    assert ran.err.endswith("ZeroDivisionError: division by zero\n")


def test_the_report_is_found_again_after_the_item_changed_folder(shim, tmp_path):
    ran = shim("import os\nos.chdir('/')", report="report.ndjson")
    assert ran.report == [{"http_calls": 0, "subprocess_calls": 0}]


def test_the_report_is_private_when_the_shim_creates_it(shim, tmp_path):
    shim("pass")
    assert (tmp_path / "report.ndjson").stat().st_mode & 0o777 == 0o600
