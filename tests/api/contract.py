"""schemathesis over the OpenAPI document of a running API: a program of its own, through plain HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but `positive_data_acceptance` (a schema cannot say that `from` lies before `to`, or which cursors were given
out) and those of APIs that create and delete."""


def prove(
    url: str,
    folder: Path,
    *,
    examples: int,
    headers: Mapping[str, str] | None = None,
    seed: int = 1,
    timeout_s: int = 800,
) -> str:
    """Ask every operation in all ways that the document allows, and in some that it does not; gives the report.

    Parameters
    ----------
    folder
        Where the program may write.
    examples
        Random cases for each operation (count).
    headers
        Sent with every request, for example an API key.

    Raises
    ------
    AssertionError
        A check failed: the report tells how to repeat it.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/schema/openapi.json", "--url", url]
    command += ["--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", str(seed)]
    command += ["--generation-database", "none", "--no-color", "--warnings", "off", "--continue-on-failure"]
    for name, value in (headers or {}).items():
        command += ["--header", f"{name}: {value}"]
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-12_000:]
    return report
