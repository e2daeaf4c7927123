"""The connection to a Ray cluster, or to a cluster started on this machine.

Ray starts the processes, moves the data and notices when a node dies. When the driver ends for any reason,
Ray stops its actors, and also a cluster that it started on this machine.
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

_MAX_CPUS = 8  # default limit per actor: enough decoders to keep an encoder busy
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage reports
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default of newer versions; silences a warning
}
_NICENESS = "RAY_worker_niceness"  # 15 by default: on a busy machine, actors would wait for everything else


class Connection:
    """A Ray cluster that is connected until `close`.

    Args:
        machine: Address of the cluster, and what an actor reserves.

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
        if self.address == "local":
            os.environ.setdefault(_NICENESS, "0")  # is added to the priority of this process
        logging.getLogger("ray").setLevel(logging.ERROR)
        import ray

        self._is_own = not ray.is_initialized()  # a notebook may have connected before
        if self._is_own:
            try:
                ray.init(**self._arguments())
            except Exception as error:  # Ray raises many types, including bare `Exception`
                raise UsageError(self._why(error)) from error
            _keep_off_stdout()

    def close(self) -> None:
        """Disconnect; stop the cluster if it was started here."""
        import ray

        if self._is_own:
            ray.shutdown()

    def cpus(self) -> float:
        """Return the CPUs of an actor: `ray_cpus`, by default all CPUs of the smallest node, at most 8."""
        if self._machine.ray_cpus is not None:
            return self._machine.ray_cpus
        return float(min([_MAX_CPUS, *(node["CPU"] for node in _nodes() if node.get("CPU", 0) >= 1)]))

    def gpus(self) -> float:
        """Return the GPUs of an actor."""
        return self._machine.ray_gpus

    def room(self, cpus: float) -> int:
        """Return how many actors the nodes have room for at the moment."""
        return sum(self._room_of(node, cpus) for node in _nodes())

    def require_room(self, cpus: float) -> None:
        """Check that some node has room for an actor.

        Raises:
            UsageError: No node is large enough.
        """
        if self.room(cpus):
            return
        most = {kind: max((n.get(kind, 0) for n in _nodes()), default=0) for kind in ("CPU", "GPU")}
        raise UsageError(
            f"`ray={self.address}`: an actor needs {cpus:g} CPUs and {self.gpus():g} GPUs, but the largest "
            f"node has {most['CPU']:g} and {most['GPU']:g}; lower `ray_cpus` or `ray_gpus`"
        )

    def _room_of(self, node: dict[str, float], cpus: float) -> int:
        room = int(node.get("CPU", 0) // cpus)
        return min(room, int(node.get("GPU", 0) // self.gpus())) if self.gpus() else room

    def _why(self, error: Exception) -> str:
        reason = _first_line(error)
        if self.address == "local":
            return f"`ray=local`: Ray cannot be started on this machine ({reason})"
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
    """Check early that Ray is installed.

    Raises:
        UsageError: It is not installed.
    """
    if find_spec("ray") is None:
        raise UsageError("`ray`: it is not installed: pip install 'vidlstm[ray]'")


def _keep_off_stdout() -> None:
    """Keep Ray's messages about dead nodes off standard output; Ray has no public option for it."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each live node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
