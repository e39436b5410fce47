"""The exception tree. A code for programs and a sentence for people; no HTTP numbers here.

CoachError
├── Invalid            what was asked for is malformed
├── BadRequest         well-formed, but cannot be done as asked
├── Unauthenticated    no valid proof of who asks
├── Forbidden          known, and not allowed
├── NotFound           not there, or somebody else's
├── Conflict           contradicts what already stands
├── TooLarge           over a size limit
├── UnsupportedType    a media type that is not taken
├── TooMany            over a rate or a count
└── Unavailable        cannot be done now; may work later
    └── Contended      lost against another transaction
"""


class CoachError(Exception):
    """Base of everything this system raises on purpose.

    `str(error)` is meant for the person who reads it: one sentence, nothing secret.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InvalidInput(CoachError):
    """The input is malformed."""

    code = "invalid"


class BadRequest(CoachError):
    """The request is well-formed and cannot be fulfilled as it stands."""

    code = "bad_request"


class Unauthenticated(CoachError):
    """There is no valid proof of who is asking."""

    code = "unauthenticated"


class Forbidden(CoachError):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(CoachError):
    """It does not exist, or it belongs to somebody else; the caller cannot tell which."""

    code = "not_found"


class Conflict(CoachError):
    """It contradicts something that already stands."""

    code = "conflict"


class PayloadTooLarge(CoachError):
    """Over a limit of size."""

    code = "too_large"


class UnsupportedMediaType(CoachError):
    """A media type that is not accepted."""

    code = "unsupported_type"


class TooManyRequests(CoachError):
    """Over a limit of rate or count."""

    code = "too_many"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 60, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CoachError):
    """Something needed is away; the same call may work later. The only error worth a retry."""

    code = "unavailable"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 2, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class TransactionConflict(Unavailable):
    """A transaction lost against another one (deadlock, lock time-out, "locked")."""

    code = "contended"
