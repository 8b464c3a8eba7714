"""The local broker: Apache Kafka in one JVM, or Redpanda's image where there is no Java."""

from redpanda.local.broker import LocalBroker

__all__ = ["LocalBroker"]
