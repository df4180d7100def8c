"""What can be wrong with a file at an origin, for tests that leave the choice to chance."""

from __future__ import annotations

import random

from tests.fakes.origin import RETRY_1, Fault

MIB = 2**20


def any_fault(rng: random.Random, size_bytes: int, here: str, away: str) -> Fault:
    """A fault, or none, of a file of that size that is served at `here`, and as well at `away`."""
    somewhere = rng.randrange(size_bytes)
    return rng.choice(
        (
            Fault(),
            Fault(drop=True),
            Fault(cut_after_bytes=somewhere),
            Fault(stall_after_bytes=somewhere, stall_s=4),
            Fault(stall_before_head_s=3),
            Fault(status=503, headers=RETRY_1),
            Fault(status=429, headers=(("Retry-After", "15"),)),
            Fault(status=500),
            Fault(status=404),
            Fault(flip_at=somewhere),
            Fault(flip_at=0),
            Fault(redirect=away),
            Fault(redirect=here),
            Fault(bytes_per_s=rng.choice((64 * 1024, MIB, 4 * MIB))),
            Fault(bytes_per_s=rng.choice((256 * 1024, 2 * MIB))),
            Fault(ranges=False, bytes_per_s=4 * MIB),
            Fault(ignore_if_range=True, bytes_per_s=4 * MIB),
            Fault(content_range=False),
            Fault(content_length=somewhere),
            Fault(extra=b"more"),
            Fault(framing="chunked", bytes_per_s=4 * MIB),
            Fault(framing="close"),
            Fault(gzip=True),
            Fault(refuse_head=True),
        )
    )
