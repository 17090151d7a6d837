"""How long an appliance has to end: one number for its own drain, for Docker's patience, and for what is said."""

from __future__ import annotations

from docker.models.containers import Container

from weighbridge.effects.docker import engine_trouble
from weighbridge.errors import HostError

FILE = "/run/weighbridge/stop-seconds"  # read by the container's supervisor when it is told to end

_USUAL_SECONDS = 10  # Docker's own, where a container says nothing


def stop_seconds(container: Container) -> int:
    """How long it may take to end, as it was started."""
    return int(container.attrs["Config"].get("StopTimeout") or _USUAL_SECONDS)


def tell(container: Container, seconds: int) -> None:
    """Let it take `seconds`, whatever it was started with and an interrupted stop told it since.

    One that does not run has nothing to drain. Raises HostError when it cannot be told: its streams would be cut at
    the old number. The number of its start is what it has where it cannot be told, save after an interrupted stop.
    """
    if container.status != "running":
        return
    usual = f"invoke stop --name {container.name}, which gives it the {stop_seconds(container)} s of its start"
    subject = f"{container.name} cannot be told to end within {seconds} s"
    try:
        with engine_trouble(subject, usual):
            done = container.exec_run(["sh", "-c", f"test -f {FILE} && echo {seconds} >{FILE}"])
        if done.exit_code:
            raise HostError(f"{subject}: no {FILE} to write to", usual)
    except HostError:
        if seconds != stop_seconds(container):
            raise
