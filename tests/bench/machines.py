"""A site whose machines get seven layers each: 500 files, 50 of them templates."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.directory import Client, open_directory
from gitstate.store.site import Site
from gitstate.tree import checkin
from tests.bench.measure import BenchError
from tests.boot.files.harness import OPTIONS, make

FILES: Final = 500
TEMPLATES: Final = 50
LAYERS: Final = 7
LABS: Final = 10
ONE: Final = "lab3-0000"
"""A machine that has a layer of its own."""
PROTOTYPE: Final = "desktop"
CLASSES: Final = ("nvidia", "intel", "virtual")
WORKLOADS: Final = ("desktop", "kiosk", "compute")
_WHO: Final = Signature("bench <bench@localhost>", 1_700_000_000, "+0000")
_DIRECTORIES: Final = ("etc/default", "etc/systemd/system", "etc/X11/xorg.conf.d", "usr/share/site", "lib/udev/rules.d")
_SHARES: Final = {
    "base": (240, 26),
    "network": (40, 5),
    "class": (60, 6),
    "workload": (80, 6),
    "lab": (60, 7),
    "host": (10, 0),
    "ip": (10, 0),
}
"""How many files a layer of each kind has, and how many of them are templates; for the last two some have others."""
_LINE: Final = "# one of the lines that every file of a configuration has and that nobody reads twice\n"


@dataclass(frozen=True, slots=True)
class Machines:
    """The site, with a channel for each round; ``own`` of the machines have a layer by name and one by address."""

    site: Site
    count: int
    own: int

    def clients(self, channel: str) -> Iterator[Client]:
        """All machines; who has no layers of his own is given two more that are shared."""
        for number in range(self.count):
            lab, seat = number % LABS, number // LABS
            yield Client(
                f"lab{lab}-{seat:04}",
                (f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",),
                (f"10.77.{lab}.{seat % 250 + 1}",),
                channel=channel,
                classes=(CLASSES[number % 3],),
                workload=WORKLOADS[number % 3],
                layers=() if number < self.own else (f"workload/team{number % 7}", f"workload/floor{number % 5}"),
            )

    def make(self) -> None:
        """The site, its layers and its machines."""
        make(self.site.path)
        self._settle()
        names = {"base": "base"}
        names |= {f"network/10.77.{lab}.0_24": "network" for lab in range(LABS)}
        names |= {f"class/{name}": "class" for name in CLASSES}
        names |= {f"workload/{name}": "workload" for name in WORKLOADS}
        names |= {f"lab/lab{lab}": "lab" for lab in range(LABS)}
        names |= {f"workload/team{number}": "host" for number in range(7)}
        names |= {f"workload/floor{number}": "ip" for number in range(5)}
        for client in list(self.clients(""))[: self.own]:
            names |= {f"host/{client.name}": "host", f"ip/{client.ips[0]}": "ip"}
        for name, kind in names.items():
            live = self._layer(name)
            self._fill(live, name, kind)
            self.check_in(name)

    def _settle(self) -> None:
        etc = self.site.path.with_name("etc")
        etc.mkdir()
        options = OPTIONS | {"etc": str(etc), "network": "10.77.0.0/16"}
        networks = ", ".join(f'"10.77.{lab}.0/24"' for lab in range(LABS))
        with self.site.file.open("a") as settings:
            settings.write("[boot]\n" + "".join(f'{key} = "{value}"\n' for key, value in options.items()))
            settings.write(f'[layers]\ndomain = "example.org"\nnetworks = [{networks}]\n')

    def _layer(self, name: str) -> Path:
        """A layer's live tree; the repositories are copies of one empty one, which a dozen commands would make."""
        model = self.site.repository_path("base")
        path, live = self.site.repository_path(name), self.site.live_path(name)
        if not model.exists():
            self.site.create_layer("base")
            subprocess.run(["cp", "-a", str(model), str(model.with_name("empty"))], check=True)
        if name != "base":
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", str(model.with_name("empty")), str(path)], check=True)
            config = (path / "config").read_text()
            (path / "config").write_text(config.replace(str(self.site.live_path("base")), str(live)))
        live.mkdir(mode=0o755, parents=True, exist_ok=True)
        return live

    def _fill(self, live: Path, name: str, kind: str) -> None:
        files, templates = _SHARES[kind]
        for directory in _DIRECTORIES:
            (live / directory).mkdir(parents=True)
        for number in range(files):
            path = live / _DIRECTORIES[number % len(_DIRECTORIES)] / f"{kind}-{number}.conf"
            if number < templates:
                path.with_name(f"{path.name}.j2").write_text(template(f"{name} {number}"))
            else:
                path.write_text(f"{name} {number}\n" + _LINE * (number * 7 % 25))
        if kind == "base":
            (live / "vars.toml").write_text('room = "unknown"\n[services]\n' + 'a = "1"\nb = "2"\nc = "3"\n')
        if kind == "lab":
            (live / "vars.toml").write_text(f'room = "{name}"\n')

    def check_in(self, name: str) -> None:
        """A snapshot of a layer."""
        live = self.site.live_path(name)
        checkin.record(checkin.Request(self.site.repository(name), live, "edited", _WHO, _WHO), SILENT)

    def follow(self, channel: str) -> None:
        """All machines follow ``channel``."""
        open_directory(self.site).change(list(self.clients(channel)), [], _WHO, f"all follow {channel}")

    def edit(self, number: int) -> None:
        """Another snapshot of one machine's layer."""
        live = self.site.live_path(f"host/{ONE}")
        (live / "etc/default/edited").write_text(f"{number}\n")
        self.check_in(f"host/{ONE}")

    def archives(self, channel: str) -> dict[str, Path]:
        """The archives of a channel's newest release by the machines' names."""
        above = self.site.tftp / "archives" / channel
        newest = max(above.iterdir(), key=lambda path: int(path.name))
        return {path.stem: path for path in newest.glob("*.cpio")}


def template(name: str) -> str:
    """A template as layers have them: facts, variables, a condition, loops, and much that is as it is."""
    return (
        f"# {name}: {{{{ host }}}} ({{{{ fqdn }}}}), room {{{{ vars.room }}}}\n{_LINE * 6}"
        "{% for address in ips %}\nlisten {{ address }}:80\n{% endfor %}\n"
        "{% for key, value in vars.services.items() %}\n{{ key|upper }}={{ value }}\n{% endfor %}\n"
        '{% if "nvidia" in classes %}\ndriver nvidia\n{% else %}\ndriver {{ classes|join(",") }}\n{% endif %}\n'
        f"for {{{{ workload }}}} in {{{{ lab }}}}\n{_LINE * 3}"
    )


def expect(found: object, wanted: object, what: str) -> None:
    """Nobody is fast by not doing it. Raises BenchError."""
    if found != wanted:
        raise BenchError(f"{what}: {found}, not {wanted}")
