"""Sources of trades: exchanges live and history, recorded files, and the market simulator."""
