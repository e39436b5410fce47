"""The WebSocket /ws/transcribe, whose commands become service calls with the user's token.

`handshake` accepts a client, `socket` is one open socket, `commands` are its service calls,
`frames` parses frames, `connection` is the bounded WebSocket connection.
"""
