"""How events travel: outbox to relay, transport to dispatch, inbox to consumer."""
