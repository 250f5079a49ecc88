"""`vtapd run`: start all parts of the daemon, and end them again. Guests keep running.

root task group
├─ reconciler    workers, Docker's events, resync
├─ HTTP          metrics and control
├─ watchdog      systemd
├─ reaper        the parent of all guests' QEMUs, started if there is none
└─ signals       SIGTERM and SIGINT end it, SIGHUP reloads its configuration
"""

import gc
import signal
from contextlib import ExitStack
from pathlib import Path

import anyio
import structlog

from supervisor.api.control_server import serve_control
from supervisor.api.metrics_page import Page, sample_all
from supervisor.api.metrics_server import serve_metrics
from supervisor.api.status_page import StatusPage
from supervisor.config import Config
from supervisor.container.context import Context
from supervisor.container.ended import EndedContainers
from supervisor.container.host_shutdown import stop_guests
from supervisor.container.reconciler import Reconciler
from supervisor.container.record import ContainerRecords
from supervisor.container.recovery import Leftovers
from supervisor.container.systemd_link import SystemdLink
from supervisor.edges.docker import Docker
from supervisor.edges.qemu.spawn import find_user, forbid_core_dumps, mark_close_on_exec
from supervisor.edges.records import Records
from supervisor.edges.systemd.notify import notify, watchdog_interval_s
from supervisor.guest.reaper import Reaper
from supervisor.guest.settings import Settings
from supervisor.observability.metrics import Counters
from supervisor.ownership import own_docker, own_folder
from supervisor.reload import Reloading
from supervisor.version import program_version

_NEW_OBJECTS = 5_000
"""After so many Python looks for cycles among them, not after 700: a guest that is adopted has a thousand."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def run_daemon(config: Config, path: Path | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises a VtapdError if it cannot start. SIGHUP reads the configuration at `path`."""
    user = find_user(config.guest.user)
    forbid_core_dumps()
    mark_close_on_exec()
    gc.freeze()  # the modules are never garbage
    gc.set_threshold(_NEW_OBJECTS)
    with ExitStack() as owned, anyio.open_signal_receiver(signal.SIGHUP) as hangups:
        owned.enter_context(own_folder(config.run_dir))
        docker = Docker(config.docker.host, config.docker.timeout)
        try:
            engine = await docker.engine()
            owned.enter_context(own_docker(engine, docker.host, config))
            counters = Counters()
            leftovers = Leftovers()
            reaper = Reaper(config.run_dir)
            settings = await Settings.of(config, user, reaper)
            files = Records(config.run_dir)
            for pid in leftovers.guests():
                settings.uids.note_running(pid)
            context = Context(
                settings=settings,
                docker=docker,
                records=ContainerRecords(files),
                ended=EndedContainers(files, docker),
                counters=counters,
                leftovers=leftovers,
            )
            await context.systemd.connect()
            reconciler = Reconciler(context)
            page = Page(counters.registry, lambda: sample_all(reconciler.statuses()))
            status = StatusPage(context, reconciler, engine.version)
            control = serve_control(config.control_socket, config.control.group, reconciler)
            async with serve_metrics(config, page, status) as metrics, control:
                reloading = Reloading(path, context, reconciler, metrics)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_end_on_signal, tasks.cancel_scope, context.systemd, reconciler)
                    await tasks.start(reconciler.run)
                    tasks.start_soon(_watchdog)
                    tasks.start_soon(reaper.keep, context.systemd.separate)
                    tasks.start_soon(reloading.follow, hangups)
                    tasks.start_soon(settings.accelerator.choose, config.guest.accel)
                    tasks.start_soon(settings.confinement.prepare)
                    tasks.start_soon(context.systemd.follow, reconciler.mark_all)
                    log.info("vtapd_started", version=program_version(), docker=engine.version, guests_run_as=user.name)
                    notify("READY=1", f"STATUS=watching Docker {engine.version}")
                log.info("vtapd_stopped", guests="left running")
            context.systemd.close()
            reaper.close()
        finally:
            with anyio.CancelScope(shield=True):
                await docker.close()


async def _end_on_signal(scope: anyio.CancelScope, systemd: SystemdLink, reconciler: Reconciler) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("vtapd_stopping", signal=number.name)
            notify("STOPPING=1")
            if await systemd.is_shutting_down():
                await stop_guests(reconciler.workers.values())
            scope.cancel()
            return


async def _watchdog() -> None:
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify("WATCHDOG=1")
        await anyio.sleep(interval_s)
