"""A folder is an import rule, and the code stays small: both read from the source, without importing it."""

import ast
import functools
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ssyncd"

# Who may import what of the package: by folder, or by module at the top. A name stands for itself and all below it.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "status": set(),
    "wording": set(),
    "log": set(),
    "notify": set(),
    "tuning": set(),
    "threads": {"errors"},
    # think
    "protocol": {"protocol", "errors"},
    "content": {"content", "planner.tree", "errors"},
    "planner": {"planner", "errors"},
    # touch
    "disk": {"disk", "planner.tree", "planner.names", "planner.ignore", "content", "threads", "errors"},
    "state": {"state", "planner.tree", "planner.structure", "protocol", "disk.base", "errors"},
    "network": {"network", "protocol.messages", "content", "threads", "errors", "__version__"},
    # join
    "transfer": {"transfer", "content", "disk", "network", "planner.tree", "planner.names", "threads", "errors"},
    "folder": {
        "folder", "library.line", "transfer", "planner", "content", "disk", "network", "protocol", "state", "status", "tuning",
        "threads", "errors", "__version__",
    },
    "library": {"library", "protocol", "network", "credentials", "places", "serving", "threads", "errors"},
    "bucket": {"library", "protocol", "network", "errors", "__version__"},
    "shared": {"bucket", "library", "errors"},
    # what is exported
    "examples": {"Change", "Secrets", "Shared", "SsyncdError", "start_syncing"},
    "places": {"errors"},
    "config": {"errors"},
    "credentials": {"places", "errors"},
    "serving": {"places", "errors"},
    "embedded": {"serving", "places", "threads", "errors"},
    "control": {"places", "threads", "errors"},
    "progress": {"status", "wording"},
    "mailbox": set(),
    "daemon": {"mailbox", "notify", "status", "threads", "errors", "__version__"},
    "oneshot": {"daemon", "status", "errors"},
    "service": {"errors"},
    "installation": {
        "config", "credentials", "embedded", "places", "folder", "network.login", "server.accounts", "errors"
    },
    # meet the user
    "commands": {
        "commands", "config", "control", "daemon", "embedded", "folder", "installation", "log", "network.login", "notify",
        "oneshot", "places", "progress", "server", "service", "serving", "status", "wording", "threads", "errors",
    },
    "cli": {"commands", "installation", "places", "tuning", "wording", "errors", "__version__"},
    "__main__": {"cli"},
    "__init__": {"bucket", "shared", "errors"},
    # the other program
    "server": {"server", "protocol", "content", "tuning", "threads", "errors", "__version__"},
}  # fmt: skip

THINKING = ("protocol", "content", "planner")
FORBIDDEN_TO_THINK = {"os", "socket", "threading", "time", "random", "sqlite3", "logging", "asyncio"}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools"}
ONLY_PLACE_OF = {
    "watchdog": "disk",
    "websocket": "network",
    "urllib3": "network",
    "aiohttp": "server",
    "click": "commands",
}
MAY_PRINT = {"cli", "commands", "server.__main__", "examples"}

MOST_FUNCTION_LINES, MOST_CLASS_LINES, MOST_FILE_LINES, MOST_PARAMETERS = 60, 300, 500, 6


@functools.cache
def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"), str(path))))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full module name) of everything imported anywhere in a file; `from ssyncd import x` is ssyncd.x."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            whole = node.module or ""
            yield from ((node.lineno, source(whole, one.name)) for one in node.names)


def source(package: str, name: str) -> str:
    """Where `from package import name` leads: the module of that name, or the package."""
    inside = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if package == "ssyncd" or inside.with_suffix(".py").exists() else package


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` on, the docstring left out."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def found(check: Callable[[Path], Iterable[str]], paths: Iterable[Path]) -> list[str]:
    """What is wrong in each of these files, with the file's name before it."""
    return [f"{path.relative_to(ROOT)}:{wrong}" for path in paths for wrong in check(path)]


def is_allowed(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def test_a_module_imports_only_what_its_folder_may():
    assert {layer(path) for path in sources()} == set(MAY_IMPORT), "say in the table above what it may import"
    assert found(imported_against_the_table, sources()) == []


def imported_against_the_table(path: Path) -> list[str]:
    return [
        f"{line}: {name}"
        for line, name in imports(path)
        if name.startswith("ssyncd.") and not is_allowed(name.removeprefix("ssyncd."), MAY_IMPORT[layer(path)])
    ]


def test_thinking_has_no_hands():
    assert found(hands, [path for path in sources() if layer(path) in THINKING]) == []


def hands(path: Path) -> list[str]:
    return [f"{line}: {name}" for line, name in imports(path) if name.split(".")[0] in FORBIDDEN_TO_THINK]


def test_a_foreign_library_is_used_in_one_place():
    assert found(foreign_in_another_place, sources()) == []


def foreign_in_another_place(path: Path) -> list[str]:
    return [
        f"{line}: {name}"
        for line, name in imports(path)
        if (place := ONLY_PLACE_OF.get(name.split(".")[0])) and layer(path) not in (place, "cli")
    ]


def test_no_name_that_could_hold_anything():
    names = {part for path in sources() for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert names & DRAWERS == set()


def test_errors_are_caught_by_name_but_at_the_top_of_a_thread():
    assert found(caught_by_no_name, sources()) == []


def caught_by_no_name(path: Path) -> list[str]:
    lines = path.read_text("utf-8").split("\n")
    return [
        f"{node.lineno}: {lines[node.lineno - 1].strip()}"
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and not re.search(r"# (noqa: BLE001 - \w+|.*\btop of)", lines[node.lineno - 1])
        and not passes_on(node)
    ]


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Cleans up and raises again."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_nothing_prints_but_the_command_line():
    assert found(prints, [path for path in sources() if not {layer(path), module(path)} & MAY_PRINT]) == []


def prints(path: Path) -> list[str]:
    return [
        f"{node.lineno}: print"
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def test_files_classes_and_functions_stay_small():
    assert found(too_large, sources()) == []


def too_large(path: Path) -> Iterator[str]:
    lines = len(path.read_text("utf-8").splitlines())
    if lines > MOST_FILE_LINES:
        yield f" {lines} lines"
    for node in nodes(path):
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > MOST_CLASS_LINES:
            yield f"{node.lineno}: class {node.name} is too long"
    for function in functions(path):
        if length(function) > MOST_FUNCTION_LINES:
            yield f"{function.lineno}: {function.name} has {length(function)} lines"
        if parameters(function) > MOST_PARAMETERS:
            yield f"{function.lineno}: {function.name} has {parameters(function)} parameters"


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """`self` and `cls` are not counted."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([one for one in given if one.arg not in ("self", "cls")])


# What a client's code outside `protocol` may know of messages: how a channel is opened, what ends it, the text of one, and an
# index, which HTTP tells in the same words.
MAY_BE_KNOWN = {"Authorized", "Denied", "IndexPage", "Init", "Notice", "parse_frame", "valid_bucket", "valid_key"}
# A start of a message with a channel; the heartbeat, which has none, is the connection's.
MESSAGE = re.compile(r"\d*:(init|i|e|cv|c|index|notice)(:|$)")


def of_the_client() -> list[Path]:
    return [path for path in sources() if layer(path) not in ("protocol", "server")]


def test_nobody_but_the_channel_speaks_the_protocol():
    assert found(spoken, of_the_client()) == []


def spoken(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MESSAGE.match(node.value):
            yield f"{node.lineno}: {node.value!r}"
        if isinstance(node, ast.ImportFrom) and node.module == "ssyncd.protocol.messages":
            yield from (f"{node.lineno}: {one.name}" for one in node.names if one.name not in MAY_BE_KNOWN)


def test_there_is_one_client():
    """A channel is made for each kind of owner, and fed by the line alone; each has a websocket of the one kind there is."""
    assert who_calls("Channel") == {"folder.engine", "library.replica"}
    assert who_calls("Line") == {"folder.engine", "library.syncing"}
    assert (
        who_calls("channel.receive") == who_calls("channel.opened") == who_calls("channel.closed") == {"library.line"}
    )
    assert who_calls("WebSocketConnection") == {"bucket", "folder.folder"}
    assert who_imports("websocket") == {"network.dial", "network.frames"}


def who_calls(name: str) -> set[str]:
    """The modules of the client that call this: a name, or `x.name` for a method of something called x."""
    return {caller for caller, called in calls() if f".{called}".endswith(f".{name}")}


@functools.cache
def calls() -> set[tuple[str, str]]:
    return {
        (module(path), dotted(node.func))
        for path in of_the_client()
        for node in nodes(path)
        if isinstance(node, ast.Call)
    }


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it is written; what is more than names is left out."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def who_imports(name: str) -> set[str]:
    return {module(path) for path in of_the_client() for _, one in imports(path) if one.split(".")[0] == name}


def test_most_functions_are_short():
    lengths = sorted(length(function) for path in sources() for function in functions(path))
    assert statistics.median(lengths) <= 8
    assert lengths[int(len(lengths) * 0.9)] <= 30


def test_the_tests_mirror_the_package():
    """A folder of tests is for a folder of the package; a test file at the top for a module there, or for all of it."""
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()}
    tests = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    free = {"end_to_end", "benchmarks", "simulation", "layers", "documentation", "readme_program"}
    strange = [
        str(path) for path in tests if path.parts[0].removeprefix("test_").removesuffix(".py") not in modules | free
    ]
    assert strange == []
