"""A market simulator that speaks Kraken's protocol. Whatever comes from it is labelled `sim`."""
