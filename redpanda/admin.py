"""Make a cluster match `redpanda/topics.py`: `diff` tells what differs, `apply` changes it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError

from redpanda.clients import connect, reaching
from redpanda.errors import ConfigError, TickcastError, UnreachableError
from redpanda.tail import Tail, end_offsets, last_by_key, last_records, tail
from redpanda.topics import TOPICS, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

__all__ = [
    "Tail",
    "TopicDiff",
    "apply",
    "connect",
    "diff",
    "end_offsets",
    "last_by_key",
    "last_records",
    "tail",
]

logger = logging.getLogger("tickcast.topics")

_SETTLE_S: Final = 15.0
_POLL_S: Final = 0.05


class TopicDiff(msgspec.Struct, frozen=True):
    """How a cluster differs from the declared topics."""

    missing: tuple[str, ...] = ()
    """Declared and not there."""
    configs: dict[str, dict[str, tuple[str | None, str]]] = {}
    """Topic to key to (value on the cluster, declared value)."""
    grow: dict[str, tuple[int, int]] = {}
    """Topics with too few partitions: (has, wanted)."""
    shrink: dict[str, tuple[int, int]] = {}
    """Topics with too many partitions: (has, wanted). Kafka cannot take any away."""
    prunable: tuple[str, ...] = ()
    """There and not declared; neither the broker's own nor Faust's."""

    @property
    def empty(self) -> bool:
        """Whether the declared topics are as declared; prunable ones do not count."""
        return not (self.missing or self.configs or self.grow or self.shrink)

    def lines(self) -> list[str]:
        """Give the differences for people, one a line."""
        told = [f"missing   {name}" for name in self.missing]
        told += [
            f"config    {name}: {key} is {has}, declared {wanted}"
            for name, keys in self.configs.items()
            for key, (has, wanted) in keys.items()
        ]
        for word, counts in (("too few", self.grow), ("too many", self.shrink)):
            told += [f"{word:<10}{name}: {has} partitions, wanted {n}" for name, (has, n) in counts.items()]
        told += [f"unknown   {name}" for name in self.prunable]
        return told


def diff(admin: KafkaAdminClient, settings: BrokerSettings, topics: Iterable[TopicSpec] = TOPICS) -> TopicDiff:
    """Compare the cluster with the declared topics; changes nothing."""
    declared = {spec.name: spec for spec in topics}
    with reaching(settings):
        partitions = {row["name"]: len(row["partitions"]) for row in admin.describe_topics()}
        there = [name for name in declared if name in partitions]
        configs = _configs(admin, there)
    wanted = {name: spec.partitions(settings.partitions) for name, spec in declared.items()}
    return TopicDiff(
        missing=tuple(name for name in declared if name not in partitions),
        configs={name: keys for name in there if (keys := _differing(declared[name], configs[name]))},
        grow={name: (partitions[name], wanted[name]) for name in there if partitions[name] < wanted[name]},
        shrink={name: (partitions[name], wanted[name]) for name in there if partitions[name] > wanted[name]},
        prunable=tuple(sorted(name for name in partitions if name not in declared and not _kept(name))),
    )


def _configs(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str | None]]:
    """Give all settings of the topics, defaults included."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    told = admin.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: row["value"] for key, row in told[name].items()} for name in names}


def _differing(spec: TopicSpec, has: Mapping[str, str | None]) -> dict[str, tuple[str | None, str]]:
    return {
        key: (has.get(key), wanted) for key, wanted in spec.config().items() if _as_set(has.get(key)) != _as_set(wanted)
    }


def _as_set(value: str | None) -> frozenset[str]:
    """`compact,delete` and `delete,compact` are one policy."""
    return frozenset((value or "").split(","))


def _kept(name: str) -> bool:
    """Whether an undeclared topic belongs to the broker or to Faust."""
    return name.startswith(("_", "tickcast-")) or name.endswith("-changelog")


def apply(
    admin: KafkaAdminClient,
    settings: BrokerSettings,
    prune: bool = False,
    topics: Iterable[TopicSpec] = TOPICS,
) -> TopicDiff:
    """Make the cluster match; a second call changes nothing.

    Parameters
    ----------
    prune
        Delete `prunable` topics with all of their records; they are only listed otherwise.

    Returns
    -------
    TopicDiff
        What was found, that is: what has been changed.

    Raises
    ------
    ConfigError
        A topic has too many partitions, or there are fewer brokers than replicas. Nothing is changed.
    UnreachableError
        The broker did not answer.
    """
    declared = {spec.name: spec for spec in topics}
    found = diff(admin, settings, declared.values())
    if found.shrink:
        name, (has, wanted) = next(iter(found.shrink.items()))
        raise ConfigError(
            f"topic {name} has {has} partitions and TICKCAST_PARTITIONS is {wanted}: Kafka cannot take "
            f"partitions away; set TICKCAST_PARTITIONS={has}, or delete the topic and its records first"
            if not declared[name].one_partition
            else f"topic {name} has {has} partitions and must have one: stop all ingest and delete the topic"
        )
    with reaching(settings):
        if found.missing:
            _create(admin, settings, [declared[name] for name in found.missing])
        _alter(admin, found.configs)
        _grow(admin, found.grow)
        if prune and found.prunable:
            admin.delete_topics(list(found.prunable))
            logger.warning("deleted topics %s", ", ".join(found.prunable))
    if not found.empty or (prune and found.prunable):
        _settle(admin, settings, declared.values(), set(found.prunable) if prune else set())
    return found


def _settle(admin: KafkaAdminClient, settings: BrokerSettings, topics: Iterable[TopicSpec], pruned: set[str]) -> None:
    """Wait until the change shows: brokers answer for it before each of them has taken it over."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        left = diff(admin, settings, topics)
        if left.empty and not pruned & set(left.prunable):
            return
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"the cluster at {settings.broker_url} (TICKCAST_BROKER_URL) has not shown the change in "
                f"{_SETTLE_S:g} s ({left.lines()[0]}): see `tickcast topics diff` and the broker's log"
            )
        time.sleep(_POLL_S)


def _create(admin: KafkaAdminClient, settings: BrokerSettings, specs: list[TopicSpec]) -> None:
    wanted = {
        spec.name: {
            "num_partitions": spec.partitions(settings.partitions),
            "replication_factor": settings.replication,
            "configs": spec.config(),
        }
        for spec in specs
    }
    try:
        admin.create_topics(wanted, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Another process made them in between; what differs shows in the next look.
        logger.info("topics were made by another process meanwhile")
    except InvalidReplicationFactorError as error:
        raise ConfigError(
            f"TICKCAST_REPLICATION is {settings.replication} and the cluster at {settings.broker_url} has "
            "fewer brokers: lower it (1 for a single broker), or add brokers"
        ) from error
    logger.info("created topics %s", ", ".join(wanted))


def _alter(admin: KafkaAdminClient, configs: dict[str, dict[str, tuple[str | None, str]]]) -> None:
    if not configs:
        return
    wanted = [
        ConfigResource(ConfigResourceType.TOPIC, name, {key: value for key, (_, value) in keys.items()})
        for name, keys in configs.items()
    ]
    refused = {name: said for name, said in admin.alter_configs(wanted)["topic"].items() if said != "OK"}
    if refused:
        name, said = next(iter(refused.items()))
        raise TickcastError(
            f"the broker refused the declared settings of topic {name} ({said}): "
            "see `tickcast topics diff` and redpanda/topics.py"
        )
    logger.info("mended the settings of topics %s", ", ".join(configs))


def _grow(admin: KafkaAdminClient, grow: dict[str, tuple[int, int]]) -> None:
    if not grow:
        return
    admin.create_partitions({name: wanted for name, (_, wanted) in grow.items()})
    # murmur2 modulo another count: a pair's next record may go to another partition than its last.
    logger.warning("added partitions to %s: stop the workers and rebuild their state", ", ".join(grow))
