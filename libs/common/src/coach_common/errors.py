"""The exception tree. Each error has a code for programs and a sentence for people.

CoachError
├── InvalidInput               the input is malformed
├── BadRequest                 the request is valid but cannot be fulfilled
├── Unauthenticated            the caller's identity is not proven
├── Forbidden                  the caller is known but not allowed to do this
├── NotFound                   it does not exist or belongs to another user
├── Conflict                   it conflicts with the current state
├── PayloadTooLarge            it exceeds a size limit
├── UnsupportedMediaType       the media type is not accepted
├── TooManyRequests            a rate or count limit is exceeded
└── Unavailable                a dependency is unavailable; the call may succeed later
    └── DatabaseUnavailable        the service's own database is unavailable
        └── TransactionConflict    another transaction won

HTTP status codes are assigned in `http/problems.py`.
"""


class CoachError(Exception):
    """Base of all errors that this system raises on purpose.

    `str(error)` is one sentence for the user or operator and contains no secret.
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
    """The request is valid but cannot be fulfilled."""

    code = "bad_request"


class Unauthenticated(CoachError):
    """The caller's identity is not proven."""

    code = "unauthenticated"


class Forbidden(CoachError):
    """The caller is known but not allowed to do this."""

    code = "forbidden"


class NotFound(CoachError):
    """It does not exist or belongs to another user. The response does not reveal which."""

    code = "not_found"


class Conflict(CoachError):
    """It conflicts with the current state."""

    code = "conflict"


class PayloadTooLarge(CoachError):
    """It exceeds a size limit."""

    code = "too_large"


class UnsupportedMediaType(CoachError):
    """The media type is not accepted."""

    code = "unsupported_type"


class TooManyRequests(CoachError):
    """A rate or count limit is exceeded."""

    code = "too_many"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 60, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CoachError):
    """A dependency is unavailable; the same call may succeed later. The only retryable error."""

    code = "unavailable"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 2, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class DatabaseUnavailable(Unavailable):
    """The service's own database cannot be reached, is overloaded or is out of disk space."""


class TransactionConflict(DatabaseUnavailable):
    """Another transaction won (deadlock, lock timeout, "database is locked")."""

    code = "contended"
