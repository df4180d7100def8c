"""What can go wrong, named for what the loop does next."""

from __future__ import annotations


class ReconcilerError(Exception):
    """A failure with a machine-readable `reason` (CamelCase) and, where one exists, a `hint`.

    `reason` becomes `Condition.reason`; the message says what, which, wanted and got; the hint
    says what a person can do.
    """

    default_reason = "Failed"

    def __init__(self, message: str, *, reason: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.hint = hint


class TransientError(ReconcilerError):
    """May go away by itself; `retry_after_s` is what the other side asked for, if it did."""

    default_reason = "Transient"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.retry_after_s = retry_after_s


class StalledError(ReconcilerError):
    """A person must change something before another try can help."""

    default_reason = "Stalled"


class IntegrityError(ReconcilerError):
    """Bytes are not what their digest says; they are never published."""

    default_reason = "VerificationFailed"


class UnsafePlanError(ReconcilerError):
    """The plan must not be carried out as it is: stale, or withheld by a fuse."""

    default_reason = "UnsafePlan"


class AdapterInvalidError(StalledError):
    """The bytes of an adapter are no LoRA for its base; it is not registered, or registered no longer."""

    default_reason = "AdapterInvalid"


class StoreMissingError(StalledError):
    """The blob store is not there or is another one; nothing may be fetched or deleted."""

    default_reason = "StoreMissing"


class RegistryError(StalledError):
    """The registry cannot be used: corrupt, newer than this program, or busy."""

    default_reason = "RegistryUnusable"


class WriterLockedError(StalledError):
    """Another process holds the writer lock; the message names it."""

    default_reason = "WriterLocked"
