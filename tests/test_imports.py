"""Who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mamp"
LAUNCH = PACKAGE.parent / "launch"
FILES = sorted([*PACKAGE.rglob("*.py"), *LAUNCH.glob("*.py")])

CORE = {"mamp.core"}
SETTINGS = {*CORE, "mamp.config", "mamp.methods.base"}
VIDEO = {*SETTINGS, "mamp.ops", "mamp.video"}
LOADING = {*VIDEO, "mamp.datasets", "mamp.loading"}
METHODS = {*LOADING, "mamp.propagation", "mamp.methods"}
WEIGHTS = {*METHODS, "mamp.weights"}
FRAMES = {*WEIGHTS, "mamp.scoring", "mamp.segmentation"}
# room of mamp -> what of mamp it may import; a room stands for all its modules
ALLOWED = {
    "mamp.core": set(),
    "mamp.config": {*CORE, "mamp.methods"},  # the registry names the config class of each method
    "mamp.ops": CORE,
    "mamp.video": {*CORE, "mamp.ops"},
    "mamp.datasets": {*CORE, "mamp.config", "mamp.video"},
    "mamp.loading": LOADING,
    "mamp.tools": LOADING,
    "mamp.propagation": {*CORE, "mamp.ops", "mamp.methods.base"},
    "mamp.methods": METHODS,
    "mamp.weights": METHODS,
    "mamp.scoring": {*CORE, "mamp.video.masks", "mamp.video.folders", "mamp.datasets.lists"},
    "mamp.segmentation": FRAMES,
    "mamp.training": {*FRAMES, "mamp.training"},
    "mamp.app": FRAMES,
    "mamp.report": {*CORE, "mamp.config", "mamp.scoring", "mamp.datasets", "mamp.video"},
    "launch": {*CORE, "mamp.config"},  # what it starts are processes
}
VERSION = "mamp.__version__"  # all that may be had from mamp itself, which gathers what stands above
CONTRACTS = {"mamp.methods.base", "mamp.methods.task", "mamp.methods.trunk"}
NO_METHOD_BY_NAME = {
    "mamp.config",
    "mamp.weights",
    "mamp.loading",
    "mamp.segmentation",
    "mamp.training",
    "mamp.app",
}
HEAVY = {"torch", "torchvision", "kornia", "decord", "av", "cv2", "wandb", "numpy", "PIL"}
LIGHT = [
    "mamp",
    "mamp.cli",
    "mamp.config",
    "mamp.core.layers",
    "mamp.core.errors",
    "launch.submit",
    "launch.status",
]


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part(name: str) -> str:
    return "launch" if name.split(".")[0] == "launch" else ".".join(name.split(".")[:2])


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import statement, inside functions too; `from mamp import x` names mamp.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                whole = node.module == "mamp" or is_module(
                    name
                )  # what stands in mamp itself is told by its name
                yield (name if whole else str(node.module)), node.lineno


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported_at_once(tree: ast.Module) -> set[str]:
    """Top-level packages that importing the module imports, but for those that only a type checker reads."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {name.split(".")[0] for name, _ in imports(ast.Module([node], []))}
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not is_typing and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return found


def allows(rules: set[str], name: str, importer: str) -> bool:
    if part(name) == part(importer) or name == VERSION:
        return True
    if part(importer) in NO_METHOD_BY_NAME and name.startswith("mamp.methods."):
        return name in CONTRACTS
    return any(name == rule or name.startswith(rule + ".") for rule in rules)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_part_imports_only_what_stands_below_it(path: Path):
    importer = module(path)
    if part(importer) not in ALLOWED:
        assert part(importer) in {"mamp", "mamp.cli", "mamp.commands", "mamp.demo", "mamp.__main__"}, (
            f"{importer} has no rule in this test"
        )
        return
    rules = ALLOWED[part(importer)]
    for name, line in imports(ast.parse(path.read_text())):
        if name.split(".")[0] == "mamp":
            assert allows(rules, name, importer), f"{path}:{line} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_scoring_knows_no_torch(path: Path):
    if part(module(path)) == "mamp.scoring" or module(path) in {"mamp.video.masks", "mamp.datasets.lists"}:
        for name, line in imports(ast.parse(path.read_text())):
            assert name.split(".")[0] not in {"torch", "torchvision", "kornia"}, f"{path}:{line}"


@pytest.mark.parametrize("name", LIGHT)
def test_heavy_packages_wait_until_they_are_used(name: str):
    path = PACKAGE.parent.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert not imported_at_once(ast.parse(path.read_text())) & HEAVY


@pytest.mark.parametrize("name", LIGHT)
def test_importing_it_leaves_torch_alone(name: str):
    heavy = sorted(HEAVY - {"PIL"})
    code = f"import {name}, sys; print(*(set({heavy}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == []


def test_files_stay_readable_in_one_sitting():
    written = [*FILES, *PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.css"), *PACKAGE.rglob("*.html")]
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in written
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long


def test_every_folder_of_modules_is_a_package():
    assert not [
        folder for folder in {path.parent for path in FILES} if not (folder / "__init__.py").is_file()
    ]


@pytest.mark.parametrize(
    ("importer", "name", "allowed"),
    [
        ("mamp.training.engine", "mamp.methods.base", True),
        ("mamp.training.engine", "mamp.methods", True),
        ("mamp.training.engine", "mamp.methods.mamp", False),
        ("mamp.segmentation.segmenter", "mamp.methods.mamp.propagator", False),
        ("mamp.segmentation.segmenter", "mamp.training", False),
        ("mamp.training.engine", "mamp.segmentation.evaluate", True),
        ("mamp.scoring", "mamp.video.masks", True),
        ("mamp.scoring.truth", "mamp.datasets.lists", True),
        ("mamp.scoring", "mamp.datasets.sequences", False),
        ("mamp.methods.mamp.network", "mamp.weights", False),
        ("mamp.config", "mamp.video.masks", False),
        ("mamp.propagation.warping", "mamp.config", False),
        ("mamp.propagation.carrier", "mamp.methods.base", True),
        ("mamp.propagation.carrier", "mamp.methods.mamp.propagator", False),
        ("mamp.video.frames", "mamp.datasets.lists", False),
        ("mamp.loading.clips", "mamp.tools.check", False),
        ("mamp.weights", "mamp.core.files", True),
        ("mamp.core.files", "mamp.config", False),
        ("mamp.report.page", "mamp.__version__", True),
        ("mamp.core.devices", "mamp", False),
        ("mamp.core.devices", "mamp.load", False),
        ("mamp.core.provenance", "mamp.loading.census", False),
        ("mamp.training.engine", "mamp.core.provenance", True),
        ("launch.submit", "mamp.config", True),
        ("launch.submit", "mamp.training.folder", False),
    ],
)
def test_the_rules_say_what_the_design_says(importer: str, name: str, allowed: bool):
    assert allows(ALLOWED[part(importer)], name, importer) is allowed
