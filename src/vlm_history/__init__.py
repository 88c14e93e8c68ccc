"""The history of vision-language models, every one of them running.

```python
import vlm_history as vlm

print(vlm.systems())
```

Only what is light is imported here; `World` and `published` come when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm_history.errors import InputError

# Imported at once, and not on first use: loading the submodule later would put it in the function's place.
from vlm_history.systems import load, systems

if TYPE_CHECKING:
    from vlm_history.world.scenes import World

__version__ = "0.1.0"
__all__ = ["InputError", "World", "load", "systems"]


def __getattr__(name: str) -> Any:
    if name == "World":
        return import_module("vlm_history.world.scenes").World
    if name == "published":
        return import_module("vlm_history.published")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "published"})
