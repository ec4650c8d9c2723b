"""Frozen dataclasses as JSON: every net, request and recipe is described by one and rebuilt by `Config(**json)`."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dalle.errors import CheckpointError

T = TypeVar("T")
_LISTS = (list, tuple)
_ACCEPTED: dict[Any, tuple[type, ...]] = {  # hint -> types of a value
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    dict: (dict,),
    tuple: _LISTS,
}


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested ones included, as plain JSON values."""
    return dataclasses.asdict(config)


def from_json(kind: type[T], values: Mapping[str, Any], where: str = "the configuration") -> T:
    """Rebuild a dataclass from JSON values; lists become tuples, nested dataclasses are rebuilt.

    Raises CheckpointError for a key that the dataclass does not have, one that it needs and does not get, or a
    value of another type.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{where} should hold an object of named values, not {type(values).__name__}.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(map(str, set(values) - set(fields))):
        raise CheckpointError(f"{where} has a key that {kind.__name__} does not know: {', '.join(unknown)}.")
    needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - set(values)):
        raise CheckpointError(f"{where} lacks {', '.join(missing)}, which {kind.__name__} needs.")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _restore(name, hints[name], value, where) for name, value in values.items()})


def load(kind: type[T], path: Path) -> T:
    """Read a dataclass from a JSON file. Raises CheckpointError."""
    return from_json(kind, read(path), where=path.name)


def read(path: Path) -> Any:
    """The JSON value in a file. Raises CheckpointError where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not readable JSON ({type(error).__name__}).") from error


def save(value: Any, path: Path) -> None:
    """Write a dataclass, or plain JSON values, to a file that people can read."""
    plain = to_json(value) if dataclasses.is_dataclass(value) else value
    path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _restore(name: str, hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value, where)
    accepted = _ACCEPTED.get(typing.get_origin(hint) or hint)
    if accepted is not None and type(value) not in accepted:
        raise CheckpointError(f"{where}: {name} should be {accepted[0].__name__}, not {type(value).__name__}.")
    return value if accepted is not _LISTS else _restore_list(name, typing.get_args(hint), value, where)


def _restore_list(name: str, hints: tuple[Any, ...], values: Any, where: str) -> tuple[Any, ...]:
    if Ellipsis in hints:
        hints = hints[:1] * len(values)
    if len(hints) != len(values):
        raise CheckpointError(f"{where}: {name} should hold {len(hints)} values, not {len(values)}.")
    return tuple(_restore(name, hint, value, where) for hint, value in zip(hints, values, strict=True))
