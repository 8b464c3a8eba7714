"""Fetch the broker's jars by Maven into a folder that all checkouts of one user share."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redpanda.errors import MissingToolError, UnreachableError
from redpanda.local.checks import require_disk
from redpanda.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KAFKA_VERSION", "jars_folder", "resolve"]

_POM: Final = Path(__file__).with_name("pom.xml")
_NEED_MB: Final = 200


def _kafka_version() -> str:
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", _POM.read_text())
    if found is None:
        raise AssertionError(f"{_POM} names no kafka.version")
    return found[1]


KAFKA_VERSION: Final = _kafka_version()


def jars_folder() -> Path:
    """Where the jars of this pom lie once they are resolved; another pom has another folder."""
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    return LocalSettings().cache.expanduser().absolute() / f"kafka-{KAFKA_VERSION}-{digest}"


def resolve(say: Callable[[str], None] = lambda _: None) -> Path:
    """Give the folder of the broker's jars, fetched on first use.

    Parameters
    ----------
    say
        Is told one line per fetched file.

    Raises
    ------
    MissingToolError
        Maven is needed and not installed.
    UnreachableError
        Maven could not fetch a jar.
    """
    folder = jars_folder()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingToolError(
            "the local broker's jars are fetched by Maven and there is none: install it (for example "
            "`apt install maven`), start Docker, or point TICKCAST_BROKER_URL to a running broker"
        )
    require_disk(folder.parent, _NEED_MB, "TICKCAST_CACHE")
    # Fetched beside and renamed whole: a folder that exists is complete, and two fetchers do not mix.
    work = Path(tempfile.mkdtemp(prefix=".kafka-", dir=folder.parent))
    try:
        _run_maven(maven, work, say)
        (work / "jars").rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another checkout was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _run_maven(maven: str, work: Path, say: Callable[[str], None]) -> None:
    """Copy the pom's runtime dependencies to `work/jars`."""
    pom = shutil.copy(_POM, work / "pom.xml")  # Maven may write beside it, and the checkout may be read-only
    command = [maven, "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={work / 'jars'}"]
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603  # found by shutil.which
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=work
    ) as maven_process:
        try:
            for line in maven_process.stdout or ():
                lines.append(line.strip())
                if jar := re.search(r"Downloaded from .*/([^/]+\.jar) ", line):
                    say(f"Kafka {KAFKA_VERSION}: {jar[1]}")
        except BaseException:
            maven_process.kill()  # leaving the block would wait for it: Ctrl-C must not
            raise
    if maven_process.returncode == 0:
        return
    log = work.parent / "maven.log"
    log.write_text("\n".join(lines))
    reason = next((line for line in lines if line.startswith("[ERROR]")), "no reason given")
    raise UnreachableError(
        f"Maven could not fetch the local broker's jars ({reason[:300]}): check the network and "
        f"~/.m2/settings.xml, then try again; all of its output is in {log}"
    )
