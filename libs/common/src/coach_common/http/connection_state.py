"""The states of a client connection and the changes between them."""

from enum import IntEnum, auto


class State(IntEnum):
    """What a connection is doing."""

    IDLE = auto()
    READING_HEAD = auto()
    READING_BODY = auto()
    RESPONDING = auto()
    """The request is complete, the response is not."""
    DRAINING = auto()
    """The response is complete, the rest of the request body is discarded."""
    CLOSING = auto()
    """The last response is written, all input is discarded."""
    CLOSED = auto()
    """Closed, or handed over to the WebSocket protocol."""


PARSING_STATES = frozenset((State.IDLE, State.READING_HEAD, State.READING_BODY, State.DRAINING))
TRANSITIONS = {
    State.IDLE: {State.READING_HEAD, State.CLOSING, State.CLOSED},
    State.READING_HEAD: {State.READING_BODY, State.CLOSING, State.CLOSED},
    State.READING_BODY: {State.RESPONDING, State.DRAINING, State.CLOSING, State.CLOSED},
    State.RESPONDING: {State.IDLE, State.CLOSING, State.CLOSED},
    State.DRAINING: {State.IDLE, State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: {State.CLOSED},
}
