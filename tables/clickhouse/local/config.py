"""Configuration of the embedded engine: small caches, UTC, and grants that leave no way out of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tables.clickhouse.settings import StoreSettings

__all__ = ["write_config"]

MEGABYTE: Final = 1_000_000

# No SOURCES, BACKUP, DICTIONARY, FUNCTION, USER or SYSTEM: the engine itself then refuses file(), url(), s3(),
# remote(), every foreign table engine (the Kafka engine would break the folder for good) and the rest of that kind.
_GRANTS: Final = (
    (
        "GRANT SHOW, SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP, TRUNCATE, OPTIMIZE, "
        "KILL QUERY ON *.*"
    ),
    # Not ALTER as a whole: FREEZE would fill the disk with copies, FETCH and MOVE reach other places.
    (
        "GRANT ALTER UPDATE, ALTER DELETE, ALTER COLUMN, ALTER INDEX, ALTER CONSTRAINT, ALTER PROJECTION, ALTER TTL, "
        "ALTER SETTINGS, ALTER ORDER BY, ALTER MODIFY COMMENT, ALTER VIEW ON *.*"
    ),
    *(
        f"GRANT TABLE ENGINE ON {engine}"
        for engine in (
            "MergeTree",
            "ReplacingMergeTree",
            "AggregatingMergeTree",
            "SummingMergeTree",
            "Memory",
        )
    ),
)

_SERVER: Final = """<clickhouse>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>33554432</mark_cache_size>
  <primary_index_cache_size>33554432</primary_index_cache_size>
  <query_condition_cache_size>8388608</query_condition_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <users_config>{users}</users_config>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
</clickhouse>
"""

_USERS: Final = """<clickhouse>
  <profiles><default>
    <async_insert>0</async_insert>
    <max_memory_usage>{query_memory}</max_memory_usage>
    <max_result_bytes>{result}</max_result_bytes>
    <max_execution_time>{seconds}</max_execution_time>
    <max_threads>2</max_threads>
    <allow_introspection_functions>0</allow_introspection_functions>
    <constraints>
      <max_memory_usage><max>{query_memory}</max></max_memory_usage>
      <max_result_bytes><min>1</min><max>{result}</max></max_result_bytes>
      <max_execution_time><min>1</min><max>{seconds}</max></max_execution_time>
    </constraints>
  </default></profiles>
  <users><default>
    <password></password>
    <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>
{grants}
    </grants>
  </default></users>
  <quotas><default></default></quotas>
</clickhouse>
"""


def write_config(folder: Path, settings: StoreSettings) -> Path:
    """Write both files of the engine's configuration and return the one that it is started with."""
    folder.mkdir(parents=True, exist_ok=True)
    memory = settings.store_memory_mb * MEGABYTE
    users = folder / "users.xml"
    users.write_text(
        _USERS.format(
            query_memory=memory * 3 // 4,
            result=settings.store_result_mb * MEGABYTE,
            seconds=settings.store_request_timeout_s,
            grants="\n".join(f"      <query>{escape(grant)}</query>" for grant in _GRANTS),
        )
    )
    server = folder / "config.xml"
    # The engine counts its own start-up memory (about 300 MB) against the limit.
    server.write_text(_SERVER.format(memory=memory + 300 * MEGABYTE, users=escape(str(users))))
    return server
