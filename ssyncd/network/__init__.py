"""The wire to the server: websocket, chunks, signing in."""
