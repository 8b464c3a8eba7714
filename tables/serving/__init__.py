"""Features for whoever needs them: the latest of a pair, those known at a time, and whether all places agree."""
