"""client show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import date, emit, size
from gitstate.cli.client.options import one_name
from gitstate.cli.client.output import as_json, last_as_json, running_as_json
from gitstate.core.names import visible
from gitstate.directory import DEFAULT_STATE, Client
from gitstate.directory.protocol import LastChange
from gitstate.machine.hardware import probe

_COMMIT: Final = re.compile("[0-9a-f]{40}")


@command("gitstate client show lab3-12")
@one_name
def show(session: Session, name: str) -> None:
    """Show one client, its last change and its hardware."""
    from gitstate.machine.hardware.reports import Reports  # whoever lists clients needn't wait for it

    directory = session.opened.directory
    found, last = directory.client(name), directory.last_change(name)
    reports = Reports(session.opened.site)
    report, running = reports.get(found.name), reports.running().get(found.name)
    value = {
        "client": as_json(found),
        "last_change": last_as_json(last),
        "running": running_as_json(running),
        "hardware": report and dict(report),
    }
    emit(session, "client-show/1", value, [*_lines(found, last, running), *(_hardware(report) if report else ())])


def _changed(last: LastChange) -> str:
    """When and by whom; with the commit, if the directory has commits."""
    commit = f"{last.revision[:7]} " if _COMMIT.fullmatch(last.revision) else ""
    return f"{commit}{date(last.when)} {visible(last.author)}"


def _lines(one: Client, last: LastChange | None, running: probe.Running | None) -> list[str]:
    facts = (
        ("MAC", " ".join(one.macs) or "none"),
        ("IP", " ".join(one.ips) or "none"),
        ("runs", one.runs or "nothing yet"),
        ("reports", visible(str(running)) if running else None),
        ("channel", one.channel if one.pin or one.maintains else None),
        ("pin", str(one.pin) if one.pin and one.maintains else None),
        ("kind", one.kind),
        ("workload", one.workload),
        ("classes", " ".join(one.classes)),
        ("layers", " ".join(one.layers)),
        ("state", one.state if one.state != DEFAULT_STATE else None),
        ("changed", _changed(last) if last else None),
        ("", visible(last.subject) if last else None),
    )
    return [one.name, *(f"  {word:<8}  {text}" for word, text in facts if text)]


def _hardware(report: Mapping[str, Any]) -> Iterable[str]:
    """What it last reported, in a few lines."""
    made = " ".join(word for key in ("sys_vendor", "product_name") if (word := report["dmi"].get(key)))
    cpus = f"{report['cpus']} x" if report["cpus"] else None
    facts = (
        ("machine", made),
        ("CPU", " ".join(word for word in (cpus, report.get("cpu"), report["architecture"]) if word)),
        ("memory", size(report["memory"]) if report["memory"] else None),
        *(("GPU", one) for one in probe.graphics(report)),
    )
    return (f"  {word:<8}  {visible(text)}" for word, text in facts if text)
