"""What the registry knows of a method, and what it says of one that lacks something."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from mamp import methods
from mamp.core.errors import UserError
from mamp.core.section import MethodConfig
from mamp.methods.base import Method, no_network

PACKAGE = Path(methods.__file__).parent.parent
OPTIONAL = [field.name for field in fields(Method) if field.default is None or field.default is False]
LACKED = [
    (name, part)
    for name in methods.METHODS
    for part in methods.LACKS
    if not vars(methods.get(name))[part]
]  # fmt: skip
# files that ask other people's objects what they have, and whose objects they are
FOREIGN = {
    "app/proposal.py": "a module that the user names",
    "core/terminal.py": "the streams of the system",
    "core/layers.py": "bounds of pydantic's fields",
    "segmentation/listed.py": "frames in whatever form users give them",
    "video/first_masks/picture.py": "Pillow's images",
    "video/first_masks/reading.py": "tensors, where torch may not be imported",
    "video/pages.py": "Pillow's images",
    "methods/probe/encoders.py": "networks of torchvision, timm and users",
    "methods/probe/positions.py": "networks of torchvision and timm",
}
HEAVY = ["torch", "torchvision", "kornia", "numpy", "cv2", "av"]


# ---------------------------------------------------------------- what a method lacks


@pytest.mark.parametrize(("name", "part"), LACKED)
def test_what_a_method_lacks_is_one_sentence_that_names_it_and_a_remedy(name, part):
    with pytest.raises(UserError) as raised:
        methods.require(name, part)
    sentence = str(raised.value)
    assert sentence.startswith(f"method {name} {methods.LACKS[part]}; ")
    assert sentence.count("; ") == 1 and "\n" not in sentence
    others = re.search(r"; use one of (.+)$", sentence)
    assert others is None or others[1].split(", ") == methods.having(part)
    assert others or sentence.endswith("; it needs no weights")


@pytest.mark.parametrize("part", methods.LACKS)
def test_what_a_method_has_is_given(part):
    for name in methods.having(part):
        assert methods.require(name, part) is vars(methods.get(name))[part]


def test_every_part_that_a_method_may_lack_has_its_sentence_or_a_default():
    without = {"attach", "pretrained", "shipped", "learns_from_masks"}  # the rest goes on without them
    assert {*OPTIONAL, "needs_weights"} == {*methods.LACKS, *without}


def test_a_method_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(
        UserError, match=f"method.name=mmap is not a method; use one of {', '.join(methods.METHODS)}"
    ):
        methods.get("mmap")


# ---------------------------------------------------------------- what a method has


@pytest.mark.parametrize("name", methods.METHODS)
class TestMethod:
    def test_it_is_called_as_its_folder(self, name):
        method = methods.get(name)
        assert method.name == name
        assert importlib.import_module(f"mamp.methods.{name}").METHOD is method
        assert method.config.model_fields["name"].default == name

    def test_its_description_is_one_line(self, name):
        description = methods.get(name).description
        assert description and "\n" not in description and not description.endswith(".")

    def test_its_functions_are_there(self, name):
        for field, value in vars(methods.get(name)).items():
            if callable(value) and not isinstance(value, type) and value is not no_network:
                module, _, function = value.__name__.partition(":")
                assert callable(vars(importlib.import_module(module))[function]), field

    def test_its_settings_have_meanings_and_its_presets_are_among_them(self, name):
        method = methods.get(name)
        assert issubclass(method.config, MethodConfig)
        field = method.config.model_fields.get("preset")
        named = {*field.annotation.__args__} if field else set()
        assert named == {*method.presets}, "METHOD needs presets=PRESETS, of the names in the field `preset`"
        for preset, of in method.presets.items():
            for values in of.values():
                method.config.model_validate({"preset": preset, **values})

    def test_it_does_not_learn_from_masks_if_it_does_not_learn(self, name):
        method = methods.get(name)
        assert method.task or not method.learns_from_masks

    def test_weights_ship_only_for_what_needs_them(self, name):
        method = methods.get(name)
        assert method.needs_weights or not method.shipped
        assert method.needs_weights or not method.task


def test_a_method_is_its_required_fields_alone():
    bare = Method("bare", "nothing", MethodConfig, build_propagator=print)
    required = {field.name for field in fields(Method) if field.default is field.default_factory is MISSING}
    assert required == {"name", "description", "config", "build_propagator"}
    assert not any(vars(bare)[part] for part in OPTIONAL)


# ---------------------------------------------------------------- nothing is asked for by name


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def modules_of_others(tree: ast.Module) -> set[str]:
    """Names of imported packages: what the platform has of `signal` or `os` is no capability of ours."""
    imported = (alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    return {
        (alias.asname or alias.name).split(".")[0] for alias in imported if alias.name.split(".")[0] != "mamp"
    }


def asked_by_name(tree: ast.Module) -> list[int]:
    """Lines with hasattr or getattr of anything but such a package."""
    found, others = [], modules_of_others(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"hasattr", "getattr"}
        ):
            root = node.args[0]
            while isinstance(root, ast.Attribute):
                root = root.value
            if not (isinstance(root, ast.Name) and root.id in others):
                found.append(node.lineno)
    return found


def test_no_capability_is_asked_for_by_hasattr_or_getattr():
    assert {path for path, tree in parsed() if asked_by_name(tree)} == {*FOREIGN}


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("import signal\nhasattr(signal, 'SIGUSR1')", False),
        ("import torch\ngetattr(torch.cpu, name)()", False),
        ("getattr(propagator, 'twin', None)", True),
        ("from mamp import methods\nhasattr(methods.get(name), 'build_task')", True),
        ("import torch\nhasattr(self.model, 'trunk')", True),
    ],
)
def test_asking_is_seen(line, asks):
    assert bool(asked_by_name(ast.parse(line))) is asks


def test_no_stub_of_a_method_only_raises():
    stubs = []
    for path, tree in parsed():
        if not path.startswith("methods/") or path.count("/") < 2:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if len(body) == 1 and isinstance(body[0], ast.Raise):
                    stubs.append(f"{path}:{node.lineno}")
    assert stubs == []


# ---------------------------------------------------------------- a command line that starts at once


@pytest.mark.parametrize(
    "code",
    [
        "import mamp.methods",
        *(f"import mamp.methods.{name}.config" for name in methods.METHODS),
        "from mamp.cli import build_parser; build_parser().format_help()",
        "import launch.submit",
        *(f"from mamp.cli import main; assert main(['config', '{name}']) == 0" for name in methods.METHODS),
    ],
)
def test_settings_and_help_need_no_torch(code):
    check = f"import sys; print(*sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()) == (0, [])
