"""Form of the times and numbers that a feed writes as text, as far as its pipeline file declares it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextFormat:
    """Declared form of text cells. Nothing of it is guessed: a cell of another form is refused.

    Attributes:
        decimal: Decimal mark, "." or ",". None: not declared, so it is a point.
        thousands: Mark between groups of three digits, None if there is none.
        time_formats: Formats of times: strftime as Polars has it, "iso", "epoch_s" or "epoch_ms". Empty: ISO 8601.
        missing: Texts that mean a missing value.
    """

    decimal: str | None = None
    thousands: str | None = None
    time_formats: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def decimal_mark(self) -> str:
        """The decimal mark. Where a point separates thousands it is a comma."""
        return self.decimal or ("," if self.thousands == "." else ".")
