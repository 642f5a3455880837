"""What an export may cost: the gates of ``export`` and of ``bench --gate``."""

from __future__ import annotations

from dataclasses import dataclass

from edge_emotion.card import Agreement, Interval
from edge_emotion.errors import UsageError
from edge_emotion.evaluation import paired_interval, wilson


@dataclass(frozen=True)
class Gates:
    """What an export may cost at most.

    Few pictures refuse only what they can show: one of 64 is 1.6 points.
    """

    #: Percentage points of accuracy, where the pictures have labels. An export is refused if it
    #: loses more, and the 95 % interval of its loss does not reach down to none.
    max_drop: float = 1.0
    #: Share of pictures given the float model's label, 0..1. An export is refused if the upper end
    #: of the 95 % interval of its share is below: 62 of 64 say too little against 0.98.
    min_agreement: float = 0.98

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop is in percentage points, 0 to 100, not {self.max_drop}")
        if not 0 <= self.min_agreement <= 1:
            raise UsageError(f"--min-agreement is a share, 0 to 1, not {self.min_agreement}")

    def passes(self, samples: int) -> float:
        """The largest loss of accuracy, in points, that so many pictures do not refuse.

        Of an export that is right nowhere where the float model is wrong.
        """
        lost = 0
        while lost < samples and not self._refuses(
            (lost + 1) / samples, paired_interval(lost + 1, 0, samples)
        ):
            lost += 1
        return 100 * lost / samples

    def _refuses(self, drop: float, interval: Interval) -> bool:
        return 100 * drop > self.max_drop + 1e-9 and interval[0] > 0  # 100 * 0.07 is above 7

    def violations(self, agreement: Agreement) -> list[str]:
        """What is outside, in words; empty if all is well."""
        found = []
        agreeing = round(agreement.label_agreement * agreement.samples)
        _, upper = wilson(agreeing, agreement.samples)
        if upper < self.min_agreement:
            found.append(
                f"label agreement {agreement.label_agreement:.4f} is under {self.min_agreement:.4f}"
                f" (95 % up to {upper:.4f})"
            )
        drop, interval = agreement.accuracy_drop, agreement.accuracy_drop_interval
        if drop is None or interval is None:
            return found
        if self._refuses(drop, interval):
            found.append(
                f"accuracy drops {100 * drop:.2f} points "
                f"({agreement.accuracy_float:.4f} to {agreement.accuracy_export:.4f}), "
                f"more than {self.max_drop:.2f}, by {round(drop * agreement.samples)} of "
                f"{agreement.samples} pictures"
            )
        return found
