"""`python -m tables.clickhouse.local`: the store process in the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from redpanda.errors import TickcastError
from tables.clickhouse.local.server import run
from tables.clickhouse.settings import StoreSettings


def main() -> int:
    """Run until a signal; 2 and one line on stderr when it cannot."""
    parser = argparse.ArgumentParser(description="The local ClickHouse store (TICKCAST_CLICKHOUSE_URL=local://FOLDER).")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("TICKCAST_HOME", ".tickcast")))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        run(StoreSettings(), options.home)
    except TickcastError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except ValidationError as error:
        first = error.errors()[0]
        sys.stderr.write(f"TICKCAST_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
