"""The rules of docs/architecture.md, held against the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bench.cli.main import VERBS
from bench.judge.checklist import load_checklist, shipped_checklists
from bench.judge.profile import check_profile, load_profile
from bench.shipped import shipped
from bench.workload.recipe import load_recipe

ROOT = Path(__file__).parents[1]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
MOST_LINES = 400

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "bench").rglob("*.py"))
}
FOUNDATION = {"bench", *(path.stem for path in (ROOT / "bench").glob("*.py"))} - {"api"}
"""The modules that are in no room; `api` is a room of one module."""

MAY_IMPORT = {
    "workload": FOUNDATION,
    "load": FOUNDATION,
    "servers": FOUNDATION | {"load"},
    "sim": FOUNDATION,
    "record": FOUNDATION,
    "judge": FOUNDATION | {"record", "servers"},
    "report": FOUNDATION | {"record", "servers", "judge"},
    "conduct": FOUNDATION | {"workload", "load", "servers", "record"},
    "live": FOUNDATION | {"conduct"},
    "selftest": FOUNDATION | {"workload", "load", "sim", "record", "judge", "conduct"},
    "nightly": FOUNDATION | {"record", "judge", "report", "conduct"},
    "sweep": FOUNDATION | {"workload", "record", "judge", "conduct"},
    "accept": FOUNDATION | {"workload", "load", "servers", "record", "judge", "conduct", "sweep"},
}
"""Which rooms a room may import besides itself; docs/architecture.md has the same table."""

MAY_IMPORT["api"] = FOUNDATION | {"record", "judge"}
MAY_IMPORT["cli"] = FOUNDATION | MAY_IMPORT.keys()

NETWORK = {"aiohttp", "ftplib", "http", "httptools", "select", "selectors", "smtplib", "socket"}
NETWORK |= {"ssl", "urllib.request", "requests", "httpx"}
HEAVY = {"aiohttp", "asyncio", "jinja2", "numpy", "pandas", "plotly", "pyarrow", "pydantic", "rich"}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "bench"


def walk(node: ast.AST, *, typing: bool) -> Iterator[ast.AST]:
    """Every node below; without `typing`, not what stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        guard = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if typing or not guard:
            yield child
            yield from walk(child, typing=typing)


@cache
def imports_of(module: str, *, typing: bool = True) -> set[str]:
    """What a module imports, at its top or inside functions, as dotted names."""
    found: set[str] = set()
    for node in walk(tree_of(module), typing=typing):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{module}: a relative import"
            found.add(node.module)
            found |= {
                inner for name in node.names if (inner := f"{node.module}.{name.name}") in MODULES
            }
    return found


def inside(names: set[str], top: set[str]) -> set[str]:
    """The names that are one of `top` or lie below one."""
    return {name for name in names if any(name == t or name.startswith(f"{t}.") for t in top)}


def closure(module: str) -> dict[str, str]:
    """Every module of bench that running `module` imports, with the one that imports it."""
    found = {module: ""}
    pending = [module]
    while pending:
        importer = pending.pop()
        for name in imports_of(importer, typing=False):
            parts = name.split(".")
            for upto in range(1, len(parts) + 1):
                part = ".".join(parts[:upto])
                if part in MODULES and part not in found:
                    found[part] = importer
                    pending.append(part)
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_before_it(room: str) -> None:
    """Flow goes one way: nothing measured knows of judging, and nothing imports the commands."""
    allowed = MAY_IMPORT[room] | {room}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if room_of(module) == room
        for name in inside(imports_of(module), {"bench"})
        if room_of(name) not in allowed
    ]
    assert wrong == []


def test_every_room_has_its_rule() -> None:
    """A room that is added to the tree is added to the rules as well."""
    assert {room_of(module) for module in MODULES} - FOUNDATION == MAY_IMPORT.keys()


def test_the_documented_rules_are_these() -> None:
    """The table of rooms in docs/architecture.md says what is held here."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    documented = {room: set(re.findall(r"`(\w+)`", rooms)) for room, rooms in rows}
    assert documented.pop("cli") == set()
    allowed = {room: set(rooms - FOUNDATION) for room, rooms in MAY_IMPORT.items() if room != "cli"}
    assert documented == allowed


def test_the_foundation_imports_no_room() -> None:
    """Records, errors, shipped files and YAML know of no room; `bench` itself opens its door."""
    for module in MODULES:
        if room_of(module) in FOUNDATION:
            rooms = {room_of(name) for name in inside(imports_of(module), {"bench"})}
            assert rooms <= FOUNDATION | ({"api"} if module == "bench" else set()), module


def test_judging_and_reporting_touch_no_network() -> None:
    """No module that judge or report would run imports a network library or the load engine."""
    wrong = [
        f"{start} → … → {importer} imports {name}"
        for start in MODULES
        if room_of(start) in ("judge", "report")
        for importer in closure(start)
        for name in inside(imports_of(importer, typing=False), NETWORK | {"bench.load"})
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "where"), [("click", "bench.cli"), ("plotly", "bench.report.figures")]
)
def test_a_library_has_one_place(library: str, where: str) -> None:
    """click belongs to the command line, plotly to the figures, and neither to anything else."""
    users = {module for module in MODULES if inside(imports_of(module), {library})}
    assert users
    assert inside(users, {where}) == users


def test_records_that_cross_rooms_need_only_the_standard_library() -> None:
    """bench.model and bench.errors can be read by anything that runs Python."""
    for module in ("bench.model", "bench.errors"):
        tops = {name.partition(".")[0] for name in imports_of(module)}
        assert tops <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_finished(module: str) -> None:
    """No print, no unfinished piece, no marker of work left, at most 400 lines."""
    text = MODULES[module].read_text(encoding="utf-8")
    calls = [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    raises = [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and ast.unparse(node.exc).startswith("NotImplementedError")
    ]
    lines = [node.lineno for node in (*calls, *raises)]
    assert lines == []
    assert [word for word in ("TODO", "FIXME", "XXX") if word in text] == []
    assert len(text.splitlines()) <= MOST_LINES


def _literal(node: ast.expr) -> str:
    """What is written in an expression of strings; what is filled in is left out."""
    return "".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


@pytest.mark.parametrize("module", MODULES)
def test_chinese_stands_first(module: str) -> None:
    """`Text(zh, en)`: exchanged, a Chinese page would speak English."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Text" and len(node.args) == 2:
            said = f"line {node.lineno}: {ast.unparse(node)[:80]}"
            assert not CHINESE.search(_literal(node.args[1])), said


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).name
)
def test_a_test_says_what_it_claims(path: Path) -> None:
    """Every test has a docstring, and no file of tests is over 400 lines."""
    text = path.read_text(encoding="utf-8")
    silent = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
    assert len(text.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(shipped("workloads").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_recipe_loads(path: Path) -> None:
    """A recipe that travels with the package is valid and is called what its file is called."""
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", sorted(shipped("profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_profile_loads(path: Path) -> None:
    """A profile that travels with the package can be decided and is called what its file is."""
    profile = load_profile(path.stem)
    check_profile(profile)
    assert profile.name == path.stem


@pytest.mark.parametrize("name", shipped_checklists())
def test_a_shipped_checklist_loads(name: str) -> None:
    """A checklist that travels with the package is valid and can be called by its name."""
    assert load_checklist(name).name == name


def test_help_imports_nothing_heavy() -> None:
    """`--help` of the command and of every verb imports no library that takes long to load."""
    program = f"""
import sys
from click.testing import CliRunner
from bench.cli.main import cli
for arguments in {[[], *([verb] for verb in VERBS)]!r}:
    result = CliRunner().invoke(cli, [*arguments, "--help"])
    assert result.exit_code == 0, (arguments, result.output)
print(*({HEAVY!r} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
