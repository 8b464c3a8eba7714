"""Litestar: REST, WebSocket feed, OpenAPI."""
