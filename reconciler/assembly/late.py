"""What brings packages that most commands do without, and so is imported only when it is asked for."""

from __future__ import annotations

import importlib

from reconciler.assembly.converge import RunOptions
from reconciler.assembly.service import ServeOptions, Service
from reconciler.core.report import Exit, RunReport
from reconciler.loop.converge import Watcher
from reconciler.settings import Settings


def plan_against(settings: Settings, options: RunOptions, observer: Watcher) -> RunReport:
    """What another node would do with these manifests; brings HTTP and TLS."""
    module = importlib.import_module("reconciler.assembly.against")
    report: RunReport = module.plan_against(settings, options, observer)
    return report


def serve(settings: Settings, options: ServeOptions, service: Service) -> Exit:
    """The service ran until a signal ended it; brings a scheduler and a web server. Raises ReconcilerError."""
    module = importlib.import_module("reconciler.assembly.serve")
    code: Exit = module.serve(settings, options, service)
    return code
