"""Weights: one safetensors file with the method's settings and provenance; read, write, convert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mamp import __version__, methods
from mamp import config as configs
from mamp.core.cache import cached_weights
from mamp.core.errors import UserError, first_line, plural
from mamp.core.files import make_folder, whole
from mamp.core.reading import not_numbers, plain_state, read_pickle, state_dict_in
from mamp.core.terminal import short
from mamp.core.texts import parse_json, refuse_special
from mamp.methods.base import Published
from mamp.ops.folding import fold_batch_norms

CHECKPOINTS = "step-*.pt"  # in the checkpoints/ of a run
SHIPPED = Path(__file__).parent
# of a method's config, what is no property of weights: how they propagate is chosen where they are used
CHOSEN_LATER = ("preset", "propagation", "motion", "training")


@dataclass(frozen=True)
class Weights:
    """state: name -> tensor. method: the network's settings. provenance: how they were made."""

    path: Path
    state: dict[str, Tensor] = field(repr=False)
    method: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)


def save(
    path: Path, state: Mapping[str, Tensor], *, method: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write one safetensors file, whole or not at all.

    Raises UserError when its name would not be recognised again.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if path.suffix != ".safetensors":
        raise UserError(f"{path} does not end in .safetensors, by which weights are known; give such a name")
    metadata = {"method": json.dumps(method), "provenance": json.dumps(provenance)}
    make_folder(path.parent)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with whole(path) as part:
        try:
            save_file(tensors, part, metadata)
        except SafetensorError as error:  # so it reports a full disk, and a long name
            raise UserError(
                f"{path} cannot be written ({first_line(error)}); make room, or give a shorter name"
            ) from None


def names() -> list[str]:
    """Names of the weights that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def default_for(method: str) -> str:
    """The shipped weights of a method; UserError when none came with the package."""
    name = methods.get(method).shipped
    if name not in names():
        trained = methods.get(method).task is not None
        remedy = "`mamp train` makes them" if trained else "or set needs_weights=False in its METHOD"
        raise UserError(
            f"no weights of method {method} come with the package; name some with --weights: {remedy}"
        )
    return str(name)


def read(source: Path | str) -> Weights:
    """Read weights: a safetensors file of `mamp`, a checkpoint, a run folder, or the name of shipped ones.

    Raises UserError when there is no such file, or it is not one of these.
    """
    path = _find(source)
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    plain_state(found.state, path)
    for what, part in (("method", found.method), ("provenance", found.provenance)):
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            raise UserError(
                f"{path} keeps {short(part)} as its {what}, which is no map of settings; copy or train it"
                " again"
            )
        try:
            json.dumps(part, allow_nan=False, default=str)
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} keeps a {what} that no JSON file can ({first_line(error)}); copy or train it again"
            ) from None
    network = {key: value for key, value in found.method.items() if key not in CHOSEN_LATER}
    return replace(found, method=network)


def load_model(weights: Weights, method: Any) -> nn.Module:
    """The network of `method` with these weights, ready for inference (batch norms folded, channels last).

    Raises UserError when the weights are of another method, width or form.
    """
    expect_method(weights, method.name)
    model = methods.get(method.name).build_model(method)
    fill(model, weights, remedy="leave the network to the weights")
    return fold_batch_norms(model)


def expect_method(weights: Weights, name: str) -> None:
    """UserError when the weights are of another method than `name`."""
    kept = weights.method.get("name")
    if kept != name:
        raise UserError(f"{weights.path} holds weights of method {kept}, not {name}; set method.name={kept}")


def fill(model: nn.Module, weights: Weights, *, remedy: str) -> None:
    """Put the weights into `model`.

    Raises UserError that ends in `remedy` when they are of another width or form.
    """
    entries = model.state_dict()
    _refuse_not_numbers(weights)
    own = {name: tuple(value.shape) for name, value in entries.items()}
    found = {name: tuple(value.shape) for name, value in weights.state.items()}
    for name in sorted(own.keys() | found.keys()):
        if own.get(name) != found.get(name):
            raise UserError(
                f"{weights.path} does not fit this network: {name} is {found.get(name, 'absent')} there and "
                f"{own.get(name, 'absent')} here ({_network(weights)}); {remedy}"
            )
        if entries[name].is_floating_point() and not weights.state[name].is_floating_point():
            raise UserError(
                f"{weights.path}: {name} holds {_kind(weights.state[name])} where the network has"
                f" {_kind(entries[name])}; {remedy}"
            )
    model.load_state_dict({name: value.to(entries[name].dtype) for name, value in weights.state.items()})


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _refuse_not_numbers(weights: Weights) -> None:
    if (wrong := not_numbers_in(weights)) is not None:
        raise UserError(
            f"{weights.path}: {wrong}: a training that broke down; take an earlier checkpoint, or train again"
        )


def not_numbers_in(weights: Weights) -> str | None:
    """How many values are NaN or infinite, and where; None for sound weights."""
    if not (found := not_numbers(weights.state)):
        return None
    count = plural(sum(found.values()), "value is", "values are")
    return f"{count} NaN or infinite, first in {next(iter(found))}"


def without_distilled(weights: Weights) -> Weights:
    """The same without the distilled network, which is used beside the encoder and not trained on from."""
    encoder = weights.method.get("encoder")
    if not isinstance(encoder, dict) or not encoder.get("distilled"):
        return weights
    state = {name: value for name, value in weights.state.items() if not name.startswith("distilled.")}
    method = {**weights.method, "encoder": {k: v for k, v in encoder.items() if k != "distilled"}}
    made = {key: value for key, value in weights.provenance.items() if key != "distilled"}
    return replace(weights, state=state, method=method, provenance=made)


def convert(
    source: Path, target: Path, *, method: str = "mamp", provenance: Mapping[str, Any] | None = None
) -> Weights:
    """Read a published checkpoint and write it as a weights file of `mamp`.

    source: a dict with the state dict in it, or the bare dict. provenance: what else is kept with the weights
    about where they came from.
    """
    state = state_dict_in(read_pickle(source))
    if state is None:
        raise UserError(f"{source} holds no state dict; give a published checkpoint of {method}")
    plain_state(state, source)
    try:
        ours, config = methods.require(method, "from_published")(state)
    except (ValueError, LookupError, ArithmeticError, RuntimeError) as error:  # shapes that no network has
        raise UserError(
            f"{source} has entries of shapes that no {method} network has ({first_line(error)}); give a"
            f" published checkpoint of {method}"
        ) from None
    history = {
        "converted_from": source.name,
        "entries": len(ours),
        "published_entries": len(state),
        **(provenance or {}),
    }
    found = Weights(target, ours, config, history)
    load_model(found, configs.load(base={"method": config}).method)  # says which shape does not fit
    save(target, ours, method=config, provenance=history)
    return found


def copy(source: Path | str, target: Path, *, half: bool = False, licence: str | None = None) -> Weights:
    """Write weights that `read` takes as one weights file, with the licence they are under.

    half: in half precision.

    Raises UserError when a value is too large for half precision, or `target` cannot be written.
    """
    found = read(source)
    state = dict(found.state)
    if half:
        _refuse_not_numbers(found)
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        lost = [
            name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()
        ]
        if lost:
            raise UserError(f"{found.path}: {lost[0]} is too large for half precision; leave out --half")
    provenance = {**found.provenance, **({"licence": licence} if licence else {})}
    save(target, state, method=found.method, provenance=provenance)
    return Weights(target, state, found.method, provenance)


def widen(source: Path | str, target: Path, *, width: float, seed: int = 0) -> Weights:
    """Write the weights as those of a wider network that computes nearly the same, to train on from there.

    width: as `method.encoder.width`. seed: at least 0. A distilled network is left out.

    Raises UserError when the method cannot be widened, when no layer grows, or when the wide network has
    layers that the narrow one lacks.
    """
    found = without_distilled(read(source))
    grow = methods.require(str(found.method.get("name")), "widen")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed} is not between 0 and 2^63; give another")
    method = configs.load(base={"method": dict(found.method)}).method
    narrow = methods.get(method.name).build_model(method)
    fill(narrow, found, remedy="copy or train them again")
    wide, state = grow(method, narrow.state_dict(), width=width, seed=seed, path=found.path)
    kept = {**found.method, **wide.model_dump(include={"encoder"})}
    provenance = {
        "mamp": __version__,
        "widened": f"from width {method.encoder.width:g}, seed {seed}",
        "init": {"provenance": found.provenance},
    }
    save(target, state, method=kept, provenance=provenance)
    return Weights(target, state, kept, provenance)


def _network(weights: Weights) -> str:
    """What the weights say of the network, as settings."""
    for part in ("encoder", "network"):
        if isinstance(weights.method.get(part), dict):
            return ", ".join(
                f"its method.{part}.{key} is {short(value)}" for key, value in weights.method[part].items()
            )
    return "it does not say its network"


def _find(source: Path | str) -> Path:
    path = Path(source)
    if path.is_dir() and (path / "weights.safetensors").is_file():
        return path / "weights.safetensors"
    if path.is_file():
        return path
    if str(source) in names():
        return SHIPPED / f"{source}.safetensors"
    if str(source) in (published := methods.published()):
        return _fetched(str(source), published[str(source)][1])
    known = f", or one of {', '.join(names())}" if names() else ""
    if saved := sorted((path / "checkpoints").glob(CHECKPOINTS)):
        raise UserError(
            f"run {source} is not finished, so it has no weights.safetensors; name its {saved[-1]}"
        )
    what = "is a folder without weights.safetensors" if path.is_dir() else "do not exist"
    raise UserError(
        f"weights {source} {what}; give a .safetensors file, a checkpoint, or a run folder with"
        f" weights{known}"
    )


def _fetched(name: str, one: Published) -> Path:
    """The file of published weights; UserError with the command that fetches them where they are not here."""
    if (path := cached_weights(name)).is_file():
        return path
    raise UserError(
        f"weights {name} are not on this machine; fetch them with `mamp weights fetch {name}`, or --fetch"
        f" (from {one.url}; licence: {one.licence})"
    )


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        refuse_special(path)
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}
        method, provenance = parse_json(metadata["method"]), parse_json(metadata.get("provenance", "{}"))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"weights {path} are damaged ({first_line(error)}); copy or train them again"
        ) from None
    except (KeyError, ValueError):
        raise UserError(
            f"{path} has no method config inside; make it with `mamp weights convert` or `mamp train`"
        ) from None
    return Weights(path, state, method, provenance)


def _read_checkpoint(path: Path) -> Weights:
    loaded = read_pickle(path)
    if not isinstance(loaded, dict) or not {"model", "method"} <= loaded.keys():
        raise UserError(
            f"{path} is no checkpoint of mamp; convert a published one with `mamp weights convert {path}"
            " OUT.safetensors`"
        )
    average = loaded.get("ema")  # what the run's weights file would hold
    state = average["weights"] if isinstance(average, dict) and "weights" in average else loaded["model"]
    return Weights(path, state, loaded["method"], loaded.get("provenance", {}))
