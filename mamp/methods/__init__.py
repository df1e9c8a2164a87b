"""The registry: a method's name -> its package, imported when that method is asked for.

A method's package has four functions:
  build_task(config) -> TrainingTask                        from a whole `Config`
  build_model(method) -> nn.Module                          from the method's config, fresh weights
  from_published(state) -> (state dict, method)             names of a published checkpoint -> ours
  build_propagator(model, method, *, motion, device, dtype) -> Propagator   for one video
and may have:
  build_trunk(model, method) -> nn.Module                   images (1, 3, H, W) -> features (1, C, h, w), for the probe; `normalises`
                                                            is True where it takes RGB in [0, 1], `patch` the multiple of its sides
  build_pretrained(method) -> nn.Module                     a network that needs no weights of ours
  to_onnx(model, method, *, metadata) -> (graphs, told)     ONNX models by name, and what a program that runs them must know
  widened(state, shapes, *, seed) -> state dict             of a network of more channels that computes nearly the same
  on_trunk(network, trunk, method) -> nn.Module             the network, made from one of another method with config `trunk`
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mamp.errors import UserError

METHODS = {
    "mamp": "mamp.methods.mamp",
    "stm": "mamp.methods.stm",
    "afb_urr": "mamp.methods.afb_urr",
    "ssm": "mamp.methods.ssm",
    "probe": "mamp.methods.probe",
}


def get(name: str) -> ModuleType:
    """The package of the method called `name`; UserError when there is none."""
    if name not in METHODS:
        raise UserError(f"method.name={name} is not a method; use one of {', '.join(METHODS)}")
    return importlib.import_module(METHODS[name])
