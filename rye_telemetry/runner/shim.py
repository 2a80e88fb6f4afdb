"""The child side of a run: executes one Python item in the interpreter of its project and counts what it does.

Run by path as `python -B shim.py ITEM PROJECT`, in any Python from 3.8 on: standard library only, nothing of
rye_telemetry. RYE_PARAMS carries the parameters, RYE_REPORT names the file that the counts are appended to.
What the item sees is what `python ITEM` would show it; a failing report is never its problem.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType, TracebackType
    from typing import Any

    Parameter = tuple[str, int, bool]  # name, kind as `inspect` numbers them, required

MAX_ERROR_CHARACTERS = 500
ONLY_AST = 0x400
TAKES_ARGS, TAKES_KWARGS, IS_COROUTINE = 0x04, 0x08, 0x80
POSITIONAL_ONLY, POSITIONAL, VAR_POSITIONAL, KEYWORD_ONLY, VAR_KEYWORD = range(5)
HTTP, SPAWN = 0, 1
# Called once for each request that goes out, redirects included: library -> class and method, where a version has them.
REQUESTS = {
    "http.client": (("HTTPConnection", "putrequest"),),
    "httpx": (("HTTPTransport", "handle_request"), ("AsyncHTTPTransport", "handle_async_request")),
    "aiohttp": (("BaseConnector", "connect"),),
}
SPAWNS = frozenset(("subprocess.Popen", "os.system", "os.posix_spawn", "os.spawn"))


class Report:
    """Two counts in memory, and the file they are appended to; without a path, nothing is ever written.

    A list of None is a counter that no thread, signal handler or fork can tear.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path) if path else ""
        self.owner = self.process = os.getpid()
        self.calls: tuple[list[None], list[None]] = ([], [])
        self.told = (0, 0)
        self.replaced = 0

    def count(self, kind: int) -> None:
        """Add one; a forked child may end without a word, so it tells at once (after a hundred, now and then)."""
        self._enter_process()
        self.calls[kind].append(None)
        total = len(self.calls[HTTP]) + len(self.calls[SPAWN])
        if self.process != self.owner and (total <= 100 or total % 100 == 0):
            self.tell_counts()

    def count_exec(self) -> None:
        """Once a process: a second one only says that the first did not find its program, as in a search of PATH."""
        if self.replaced != os.getpid():
            self.replaced = os.getpid()
            self.count(SPAWN)
            self.tell_counts()

    def tell_counts(self) -> None:
        self._enter_process()
        before, self.told = self.told, (len(self.calls[HTTP]), len(self.calls[SPAWN]))
        if self.told != before or self.process == self.owner:
            http, spawns = self.told[HTTP] - before[HTTP], self.told[SPAWN] - before[SPAWN]
            self._append(f'{{"http_calls": {http}, "subprocess_calls": {spawns}}}\n')

    def tell_error(self, text: str) -> None:
        try:
            from _json import encode_basestring_ascii as quoted  # not `json`, which the item may shadow
        except ImportError:  # another interpreter than CPython
            from json.encoder import py_encode_basestring_ascii as quoted
        if self.path and os.getpid() == self.owner:
            self._append(f'{{"error": {quoted(text[:MAX_ERROR_CHARACTERS])}}}\n')

    def _enter_process(self) -> None:
        if self.process != os.getpid():
            self.process = os.getpid()
            self.calls, self.told = ([], []), (0, 0)

    def _append(self, line: str) -> None:
        """One write of one whole line; a pipe or a device is no file and is left alone."""

        def opened(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        try:
            with open(self.path, "a+b", buffering=0, opener=opened) as file:
                torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write((b"\n" if torn else b"") + line.encode())
        except OSError:
            pass


def watch(report: Report) -> None:
    """Count from now on: spawns by an audit hook, requests in each HTTP library as soon as it has been imported."""
    for name in REQUESTS:
        if name in sys.modules:
            count_requests(sys.modules[name], report)
    sys.meta_path.insert(0, ImportWatch(report))

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event in SPAWNS:
            # Popen may spawn by posix_spawn: its own event has been counted already.
            caller = sys._getframe().f_back  # noqa: SLF001 (the only way to tell the two apart)
            if event != "os.posix_spawn" or caller is None or caller.f_globals.get("__name__") != "subprocess":
                report.count(SPAWN)
        elif event == "os.exec":
            report.count_exec()

    sys.addaudithook(hook)


class ImportWatch:
    """A finder that finds nothing by itself: it has a library patched as soon as that has been executed."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        for finder in sys.meta_path if name in REQUESTS else ():
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                self.patch_when_executed(name, spec.loader)
                return spec
        return None

    def patch_when_executed(self, name: str, loader: Any) -> None:
        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == name:
                count_requests(module, self.report)

        try:
            execute = loader.exec_module
            loader.exec_module = exec_module
        except AttributeError:  # a loader without room for it: its requests are not counted
            pass


def count_requests(module: ModuleType, report: Report) -> None:
    for class_name, method in REQUESTS[module.__name__]:
        owner = getattr(module, class_name, None)
        original = getattr(owner, method, None)
        if original is not None and not hasattr(original, "counted_by_rye"):
            setattr(owner, method, counted(original, report))


def counted(original: Any, report: Report) -> Any:
    from functools import wraps

    @wraps(original)
    def call_counted(*args: Any, **kwargs: Any) -> Any:
        report.count(HTTP)
        return original(*args, **kwargs)

    @wraps(original)
    async def await_counted(*args: Any, **kwargs: Any) -> Any:
        report.count(HTTP)
        return await original(*args, **kwargs)

    code = getattr(original, "__code__", None)
    wrapper: Any = await_counted if code is not None and code.co_flags & IS_COROUTINE else call_counted
    wrapper.counted_by_rye = True
    return wrapper


def compile_item(source: bytes, path: str) -> tuple[CodeType, str | None]:
    """Return the code, and the function to call (None: a script); from one tree, so that a warning is shown once."""
    if b"execute" in source or b"main" in source:
        try:
            tree = compile(source, path, "exec", ONLY_AST, dont_inherit=True)
            return compile(tree, path, "exec", dont_inherit=True), entry_of(tree)
        except RecursionError:  # too deep for a tree of objects, though not for the compiler itself
            pass
    return compile(source, path, "exec", dont_inherit=True), None


def entry_of(tree: Any) -> str | None:
    """Return `execute` or `main` when the module defines it at its top level.

    A `main` without parameters, or with only `argv` or `args`, in a file that has `if __name__ == "__main__":` is a
    command line program, whose result is an exit code: such a file is a script.
    """
    functions = {node.name: node for node in tree.body if type(node).__name__ in ("FunctionDef", "AsyncFunctionDef")}
    if "execute" in functions or "main" not in functions:
        return "execute" if "execute" in functions else None
    takes = functions["main"].args
    names = [argument.arg for argument in [*takes.posonlyargs, *takes.args, *takes.kwonlyargs]]
    is_program = not takes.vararg and not takes.kwarg and names in ([], ["argv"], ["args"])
    return None if is_program and any(is_main_guard(node) for node in tree.body) else "main"


def is_main_guard(node: Any) -> bool:
    test: Any = getattr(node, "test", None)
    sides = [test.left, *test.comparators] if type(test).__name__ == "Compare" else []
    named = any(getattr(side, "id", None) == "__name__" for side in sides)
    return named and any(getattr(side, "value", None) == "__main__" for side in sides)


def make_module(name: str, path: str) -> ModuleType:
    """Return an empty module as Python itself would set it up for this file, already in `sys.modules`."""
    module = type(sys)(name)
    loader = type(globals()["__loader__"])(name, path)
    spec = None if name == "__main__" else type(sys.__spec__)(name, loader, origin=path)
    module.__dict__.update(__file__=path, __loader__=loader, __spec__=spec, __package__=spec and "", __cached__=None)
    if spec is None and "__annotations__" in globals():  # until Python 3.13
        module.__annotations__ = {}
    sys.modules[name] = module
    return module


def module_name(path: str) -> str:
    """The file's own name, so that pickle and multiprocessing find it again, unless a module is called that."""
    stem = os.path.splitext(os.path.basename(path))[0]
    taken = stem in sys.modules or stem in getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    return "rye_item_" + stem if taken or not stem.isidentifier() else stem


def parameters_of(function: Any) -> list[Parameter]:
    """Return the parameters, without the cost of `inspect` for a plain function."""
    if type(function) is not type(main) or hasattr(function, "__wrapped__"):
        import inspect

        parameters = inspect.signature(function).parameters.values()
        return [(p.name, int(p.kind), p.default is p.empty and p.kind not in (2, 4)) for p in parameters]
    code = function.__code__
    count, names = code.co_argcount, code.co_varnames
    first_default = count - len(function.__defaults__ or ())
    found: list[Parameter] = [
        (name, POSITIONAL_ONLY if number < code.co_posonlyargcount else POSITIONAL, number < first_default)
        for number, name in enumerate(names[:count])
    ]
    defaulted = function.__kwdefaults__ or {}
    found += [(name, KEYWORD_ONLY, name not in defaulted) for name in names[count : count + code.co_kwonlyargcount]]
    variable = [kind for flag, kind in ((TAKES_ARGS, 2), (TAKES_KWARGS, 4)) if code.co_flags & flag]
    return found + [(names[number], kind, False) for number, kind in enumerate(variable, len(found))]


def values_for(name: str, parameters: list[Parameter], params: dict[str, Any], project_path: str) -> dict[str, Any]:
    """Return values by name: main() gets the params; execute() two values, by name or, under other names, in order."""
    taken = [parameter for parameter, kind, _ in parameters if kind not in (VAR_POSITIONAL, VAR_KEYWORD)]
    if name == "main":
        wants_path = "project_path" in taken and "project_path" not in params
        return {**params, "project_path": project_path} if wants_path else dict(params)
    given = {"params": params, "project_path": project_path}
    values = {parameter: given.pop(parameter) for parameter in taken if parameter in given}
    for parameter, kind, _ in parameters:
        if given and parameter not in values and kind in (POSITIONAL_ONLY, POSITIONAL):
            values[parameter] = given.pop(next(iter(given)))
    if any(kind == VAR_KEYWORD for _, kind, _ in parameters):
        values.update(given)
    return values


def check_values(what: str, parameters: list[Parameter], values: dict[str, Any]) -> None:
    """End with one line that names all that is missing and all that is unknown."""
    taken = [name for name, kind, _ in parameters if kind not in (VAR_POSITIONAL, VAR_KEYWORD)]
    missing = [name for name, _, required in parameters if required and name not in values]
    open_ended = any(kind == VAR_KEYWORD for _, kind, _ in parameters)
    unknown = [] if open_ended else [name for name in values if name not in taken]
    if missing or unknown:
        parts = ["needs " + ", ".join(missing)] if missing else []
        parts += ["does not know " + ", ".join(map(ascii, unknown))] if unknown else []
        sys.exit(f"{what} {' and '.join(parts)}; it takes {', '.join(taken) or 'nothing'}")


def call(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    if not hasattr(type(result), "__await__"):
        return result
    import asyncio

    async def awaited() -> Any:
        return await result

    return asyncio.run(awaited())


def json_text(value: Any) -> str:
    """Return JSON: odd objects by str(), what is not a number as null, ASCII only where stdout takes no more."""
    import json

    try:
        text = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except ValueError:
        text = json.dumps(json.loads(json.dumps(value, default=str), parse_constant=lambda _: None))
    return text


def run_item(path: str, project_path: str, params_text: str, report: Report) -> None:
    with open(path, "rb") as file:
        code, entry = compile_item(file.read(), path)
    if entry is not None:
        import json  # before the item's folder is on sys.path

        params = json.loads(params_text)
    elif params_text != "{}":
        os.environ["RYE_PARAMS"] = params_text  # a script has no other way to its parameters
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    module = make_module("__main__" if entry is None else module_name(path), path)
    exec(code, module.__dict__)  # noqa: S102 (executing the item is what this file is for)
    if entry is not None:
        run_function(module.__dict__.get(entry), entry, params, project_path, report)


def run_function(function: Any, name: str, params: dict[str, Any], project_path: str, report: Report) -> None:
    what = f"{name}() of {sys.argv[0]}"
    if not callable(function):
        sys.exit(f"{what} is gone once its module has been loaded")
    parameters = parameters_of(function)
    if name == "execute" and any(kind == VAR_POSITIONAL for _, kind, _ in parameters):
        result = call(function, [params, project_path], {})
    else:
        values = values_for(name, parameters, params, project_path)
        check_values(what, parameters, values)
        args = [values.pop(n) for n, kind, _ in parameters if kind == POSITIONAL_ONLY and n in values]
        result = call(function, args, values)
    if result is not None and sys.stdout is not None:
        sys.stdout.write(json_text(result) + "\n")
    if isinstance(result, dict) and result.get("success") is False:
        error = result.get("error", "success: false")
        report.tell_error(error if isinstance(error, str) else json_text(error))
        sys.exit(1)


def main() -> None:
    path, project_path = sys.argv[1], sys.argv[2]
    sys.argv = [path]
    sys.dont_write_bytecode = True
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    params_text = os.environ.pop("RYE_PARAMS", "{}")
    report = Report(os.environ.get("RYE_REPORT", ""))
    if report.path:
        atexit.register(report.tell_counts)
        watch(report)
    try:
        run_item(path, project_path, params_text, report)
    except BaseException as e:
        error = error_text(e)
        if error:
            report.tell_error(error)
        if not isinstance(e, SystemExit):
            hide_own_frames()
        raise


def error_text(error: BaseException) -> str:
    """Return what went wrong, "" for an exit code or an interrupt, which speak for themselves."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        code = getattr(error, "code", None)
        return code if isinstance(code, str) else ""
    name = type(error).__name__
    try:
        return f"{name}: {error}" if str(error) else name
    except Exception:  # noqa: BLE001 (an item's own __str__ may do anything)
        return name


def hide_own_frames() -> None:
    """Have the traceback that Python is about to show start where the item's own code starts."""
    shown = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        sys.excepthook = shown
        chain: list[BaseException] = [error]
        for e in chain:
            e.__traceback__ = without_own_frames(e.__traceback__)
            linked = (e.__cause__, e.__context__)
            chain += [other for other in linked if other is not None and all(other is not known for known in chain)]
        shown(kind, error, error.__traceback__)

    sys.excepthook = excepthook


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Drop this file's frames, and those of the import system that lie around them."""
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    names = [t.tb_frame.f_code.co_filename for t in frames]
    hidden = {n for n, name in enumerate(names) if name == main.__code__.co_filename}
    for numbers, step in ((range(len(names)), 1), (reversed(range(len(names))), -1)):
        hidden.update(n for n in numbers if names[n].startswith("<frozen importlib") and n - step in hidden)
    kept = [t for n, t in enumerate(frames) if n not in hidden]
    for t, following in zip(kept, [*kept[1:], None]):  # noqa: B905 (Python 3.8 has no strict=)
        t.tb_next = following
    return kept[0] if kept else None


if __name__ == "__main__":
    main()
