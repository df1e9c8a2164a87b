"""Configs in YAML, settings on the command line, jobs for a cluster."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import yaml

from odd.contract import Case, Said, mamp, printed
from odd.values import NAMES, damaged, deep_text, scalar, spoiled, text_bytes

RECIPE = {
    "method": {"name": "mamp", "preset": "tuned", "propagation": {"top_k": 5, "radius": 8}},
    "data": {"size": 64, "intervals": [2, 5], "interval_chances": [0.5, 0.5]},
    "train": {"steps": 10, "batch": 2, "lr": 0.001, "betas": [0.9, 0.99]},
    "validation": {"every": 5, "share": 0.1},
    "tracking": {"mode": "disabled", "tags": ["a"]},
    "slurm": {"time": "1h", "extra": {"exclude": "node7"}, "setup": ["module load cuda"]},
}
ODD_YAML = (
    "2001-99-99",
    "a: 2001-99-99",
    "!!int abc",
    "!!float x",
    "a: !!timestamp x",
    "!!binary '*'",
    "!!bool maybe",
    "a: " + "9" * 5000,
    "9" * 5000 + ": 1",
    "a: 0x" + "f" * 5000,
    "a: 1:" + "59:" * 2000 + "1",
    "&a [*a]",
    "a: &a {b: *a}",
    "&a {<<: *a}",
    "a: &x\n  <<: *x",
    "<<: 1",
    "<<: [1, 2]",
    "a: *nothing",
    "? [a, b]\n: c",
    "? {a: 1}\n: c",
    "1: 2",
    "null: 3",
    "true: 4",
    "1.5: 2",
    "2020-01-01: x",
    "a: 1\na: 2",
    "- a\n- b",
    "a",
    "---\na: 1\n---\nb: 2",
    "%YAML 9.9\n---\na: 1",
    "%TAG ! x\n---\na",
    "a: \t- b",
    "\t",
    "@",
    "`",
    "a: 'unclosed",
    'a: "\\xZZ"',
    'a: "\\ud800"',
    "a: !!python/object/apply:os.system [id]",
    "!!python/name:os.system",
    "!unknown x",
    "a: !!set {x, y}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "\ufeffa: 1",
    "a: \x07",
    "a: \0",
    "train: {steps: 1e400}",
    "train: {steps: .inf}",
    "train: {lr: .nan}",
    "{" * 50,
    "[" * 3000,
    "{a: " * 2000 + "1" + "}" * 2000,
    "- " * 3000 + "a",
    "a:\n" + "".join(" " * i + f"k{i}:\n" for i in range(600)),
    "method: {<<: {name: mamp}}",
    "method: [name, mamp]",
    "method: mamp",
    "method: {name: [mamp]}",
    "method: {name: {a: 1}}",
    "method: {name: mamp, preset: [a]}",
    "method: {preset: {a: 1}}",
    "data: {root: 5}",
    "data: {root: {path: 5}}",
    "data: {root: [[a]]}",
    "data: {root: 'a\\0b'}",
    'data: {root: "a\\0b"}',
    "slurm: {setup: ls}",
    "slurm: {extra: [a]}",
    "!!str 5: 6",
    "a: |\n  x\n y",
    "# only a comment",
    "",
)


def bomb(rng: Random) -> str:
    """Aliases of aliases, in a list, a map, or by merging."""
    depth, width = rng.choice((4, 8, 15, 30)), rng.choice((2, 9, 12))
    form = rng.choice(("list", "map", "merge"))
    lines = ["k0: &k0 [lol, lol]" if form == "list" else "k0: &k0 {x: lol}"]
    for i in range(1, depth):
        if form == "list":
            lines.append(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * width)}]")
        elif form == "map":
            lines.append(f"k{i}: &k{i} {{{', '.join(f'a{j}: *k{i - 1}' for j in range(width))}}}")
        else:
            lines.append(f"k{i}: &k{i} {{<<: [{', '.join([f'*k{i - 1}'] * width)}], z{i}: 1}}")
    if rng.random() < 0.3:
        lines = [
            f"data: {{root: {{path: *k{depth - 1}}}}}" if i == depth else line
            for i, line in enumerate([*lines, ""])
        ]
    return "\n".join(lines) + "\n"


def yaml_bytes(rng: Random) -> bytes:
    how = rng.random()
    if how < 0.3:
        text = rng.choice(ODD_YAML)
    elif how < 0.4:
        text = bomb(rng)
    elif how < 0.45:
        text = deep_text(rng)
    elif how < 0.5:
        text = "train: " + rng.choice(ODD_YAML).replace("\n", "\n  ")
    else:
        text = yaml.dump(spoiled(RECIPE, rng), Dumper=_Dumper, allow_unicode=rng.random() < 0.5)
        if rng.random() < 0.2:
            return damaged(text.encode(errors="replace"), rng)
    if rng.random() < 0.15:
        return text_bytes(text, rng)
    return text.encode(errors="surrogatepass")


class _Dumper(yaml.SafeDumper):
    """Writes integers of any length."""


_Dumper.add_representer(int, lambda d, v: d.represent_scalar("tag:yaml.org,2002:int", _digits(v)))


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**4000 else "9" * 5000


def yaml_file(rng: Random, folder: Path) -> Case:
    """A config file, for `mamp train` without video, a job, or a list of DAVIS."""
    content = yaml_bytes(rng)
    path = folder / "recipe.yaml"
    path.write_bytes(content)
    use = rng.choice(("train", "train", "train", "submit", "site", "db_info"))
    out = folder / "run"
    if use == "train":
        return Case(f"train {content[:80]!r}", lambda: mamp("train", path, "--run", out), [out])
    if use == "db_info":
        (folder / "JPEGImages" / "a").mkdir(parents=True)
        path.rename(folder / "db_info.yaml")
        command = rng.choice(
            (["data", "check", folder], ["evaluate", "davis2017", folder, "--out", out, "--baseline", "copy"])
        )
        return Case(f"db_info {content[:80]!r}", lambda: mamp(*command), [out])
    words = ["train", path, "--run", out, "--dry-run", "--local", "data.root=x"]
    if use == "site":
        (folder / "plain.yaml").write_text("train: {steps: 2}\n")
        words = ["train", folder / "plain.yaml", "--site", path, *words[2:]]
    return Case(f"submit {content[:80]!r}", lambda: _submit(words), [out])


def _submit(words: list[Any]) -> Said:
    from launch import submit

    return printed(lambda: submit.main([str(word) for word in words]))


# ---------------------------------------------------------------- knobs


@functools.cache
def _knobs() -> list[tuple[str, str]]:
    from mamp import config
    from mamp.methods import METHODS

    return [(method, key) for method in METHODS for key, _, _ in config.method_knobs(method)]


MISREAD = ("yes", "true", "on", "017", "010", "-017", "1:30", "1:30.5", "0_17")  # as YAML 1.1 reads numbers
TEXTS = (
    *MISREAD,
    "08",
    "[yes, 2]",
    "[1:30, 017]",
    "",
    "null",
    "true",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "255",
    "100000",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "1e3",
    "1e30",
    "1e400",
    ".inf",
    "-.inf",
    ".nan",
    "0.5",
    "-0.5",
    "1e-320",
    "abc",
    "[]",
    "{}",
    "[1]",
    "[1, 2]",
    "[0, 0]",
    "[-1, 5]",
    "[1e30, 2]",
    "[a, b]",
    "[1, 2, 3]",
    "[null]",
    "{a: 1}",
    "{0.5: 1}",
    "[[1]]",
    "a: b",
    "'",
    '"',
    "*a",
    "&a [*a]",
    "!!int x",
    "2001-99-99",
    "9" * 5000,
    "../x",
    "/dev/null",
    "/proc",
    "~nobody/x",
    "~",
    "a@30",
    "a@0",
    "a@1e5",
    "@",
    "a\0b",
    '"a\\0b"',
    "\x1b[31m",
    '"\\e[31m"',
    "x" * 5000,
    "on",
    "1_000",
    "0x10",
    "0o7",
    "1:30",
    "2020-01-01",
    "auto",
    "cuda",
    "é",
    "[" * 2000,
    "{a: " * 500,
)


def knob(rng: Random, folder: Path) -> Case:
    """A setting with an odd value: refused, or kept and read back as it is."""
    method, key = rng.choice(_knobs())
    if rng.random() < 0.1:
        key = rng.choice(
            (
                key + ".x",
                key.split(".")[0],
                key.upper(),
                key + "s",
                "." + key,
                key.replace(".", ".."),
                "a" * 3000,
                key + ".a" * 900,
            )
        )
    text = rng.choice(TEXTS) if rng.random() < 0.8 else json.dumps(scalar(rng), default=str)
    words = [f"{key}={text}"]
    if rng.random() < 0.2:
        words.append(f"{rng.choice(_knobs())[1]}={rng.choice(TEXTS)}")
    return Case(
        f"{method} {words[0][:80]!r}",
        lambda: mamp("config", method, *words),
        [],
        lambda said: _kept(method, words, said),
    )


def _kept(method: str, words: list[str], said: Said) -> str:
    from mamp import config

    if said.status:
        return ""
    loaded = config.load(None, [f"method.name={method}", *words])
    path = Path(config.__file__).with_name("nothing")
    values = yaml.safe_load(config.dump(loaded))
    again = type(loaded).model_validate(values)
    if again != loaded:
        return f"{words} is not read back as it was written to {path.name}"
    key, _, text = words[0].partition("=")
    if text in MISREAD:
        found: Any = loaded
        for name in key.split("."):
            found = getattr(found, name)
        if type(found) in (int, float):
            return f"{words[0]} is read as {found}"
    for key, value in _numbers(loaded.model_dump(mode="python"), ""):
        if (
            isinstance(value, int)
            and abs(value) >= 2**63
            or isinstance(value, float)
            and not math.isfinite(value)
        ):
            return f"{key} may be {value}"
    return ""


def _numbers(value: Any, key: str):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner, key)
    else:
        yield key, value


# ---------------------------------------------------------------- jobs

_SLURM = ("partition", "account", "qos", "constraint", "mem", "time", "setup", "extra")
_INJECTED = (
    "\nid > /tmp/x\n",
    "\n#SBATCH --wrap=id",
    "\r\nid",
    "a\x1b[31m",
    "a\nb",
    "\x00",
    "a\u2028b",
    "a\x85b",
    "$(id)",
    "`id`",
    "; id",
    "a b",
    "'",
    '"',
    "\\",
    "-x",
    "#",
    "x" * 5000,
)


def job(rng: Random, folder: Path) -> Case:
    """What a cluster is asked for, and names of runs: no line of the script is the value's own."""
    recipe = folder / f"{_file_name(rng)}.yaml" if rng.random() < 0.3 else folder / "r.yaml"
    recipe.write_text("train: {steps: 2}\n")
    values: dict[str, Any] = {"data.root": "videos"}
    for _ in range(rng.choice((1, 1, 2))):
        key, odd = rng.choice(_SLURM), rng.choice(_INJECTED + NAMES)
        if key == "setup":
            values["slurm.setup"] = [odd]
        elif key == "extra":
            values["slurm.extra"] = rng.choice(({odd: "a"}, {"exclude": odd}))
        else:
            values[f"slurm.{key}"] = odd
    words = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    run = (
        folder
        / "runs"
        / (rng.choice(NAMES + ("new\nline", "a\n#SBATCH --x")) if rng.random() < 0.5 else "run")
    )
    use = ["train", recipe, *words]
    if rng.random() < 0.7:
        use += [f"--run={run}"]
        out = [folder / "runs"]
    else:
        return Case(f"job {words!r} {recipe.name!r}", lambda: _script(use, folder), [folder], _no_line)
    return Case(f"job {words!r} {run.name!r}", lambda: _script(use, folder), out, _no_line)


def _file_name(rng: Random) -> str:
    return rng.choice([n for n in NAMES if "/" not in n and len(n.encode()) < 200])


def _script(words: list[Any], folder: Path) -> Said:
    """A dry run, with stand-ins for SLURM's programs on the path."""
    import os

    programs = folder / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun", "squeue"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{programs}:{before}"
    try:
        return _submit([*words, "--dry-run"])
    finally:
        os.environ["PATH"] = before
        for program in programs.iterdir():
            program.unlink()
        programs.rmdir()


def _no_line(said: Said) -> str:
    """The script has the lines of any script: what a value holds begins none of its own."""
    strange = [
        line
        for line in said.out.splitlines()
        if line.strip().startswith(("id", "#SBATCH --wrap", "#SBATCH --x"))
    ]
    return f"the script has the line {strange[0]!r}" if strange else ""


KINDS = {"yaml": yaml_file, "knobs": knob, "jobs": job}
