"""Where an item is: the project's `.ai/` first, then the user's space."""

from __future__ import annotations

import os

from rye_telemetry.errors import ItemNotFound, ItemNotRunnable, UsageInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = {"directive": "directives", "tool": "tools", "knowledge": "knowledge"}
TOOL_EXTENSIONS = frozenset(
    (".py", ".sh", ".bash", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".yaml", ".yml"),
)
_TEXT_EXTENSIONS = frozenset((".md", ".mdx", ".markdown"))
_SKIPPED_FOLDERS = frozenset(("__pycache__", "node_modules"))
# A walk ends here: an item deeper or later than this has to be named with its folders.
MAX_ENTRIES = 20_000
MAX_DEPTH = 16
MAX_ID_CHARACTERS = 512


def find_item(item_type: str, item_id: str, *, project_path: str, user_dir: str) -> str:
    """Return the absolute path of an item's file.

    The id may leave out category folders, the extension and, where no file carries it, an `@version`. In each space an
    exact relative path wins, then a name directly in the folder that the id gives, then a search below.
    ItemNotFound: in no space. ItemNotRunnable: several fit. UsageInvalid: the id cannot name an item.
    """
    if item_type not in FOLDERS:
        raise UsageInvalid(f"no item type {item_type!r}: it is one of {', '.join(FOLDERS)}")
    wanted = check_item_id(item_id)
    roots = _roots(item_type, project_path, user_dir)
    for spelling in _spellings(wanted):
        for root in roots:
            found = _find_below(root, spelling, item_type)
            if found is not None:
                return found
    raise ItemNotFound(_not_found(item_type, item_id, wanted, roots))


def check_item_id(item_id: str) -> str:
    """Return the id as a relative path with `/`, or raise UsageInvalid when it cannot be one."""
    if len(item_id) > MAX_ID_CHARACTERS:
        raise UsageInvalid(f"an item id has at most {MAX_ID_CHARACTERS} characters, this one {len(item_id)}")
    if any(c < " " or c == "\x7f" for c in item_id):
        raise UsageInvalid(f"an item id holds no control characters: {item_id!r}")
    path = item_id.replace("\\", "/") if os.name == "nt" else item_id
    if path.startswith("/") or os.path.isabs(path) or os.path.splitdrive(path)[0]:
        raise UsageInvalid(f"{item_id!r} is an absolute path: an item id is relative to the folder of its type")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageInvalid(f"{item_id!r} leads out of the folder of its type: an item id has no '..'")
    if not parts:
        raise UsageInvalid(f"an item id names an item: {item_id!r} does not")
    return "/".join(parts)


def _roots(item_type: str, project_path: str, user_dir: str) -> list[str]:
    spaces = (os.path.join(project_path, ".ai"), user_dir)
    roots = [os.path.join(os.path.abspath(space), FOLDERS[item_type]) for space in spaces]
    return roots[:1] if roots[0] == roots[1] else roots


def _spellings(wanted: str) -> tuple[str, ...]:
    """The id as it is, then without its `@version`."""
    folder, slash, name = wanted.rpartition("/")
    stem, at, version = name.rpartition("@")
    return (wanted, folder + slash + stem) if at and stem and version else (wanted,)


def _find_below(root: str, wanted: str, item_type: str) -> str | None:
    exact = os.path.join(root, wanted)
    if os.path.isfile(exact):
        return exact
    folder, _, name = wanted.rpartition("/")
    direct = [file for file in _files_in(os.path.join(root, folder)) if _fits(file, name)]
    found = [f"{folder}/{file}" if folder else file for file in direct] or list(_search(root, folder, name))
    if not found:
        return None
    if len(found) > 1:
        found = [path for path in found if _looks_like(item_type, os.path.join(root, path))] or found
    if len(found) > 1:
        raise ItemNotRunnable(
            f"several items fit {item_type} {wanted!r} in {root}: {', '.join(sorted(found))}; "
            f"choose by giving one of these as the id, as in: run-with {item_type} {min(found)}"
        )
    return os.path.join(root, found[0])


def _search(root: str, folder: str, name: str) -> Iterator[str]:
    ending = f"/{folder}" if folder else ""
    for path in walk_files(root):
        where, _, file = path.rpartition("/")
        if _fits(file, name) and f"/{where}".endswith(ending):
            yield path


def _fits(file: str, name: str) -> bool:
    """Whether a file is called `name`, or `name` with one extension; `x@1` does not name the file `x@1.2`."""
    if file == name:
        return True
    extension = file[len(name) + 1 :]
    return file.startswith(f"{name}.") and extension != "" and "." not in extension and not extension[0].isdigit()


def _looks_like(item_type: str, path: str) -> bool:
    """Whether a file beside others of its name is the item rather than what belongs to it."""
    extension = os.path.splitext(path)[1].lower()
    if item_type != "tool":
        return extension in _TEXT_EXTENSIONS
    if extension in TOOL_EXTENSIONS or os.access(path, os.X_OK):
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _files_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_file(entry))
    except OSError:
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def walk_files(root: str) -> Iterator[str]:
    """Yield files below a folder as relative paths with `/`, the shallow ones first, in the order of their names.

    Hidden folders and files, caches and node_modules are left out; a linked folder is followed, but never twice.
    """
    seen: set[tuple[int, int]] = set()
    level = [""]
    left = MAX_ENTRIES
    for _ in range(MAX_DEPTH):
        below: list[str] = []
        for folder in level:
            files, folders = _listed(os.path.join(root, folder), seen, left)
            left -= len(files) + len(folders)
            prefix = f"{folder}/" if folder else ""
            yield from (prefix + file for file in files)
            below.extend(prefix + name for name in folders)
        level = below
        if not level or left <= 0:
            return


def _listed(folder: str, seen: set[tuple[int, int]], left: int) -> tuple[list[str], list[str]]:
    files: list[str] = []
    folders: list[str] = []
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return files, folders
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(files) + len(folders) >= left:
                    break
                if entry.name.startswith(".") or entry.name in _SKIPPED_FOLDERS:
                    continue
                if _is_file(entry):
                    files.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
    except OSError:  # gone meanwhile, or not ours to read: nothing is found there
        pass
    return sorted(files), sorted(folders)


def _not_found(item_type: str, item_id: str, wanted: str, roots: list[str]) -> str:
    places = " or ".join(root if os.path.isdir(root) else f"{root} (no such folder)" for root in roots)
    nearest = _nearest_ids(wanted, roots)
    hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
    return (
        f"no {item_type} {item_id!r} in {places}{hint}. "
        f"A command of your own runs under any id as: run-with {item_type} ID -- COMMAND"
    )


def _nearest_ids(wanted: str, roots: list[str]) -> list[str]:
    import difflib
    from itertools import islice

    ids: dict[str, list[str]] = {}
    for root in roots:
        for path in islice(walk_files(root), 2000):
            item_id = os.path.splitext(path)[0]
            for key in (item_id, item_id.rpartition("/")[2]):
                known = ids.setdefault(key.lower(), [])
                if item_id not in known:
                    known.append(item_id)
    stem = os.path.splitext(wanted)[0].lower()
    keys = difflib.get_close_matches(stem, ids, n=3) + difflib.get_close_matches(stem.rpartition("/")[2], ids, n=3)
    return list(dict.fromkeys(item_id for key in keys for item_id in ids[key]))[:3]
