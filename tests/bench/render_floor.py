"""``python -m tests.bench.render_floor FOLDER COUNT``: what nobody can leave out who renders and packs by hand.

FOLDER has ``tree``, with the files that all machines share, ``templates``, and ``archives``, which is empty. For each
machine plain jinja2 writes its templates into the tree, and cpio packs that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def main(folder: Path, count: int) -> None:
    """All machines, one after the other."""
    environment = Environment(
        loader=FileSystemLoader(folder / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=-1,
    )
    tree = folder / "tree"
    names = sorted(str(path.relative_to(folder / "templates")) for path in (folder / "templates").rglob("*.j2"))
    paths = sorted(
        {str(path.relative_to(tree)) for path in tree.rglob("*")} | {name.removesuffix(".j2") for name in names}
    )
    said = "\0".join(paths).encode()
    for number in range(count):
        host = f"lab{number % 10}-{number // 10:04}"
        facts = {
            "host": host,
            "fqdn": f"{host}.example.org",
            "ips": [f"10.77.{number % 10}.{number // 10 % 250 + 1}"],
            "classes": [("nvidia", "intel", "virtual")[number % 3]],
            "workload": "desktop",
            "lab": host.partition("-")[0],
            "vars": {"room": f"room {number % 10}", "services": {"a": "1", "b": "2", "c": "3"}},
        }
        for name in names:
            (tree / name.removesuffix(".j2")).write_text(environment.get_template(name).render(facts))
        with open(folder / "archives" / f"{host}.cpio", "wb") as archive:
            argv = ["cpio", "--null", "--create", "--format=newc", "--quiet"]
            subprocess.run(argv, input=said, stdout=archive, cwd=tree, check=True)
    os.sync()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
