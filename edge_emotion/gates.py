"""What an export may cost: the gates of ``export`` and of ``bench --gate``."""

from __future__ import annotations

from dataclasses import dataclass

from edge_emotion.card import Agreement
from edge_emotion.errors import UsageError


@dataclass(frozen=True)
class Gates:
    """What an export may cost at most."""

    max_drop: float = 1.0  # percentage points of accuracy, where the pictures have labels
    min_agreement: float = 0.98  # share of pictures given the float model's label, 0..1

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop is in percentage points, 0 to 100, not {self.max_drop}")
        if not 0 <= self.min_agreement <= 1:
            raise UsageError(f"--min-agreement is a share, 0 to 1, not {self.min_agreement}")

    def violations(self, agreement: Agreement) -> list[str]:
        """What is outside, in words; empty if all is well."""
        found = []
        if agreement.label_agreement < self.min_agreement:
            found.append(
                f"label agreement {agreement.label_agreement:.4f} is under {self.min_agreement:.4f}"
            )
        drop = agreement.accuracy_drop
        if drop is not None and 100 * drop > self.max_drop:
            found.append(
                f"accuracy drops {100 * drop:.2f} points "
                f"({agreement.accuracy_float:.4f} to {agreement.accuracy_export:.4f}), "
                f"more than {self.max_drop:.2f}"
            )
        return found
