"""The registry: a method's name -> its package, imported when that method is asked for.

A method's package has four functions:
  build_task(config) -> TrainingTask                        from a whole `Config`
  build_model(method) -> nn.Module                          from the method's config, fresh weights
  from_published(state) -> (state dict, method)             names of a published checkpoint -> ours
  build_propagator(model, method, *, motion, device, dtype) -> Propagator   for one video
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mamp.errors import UserError

METHODS = {"mamp": "mamp.methods.mamp", "stm": "mamp.methods.stm"}


def get(name: str) -> ModuleType:
    """The package of the method called `name`; UserError when there is none."""
    if name not in METHODS:
        raise UserError(f"method.name={name} is not a method; use one of {', '.join(METHODS)}")
    return importlib.import_module(METHODS[name])
