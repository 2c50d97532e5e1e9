"""What a summary warns of, each with the next move. In: a few figures of the run. Out: sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.report.summary import Accuracy


def limit_warnings(document_limit: int | None, items: int) -> list[str]:
    """That a run over the first documents alone is none over all."""
    if document_limit is None or items < document_limit:
        return []
    return [
        f"only the first {document_limit:,} documents were read (limits.documents): this is no run over all of them"
    ]


def quality_warnings(raw_threshold: float | None, is_calibration_refused: bool) -> list[str]:
    """That nothing is promised, or no confidence could be given."""
    warnings = []
    if raw_threshold is not None:
        warnings.append(
            f"quality.raw_threshold {raw_threshold:.10g} promises nothing: engines are often sure of what is wrong. "
            "quality.target keeps a share of agreement with Claude"
        )
    if is_calibration_refused:
        warnings.append(
            "confidence is empty: the calibration that comes with the model was made for another prompt, other labels "
            "or another label_order. quality.target calibrates on this run's own labels"
        )
    return warnings


def gold_warnings(accuracy: Accuracy | None) -> list[str]:
    """That some known answers are none that the job asks for."""
    if accuracy is None or not accuracy.strangers:
        return []
    return [
        f"{accuracy.strangers:,} gold values are no label of the job, e.g. {accuracy.stranger}: accuracy is over the "
        f"other {accuracy.gold_items:,}. Write them as the labels are written, or name another evaluation.gold_column"
    ]
