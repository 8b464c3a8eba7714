"""Keep registry hosts out of the committed `uv.lock`.

The lock is committed with placeholders and filled with pip's own defaults on checkout (a git filter set up by
`.ci/bootstrap`), so that the repository names no host and a mirror can be put in its place:

    python3 .ci/lockhosts.py smudge|clean   < in > out     (the git filter)
    python3 .ci/lockhosts.py fill uv.lock                  (in place, for a tree without git)
"""

import sys
from pathlib import Path

from pip._internal.models.index import PyPI  # no public name says which index is the default

PLACEHOLDERS = {
    f"https://{PyPI.file_storage_domain}/": "https://files.invalid/",
    PyPI.simple_url: "https://index.invalid/simple",
}


def smudge(text: str) -> str:
    for host, placeholder in PLACEHOLDERS.items():
        text = text.replace(placeholder, host)
    return text


def clean(text: str) -> str:
    for host, placeholder in PLACEHOLDERS.items():
        text = text.replace(host, placeholder)
    return text


def main() -> None:
    mode = sys.argv[1]
    if mode == "fill":
        path = Path(sys.argv[2])
        before = path.read_text()
        after = smudge(before)
        if after != before:
            path.write_text(after)
        return
    sys.stdout.write({"smudge": smudge, "clean": clean}[mode](sys.stdin.read()))


if __name__ == "__main__":
    main()
