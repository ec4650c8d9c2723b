"""What was measured, when, where and with what: as a table and as JSON."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from dalle.bench.contender import OURS
from dalle.bench.machine import describe, versions
from dalle.bench.peers import PEERS


class Part(Protocol):
    """One dataclass of figures."""

    def table(self) -> str: ...


@dataclass(frozen=True)
class Report:
    date: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    parts: dict[str, Any]  # of `Part`s, by name

    @classmethod
    def of(cls, parts: dict[str, Part]) -> Self:
        packages = (entry.package for entry in (*OURS, *PEERS))
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), describe(), versions(*packages), parts)

    def table(self) -> str:
        machine = self.machine
        head = f"{self.date}  {machine['processor']}, {machine['threads']} threads"
        head += f", {machine['gpu']}" if "gpu" in machine else ""
        return "\n\n".join([head, *(part.table() for part in self.parts.values())])

    def json(self) -> dict[str, Any]:
        """Numbers with four digits: more than any of these measurements has."""
        fields = asdict(self)
        parts = fields.pop("parts")
        return _rounded({**fields, **parts})


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {name: _rounded(part) for name, part in value.items()}
        case list() | tuple():
            return [_rounded(part) for part in value]
    return value
