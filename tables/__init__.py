"""State: records, pure folds, RocksDB tables, ClickHouse schema, client and local store."""
