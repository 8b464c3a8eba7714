"""Proofs over a history: the data contract, no feature that reads the future, no restart that changes one."""
