"""What an expression of the source may say: constants, names, calls and their callers looked up."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sitepages.commands import guarded

DEEPEST = 6  # names that are followed from one to the next
MOST = 8  # alternatives that are written out
LONGEST = 400  # characters of alternatives that are written out
SAME = {
    "short",
    "clipped",
    "printable",
    "str",
    "quoted",
    "repr",
    "int",
    "Path",
}  # functions that change no words
WORDS = {
    "first_line": "the system's words",
    "reason": "reason",
    "by": "size",
    "counts": "number",
    "replace": "text",
    "len": "number",
    "first_ten": "names",
    "gb": "size",
}


@dataclass
class Module:
    """One file: its constants, functions and imports by name, its calls, and what each node stands in."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        nodes: list[ast.AST] = [self.tree]
        for node in nodes:  # which grows
            children = list(ast.iter_child_nodes(node))
            nodes += children
            self.parents.update(dict.fromkeys(children, node))
            if isinstance(node, ast.Call):
                self.calls.append(node)
            elif isinstance(node, ast.FunctionDef):
                self.functions.setdefault(node.name, node)
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imports.update({a.asname or a.name: (node.module, a.name) for a in node.names})
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.constants[node.target.id] = node.value

    def function_of(self, node: ast.AST) -> ast.FunctionDef | None:
        """Return the function that an expression stands in."""
        above = self.parents.get(node)
        while above is not None and not isinstance(above, ast.FunctionDef):
            above = self.parents.get(above)
        return above

    def names_in(self, name: str) -> list[str]:
        """Return the entries of a collection that the module computes, if they are a few names."""
        try:
            found = getattr(
                importlib.import_module(
                    self.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
                ),
                name,
            )
            entries = [str(one) for one in found if isinstance(one, str)]
        except (ImportError, AttributeError, TypeError):
            return []
        return entries if len(entries) <= 20 else []


@dataclass
class Source:
    """All files together. State: the calls of each function by its name, and what is being looked up."""

    modules: dict[str, Module]
    calls: dict[str, list[tuple[Module, ast.Call]]] = field(default_factory=lambda: defaultdict(list))
    _looked_up: list[ast.AST] = field(default_factory=list)  # values that are being followed

    def __post_init__(self) -> None:
        for module in self.modules.values():
            for node in module.calls:
                if name := called(node):
                    self.calls[name].append((module, node))

    @classmethod
    def of_folders(cls, root: Path, folders: Iterable[str]) -> Source:
        """Read every Python file below these folders."""
        paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
        texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
        return cls.of_texts(texts)

    @classmethod
    def of_texts(cls, texts: dict[str, str]) -> Source:
        """Read sources by the name of their file."""
        names = {path: path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in texts}
        return cls({name: Module(path, ast.parse(texts[path])) for path, name in names.items()})

    # ------------------------------------------------------------ words

    def words(self, node: ast.expr, module: Module, depth: int = 0) -> list[str]:
        """Return the texts that an expression may give, with *names* in italics for what is not known."""
        return self._known(node, module, depth) or [italic(node)]

    def _known(self, node: ast.expr, module: Module, depth: int) -> list[str]:
        """`words`, or nothing where only the name is known."""
        if depth > DEEPEST or node in self._looked_up:
            return []
        self._looked_up.append(node)
        try:
            return self._of_kind(node, module, depth)
        finally:
            self._looked_up.pop()

    def _of_kind(self, node: ast.expr, module: Module, depth: int) -> list[str]:
        """The texts of an expression, by its kind."""
        if isinstance(node, ast.Constant):
            return [guarded(str(node.value).replace("\n", " "))] if isinstance(node.value, (str, int)) else []
        if isinstance(node, ast.JoinedStr):
            return ["".join(self._part(part, module, depth) for part in node.values)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            if any(
                isinstance(one, ast.Constant) and not isinstance(one.value, str)
                for one in (node.left, node.right)
            ):
                return []  # a sum of numbers
            pairs = itertools.product(
                self.words(node.left, module, depth), self.words(node.right, module, depth)
            )
            return [f"{a}{b}" for a, b in pairs]
        if isinstance(node, ast.IfExp):
            return unique([*self.words(node.body, module, depth), *self.words(node.orelse, module, depth)])
        if isinstance(node, ast.BoolOp):
            return unique(text for one in node.values for text in self._known(one, module, depth))
        if isinstance(node, ast.Name):
            return self._name(node, module, depth + 1)
        if isinstance(node, ast.Lambda):
            return self._known(node.body, module, depth)
        if isinstance(node, ast.Attribute) and node.attr in module.functions:
            return self._returned(module.functions[node.attr], module, depth + 1)
        if isinstance(node, ast.Subscript):
            return self._entry(node, module, depth + 1)
        return self._call(node, module, depth + 1) if isinstance(node, ast.Call) else []

    def _part(self, part: ast.expr, module: Module, depth: int) -> str:
        """A part of an f-string: a text, or all that may stand there with ` / ` between."""
        if isinstance(part, ast.Constant):
            return guarded(str(part.value).replace("\n", " "))
        value = part.value if isinstance(part, ast.FormattedValue) else part
        return either(self.words(value, module, depth), italic(value))

    def _name(self, node: ast.Name, module: Module, depth: int) -> list[str]:
        function = module.function_of(node)
        while function is not None:
            values = assigned(function, node.id)
            if values:
                texts = [text for value in values for text in self.words(value, module, depth)]
                return worded(texts, node.id)
            if node.id in parameters(function):
                return self._given(function, node.id, module, depth)
            function = module.function_of(function)
        value = module.constants.get(node.id)
        if value is not None:
            return self._known(value, module, depth)
        if node.id in module.functions:
            return self._returned(module.functions[node.id], module, depth)
        home, name = module.imports.get(node.id, ("", ""))
        there = self.modules.get(home)
        return self._known(there.constants[name], there, depth) if there and name in there.constants else []

    def _given(self, function: ast.FunctionDef, name: str, module: Module, depth: int) -> list[str]:
        """What callers give for a parameter, if each of them gives words."""
        names = parameters(function)
        known, all_known = [], True
        for there, call in self.calls.get(function.name, []):
            home = there.imports.get(function.name, (None, None))[0]
            if there is not module and self.modules.get(home or "") is not module:
                continue
            given = next((k.value for k in call.keywords if k.arg == name), None)
            place = names.index(name) - (names[0] in ("self", "cls"))
            if given is None and 0 <= place < len(call.args):
                given = call.args[place]
            given = given or default(function, name)
            texts = self._known(given, there, depth) if given is not None else []
            known += texts
            all_known = all_known and bool(texts)
        known = worded(known, name) if all_known else []
        return known if any(re.search(r"[ .]|^--", text) for text in known) else []  # else what users give

    def _entry(self, node: ast.Subscript, module: Module, depth: int) -> list[str]:
        """The values of a mapping of constants."""
        if not isinstance(node.value, ast.Name):
            return []
        value, there = self._constant(node.value.id, module)
        if isinstance(value, ast.Dict) and there:
            texts = [self._known(one, there, depth) for one in value.values]
            return unique(text for known in texts for text in known) if all(texts) else []
        return []

    def _call(self, node: ast.Call, module: Module, depth: int) -> list[str]:
        name = called(node)
        if name == "join" and isinstance(node.func, ast.Attribute) and node.args:
            mark = self._known(node.func.value, module, depth)
            entries = self._entries(node.args[0], module, depth)
            return [(mark[0] if mark else ", ").join(entries)] if entries else []
        if name == "plural" and len(node.args) > 1:
            one = self._known(node.args[1], module, depth)
            many = self._known(node.args[2], module, depth) if len(node.args) > 2 else []
            return [f"*number* {(many or [f'{text}s'])[0]}" for text in one[:1]]
        if name == "partial" and node.args:
            return self._known(node.args[0], module, depth)
        if name in SAME and node.args:
            return self._known(node.args[0], module, depth)
        if not isinstance(node.func, ast.Name) or name in WORDS:
            return []
        around = module.function_of(node)
        if around is not None and name in parameters(around):
            return self._given(around, name, module, depth)
        home, there_name = module.imports.get(name or "", ("", ""))
        there = module if name in module.functions else self.modules.get(home)
        function = there.functions.get(name if there is module else there_name) if there and name else None
        if function is None or there is None:
            return []
        return self._returned(function, there, depth)

    def _returned(self, function: ast.FunctionDef, there: Module, depth: int) -> list[str]:
        """The texts that a function returns, if it returns texts alone."""
        if returns_other(function):
            return []
        values = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
        texts = [self._known(value, there, depth) for value in values]
        return unique(text for known in texts for text in known) if all(texts) else []

    def _entries(self, node: ast.expr, module: Module, depth: int) -> list[str]:
        """The texts of a constant list, or the keys of a constant mapping."""
        if isinstance(node, ast.Name):
            function = module.function_of(node)
            if function is not None and (parts := collected(function, node.id)):
                texts = [self._known(part, module, depth + 1) for part in parts]
                return [" / ".join(unique(text for known in texts for text in known))] if all(texts) else []
            value, there = self._constant(node.id, module)
            if value is None or there is None:
                return []
            return self._entries(value, there, depth + 1) or [
                guarded(name) for name in there.names_in(node.id)
            ]
        if (
            isinstance(node, ast.Call)
            and called(node) in ("sorted", "tuple", "list", "frozenset")
            and node.args
        ):
            return self._entries(node.args[0], module, depth)
        if isinstance(node, (ast.DictComp, ast.SetComp, ast.ListComp, ast.Call)):
            return []
        keys = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        if any(not isinstance(key, ast.Constant) for key in keys):
            return []
        return [guarded(str(key.value)) for key in keys if isinstance(key, ast.Constant)]

    def _constant(self, name: str, module: Module) -> tuple[ast.expr | None, Module | None]:
        if name in module.constants:
            return module.constants[name], module
        home, there_name = module.imports.get(name, ("", ""))
        there = self.modules.get(home)
        return (there.constants.get(there_name), there) if there else (None, None)


# ---------------------------------------------------------------- of one file


def called(node: ast.Call) -> str | None:
    """Return the name of what is called."""
    func = node.func
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else None


def parameters(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's parameters."""
    args = function.args
    return [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]


def default(function: ast.FunctionDef, name: str) -> ast.expr | None:
    """Return the default of a parameter."""
    args = function.args
    plain = [*args.posonlyargs, *args.args]
    pairs = [
        *zip([a.arg for a in plain][len(plain) - len(args.defaults) :], args.defaults, strict=True),
        *zip([a.arg for a in args.kwonlyargs], args.kw_defaults, strict=True),
    ]
    return dict(pairs).get(name)


def assigned(function: ast.FunctionDef, name: str) -> list[ast.expr]:
    """Return what a function assigns to a name, itself or in loops over lists that are written out."""
    found: list[ast.expr] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found += [node.value] if isinstance(target, ast.Name) and target.id == name else []
                found += list(_paired(target, node.value, name))
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and getattr(node.target, "id", "") == name:
            found += [node.value] if node.value else []
        elif isinstance(node, ast.For) and isinstance(node.iter, (ast.Tuple, ast.List)):
            for one in node.iter.elts:
                found += [one] if getattr(node.target, "id", "") == name else []
                found += list(_paired(node.target, one, name))
    return found


def collected(function: ast.FunctionDef, name: str) -> list[ast.expr]:
    """Return what a function puts into a list of this name, by writing it out or by `append`."""
    found: list[ast.expr] = []
    values = assigned(function, name)
    while values:
        value = values.pop(0)
        if isinstance(value, ast.List):
            found += value.elts
        elif isinstance(value, ast.IfExp):
            values += [value.body, value.orelse]
        elif isinstance(value, ast.BoolOp):
            values += value.values
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and called(node) == "append" and node.args:
            assert isinstance(node.func, ast.Attribute)
            found += node.args if getattr(node.func.value, "id", "") == name else []
    return found


def _paired(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    """`a, b = x, y`: what the name gets."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for to, one in zip(target.elts, value.elts, strict=False):
            if getattr(to, "id", "") == name:
                yield one


def returns_other(function: ast.FunctionDef) -> bool:
    """Whether a function says that it returns something else than a text."""
    return getattr(function.returns, "id", "str") != "str"


# ---------------------------------------------------------------- words


def unique(texts: Iterable[str]) -> list[str]:
    """Return the texts, each once."""
    return list(dict.fromkeys(texts))


def worded(texts: list[str], name: str) -> list[str]:
    """Return texts, with the name of the variable in place of those that are names alone; none if all are."""
    found = unique(f"*{plain(name)}*" if re.fullmatch(r"(\*[^*]+\*\W*)+", text) else text for text in texts)
    return [] if all(text == f"*{plain(name)}*" for text in found) else found


def plain(name: str) -> str:
    """Return a name of the source as words."""
    return name.strip("_").replace("_", " ").lower() or "value"


def either(texts: list[str], name: str) -> str:
    """Return alternatives with ` / ` between, or the name where they are too many."""
    said = [text for text in texts if text.strip()]
    if not said or len(said) > MOST or sum(map(len, said)) > LONGEST:
        return name
    if len(said) == 1:
        return said[0]
    start = " " if all(text.startswith(" ") for text in said) else ""
    end = " " if any(text.endswith(" ") for text in said) else ""
    return start + " / ".join(text.strip() for text in said) + end


def italic(node: ast.expr) -> str:
    """Return in italics the name of what is filled in."""
    value = node
    while True:
        if isinstance(value, ast.Subscript):
            value = value.value
        elif isinstance(value, ast.Call) and value.args and called(value) in SAME:
            value = value.args[0]
        elif isinstance(value, ast.Call):
            name = called(value) or ""
            if name in WORDS:
                return f"*{WORDS[name]}*"
            if name in ("join", "get"):
                return "*names*" if name == "join" else "*value*"
            value = value.func
        elif isinstance(value, ast.Attribute) and value.attr in ("name", "path", "stem"):
            value = value.value
        elif isinstance(value, ast.BinOp):
            value = value.left
        else:
            break
    return f"*{plain(getattr(value, 'attr', getattr(value, 'id', '')))}*"
