"""What the documents and the compose file say is what the code does."""

from __future__ import annotations

from pathlib import Path

from redpanda import topics
from redpanda.local import container

FOLDER = Path(__file__).parents[2] / "redpanda"


def test_readme_holds_the_declared_topics() -> None:
    assert topics.markdown() in (FOLDER / "README.md").read_text()


def test_topic_names_are_unique() -> None:
    names = [spec.name for spec in topics.TOPICS]
    assert len(names) == len(set(names))


def test_compose_pins_the_release_of_the_launcher() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    assert f"image: {container.IMAGE}\n" in text
    assert ":latest" not in text


def test_compose_opens_ports_on_loopback_only() -> None:
    lines = (FOLDER / "compose.yaml").read_text().splitlines()
    ports = [line.strip() for line in lines if line.strip().startswith('- "') and ":" in line]
    assert ports
    assert all(line.startswith('- "127.0.0.1:') for line in ports)


def test_pom_names_no_repository() -> None:
    text = (FOLDER / "local" / "pom.xml").read_text()
    assert "<repositor" not in text
    assert "<url>" not in text
