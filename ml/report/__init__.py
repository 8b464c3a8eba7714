"""One self-contained HTML page for each training of one horizon: what was trained on, how good, and why so decided."""
