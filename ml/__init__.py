"""Dataset, models, tuning, gate and registry; no stream, no HTTP."""
