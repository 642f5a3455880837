"""The accuracy budget: which exports keep within it, and which of those to deploy."""

from __future__ import annotations

from edge_emotion.card import Agreement
from edge_emotion.chips import needs_no_extra
from edge_emotion.gates import Gates

from .schema import KERAS, BenchReport

#: Medians within this share of each other count as equal.
TIE = 0.05


def violations(report: BenchReport) -> list[str]:
    """What is outside the accuracy budget, in words; empty if all is well."""
    found = []
    for artefact in report.measured:
        found += [f"{artefact.recipe}: {v}" for v in outside(report, artefact.agreement)]
    return found


def unchecked(report: BenchReport) -> list[str]:
    """The exports that were not compared with the float reference."""
    return [
        a.recipe
        for a in report.artefacts
        if a.recipe not in (KERAS, report.reference) and a.agreement is None
    ]


def outside(report: BenchReport, agreement: Agreement | None) -> list[str]:
    """What of one comparison is outside the budget, in words; empty if there is none."""
    if agreement is None:
        return []
    return Gates(report.settings.max_drop, report.settings.min_agreement).violations(agreement)


def recommend(report: BenchReport) -> str | None:
    """The recipe to deploy on this machine; None if there is none to recommend.

    Of the exports within the accuracy budget the fastest, by median model latency at the lowest
    number of threads measured. Of those within 5 % of it, one that needs no extra, then the
    smallest. The Keras model is no candidate: it needs TensorFlow.
    """
    candidates = [
        a for a in report.measured if a.recipe != KERAS and not outside(report, a.agreement)
    ]
    if not candidates:
        return None
    fastest = min(report.p50(a) for a in candidates)
    tied = [a for a in candidates if report.p50(a) <= fastest * (1 + TIE)]
    return min(tied, key=lambda a: (not needs_no_extra(a.recipe), a.bytes or 0)).recipe
