"""Sources of trades: Kraken live and history, recorded files, and the market simulator."""
