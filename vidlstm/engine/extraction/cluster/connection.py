"""The connection to a Ray cluster, or a cluster on this machine alone.

Ray starts the processes, moves the data and notices when a node dies. When the driver ends, however it does,
Ray ends its actors, and a cluster that was started here with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from importlib.util import find_spec
from typing import Any

from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.errors import UsageError
from vidlstm.settings import MachineSettings

_MOST_CPUS = 8  # of one actor, unless told otherwise: as many decoders as keep an encoder busy
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as newer versions have it; silences a warning
}


class Connection:
    """A Ray cluster that is connected until `close`.

    Args:
        machine: Its address, and what an actor takes.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, machine: MachineSettings) -> None:
        assert machine.ray is not None
        self.address = machine.ray
        self._machine = machine
        require_ray()
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        logging.getLogger("ray").setLevel(logging.ERROR)
        import ray

        self._is_own = not ray.is_initialized()  # a notebook may have connected before
        if self._is_own:
            try:
                ray.init(**self._arguments())
            except Exception as error:  # Ray raises all kinds, bare `Exception` among them
                raise UsageError(self._why(error)) from error
            _keep_off_stdout()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        import ray

        if self._is_own:
            ray.shutdown()

    def cpus(self) -> float:
        """Return how many CPUs an actor takes: as told, else all of the smallest node, 8 at most."""
        if self._machine.ray_cpus is not None:
            return self._machine.ray_cpus
        return float(min([_MOST_CPUS, *(node["CPU"] for node in _nodes() if node.get("CPU", 0) >= 1)]))

    def gpus(self) -> float:
        """Return how many GPUs an actor takes."""
        return self._machine.ray_gpus

    def room(self, cpus: float) -> int:
        """Return how many actors the nodes have room for; nodes come and go."""
        return sum(self._room_of(node, cpus) for node in _nodes())

    def require_room(self, cpus: float) -> None:
        """Be sure that an actor fits somewhere.

        Raises:
            UsageError: No node is large enough.
        """
        if self.room(cpus):
            return
        most = {kind: max((n.get(kind, 0) for n in _nodes()), default=0) for kind in ("CPU", "GPU")}
        raise UsageError(
            f"`ray={self.address}`: an actor takes {cpus:g} CPUs and {self.gpus():g} GPUs, and the largest "
            f"node has {most['CPU']:g} and {most['GPU']:g}: lower `ray_cpus` or `ray_gpus`"
        )

    def _room_of(self, node: dict[str, float], cpus: float) -> int:
        room = int(node.get("CPU", 0) // cpus)
        return min(room, int(node.get("GPU", 0) // self.gpus())) if self.gpus() else room

    def _why(self, error: Exception) -> str:
        reason = _first_line(error)
        if self.address == "local":
            return f"`ray=local`: Ray does not start on this machine ({reason})"
        return (
            f"`ray={self.address}`: no cluster answers ({reason}); start one with `ray start`, or use "
            "`ray=local`"
        )

    def _arguments(self) -> dict[str, Any]:
        if self.address.startswith("ray://"):
            return {"address": self.address}
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        if self.address == "local":
            return {"address": "local", "num_cpus": num_cores(), "include_dashboard": False, **quiet}
        return {"address": self.address, **quiet}


def require_ray() -> None:
    """Find out early whether Ray is there.

    Raises:
        UsageError: It is not installed.
    """
    if find_spec("ray") is None:
        raise UsageError("`ray`: it is not installed: pip install 'vidlstm[ray]'")


def _keep_off_stdout() -> None:
    """Keep what Ray tells of a node that died off standard output, where rows go; it has no public switch."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def _nodes() -> list[dict[str, float]]:
    """Return what each node that lives has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
