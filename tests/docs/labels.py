"""The labels of a container, from the table that the daemon reads them by."""

from supervisor.core.guest.label_table import LABELS, Label
from tests.docs.markdown import heading, paragraph, parts

_NOT_OF_IMAGES = (
    "An image may not set this label, only `docker run --label`, unless `[limits] image_labels` of vtapd.toml(5)"
    " allows it."
)


def labels() -> str:
    """Return a subsection for each label."""
    return parts(*(_label(label) for label in LABELS))


def _label(label: Label[object]) -> str:
    return parts(
        heading(label.key),
        paragraph(f"Value: {label.values}. Default: {label.shown_default}."),
        paragraph(label.doc),
        "" if label.image_may_set else paragraph(_NOT_OF_IMAGES),
    )
