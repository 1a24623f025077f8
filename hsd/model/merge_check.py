"""Whether a merged model answers as the adapter on its base did: the limits, and why these.

All are measured on SmolLM2-135M with an adapter on every linear layer, which moves logits by up to
31 (root mean square 4, KL .8). All but the 4-bit model computes in float32, so what differs is
what the merge changed.
"""

import torch

from hsd.model.probes import Agreement

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1.0, torch.float16: 1.0}
"""Largest difference of a logit, by the format of the merged weights. Measured: 7e-5 in float32;
.25 in bfloat16, which rounds the sum of base and adapter."""

LOST_SHARE = 0.1
"""Rounding may cost this share of the adapter's own effect, both as the root mean square over all
logits. A base's weights lie on the grid of their 16-bit format, so that the small update of a short
training is rounded away as a whole; float32 is written then. Measured: .01."""

COMPUTE_KL = 1e-3
"""Largest KL between a model in 4 bit, which computes in bfloat16, and the same weights merged and
computed in float32. Measured: 4e-5; merged into the original weights instead, .03."""

UNDECIDED = 1.0
"""The same arithmetic may turn a label whose lead was less than this. Measured: .59 in a logit."""


def disagreement(merged: Agreement, effect: Agreement, dtype: torch.dtype) -> str | None:
    """Return why the merged model is not the adapter on its base, None when it is.

    `effect` is how far the adapter itself moves its base. Logits that are not numbers fail.
    """
    if not merged.max_logit_difference <= TOLERANCE[dtype]:
        return (
            f"a logit differs by {merged.max_logit_difference:.3g}, more than {TOLERANCE[dtype]:g}"
        )
    if merged.label_agreement < 1:
        return f"only {merged.label_agreement:.1%} of the labels are the same"
    if merged.top_token_agreement < 1:
        return f"only {merged.top_token_agreement:.1%} of the most likely tokens are the same"
    if (
        dtype != torch.float32
        and merged.rms_logit_difference > LOST_SHARE * effect.rms_logit_difference
    ):
        return (
            f"rounding moves logits by {merged.rms_logit_difference:.2g} (root mean square), and "
            f"the adapter itself by no more than {effect.rms_logit_difference:.2g}"
        )
    return None


def disagreement_with_4bit(merged: Agreement) -> str | None:
    """Return why the merged model is not what was trained in 4 bit, None when it is."""
    if not merged.kl <= COMPUTE_KL:
        return f"KL {merged.kl:.3g} to the 4-bit model that was trained, more than {COMPUTE_KL:g}"
    if merged.flipped_lead >= UNDECIDED:
        return "labels differ from those of the 4-bit model that was trained"
    return None
