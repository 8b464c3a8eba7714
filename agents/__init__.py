"""The stream, one file a stage: thin shells around the folds in `tables`."""
