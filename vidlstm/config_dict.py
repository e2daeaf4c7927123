"""Config dataclasses as plain dicts, as they are stored in files."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from vidlstm.errors import UsageError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config into a plain, JSON-serialisable dict."""
    plain: dict[str, Any] = dataclasses.asdict(config)
    return plain


def from_dict(cls: type[T], plain: dict[str, Any]) -> T:
    """Build a config of type `cls` from a plain dict; names and types are checked.

    Raises:
        UsageError: A key is unknown or a value has the wrong type.
    """
    if not isinstance(plain, dict):
        raise UsageError(f"{cls.__name__}: must be a table of values, not {type(plain).__name__}")
    hints = get_type_hints(cls)
    unknown = sorted(set(plain) - set(hints))
    if unknown:
        raise UsageError(f"{cls.__name__}: unknown setting {', '.join(unknown)}")
    try:
        return cls(**{name: _convert(hints[name], value, name) for name, value in plain.items()})
    except TypeError as error:
        raise UsageError(f"{cls.__name__}: {error}") from None


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Convert one JSON value to its field's declared type."""
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast("type[Any]", hint), value)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(a for a in get_args(hint) if a is not type(None)), value, name)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(get_args(hint)[0], item, name) for item in value)
    if origin is Literal and value in get_args(hint):
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UsageError(f"{name}: {value!r} is not a valid value")
