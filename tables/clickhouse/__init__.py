"""ClickHouse: settings, client, migrations, writers, readers, and the local store process."""
