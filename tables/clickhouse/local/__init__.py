"""The real ClickHouse engine (chdb-core) behind a loopback-only subset of ClickHouse's HTTP protocol.

A store for one machine: development, the demo and tests. It is no server for production.
"""
