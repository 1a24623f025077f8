"""What a merge measured, in sentences for a person."""

from collections.abc import Mapping
from typing import Any


def sentences_of(figures: Mapping[str, Any]) -> list[str]:
    """Return what was merged into what, in which number format, and how far it differs."""
    lines = [f"Merged into {figures['into']}, written in {figures['dtype']}."]
    if refused := figures["refused"]:
        lines.append(f"Not in {refused['dtype']}: {refused['because']}.")
    return [*lines, *_differences(figures)]


def _differences(figures: Mapping[str, Any]) -> list[str]:
    """Return a line for each model that the merged one was compared with."""
    of = {
        "to_adapter": "Difference to the adapter on these weights",
        "to_4bit": "Difference to the 4-bit model that was trained",
        "adapter_to_base": "For scale, the adapter's difference to its base",
    }
    return [f"{words}: {_shown(figures[key])}." for key, words in of.items() if figures[key]]


def _shown(found: Mapping[str, Any]) -> str:
    return (
        f"logits up to {found['max_logit_difference']:.2g}, KL {found['kl']:.2g}, "
        f"same label on {found['label_agreement']:.0%} of {found['probes']} probes"
    )
