"""The live page at `/`: static files written by hand and the handlers that serve them."""
