"""Streaming views in RisingWave: numbered SQL files, and what applies them."""
