"""Event delivery: outbox, relay, transport, dispatch, inbox, consumer."""
