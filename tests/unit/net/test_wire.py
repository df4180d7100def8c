"""Names, and what goes wrong while they are looked up."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_DESCRIPTORS = """
import os, resource
from reconciler.net.failure import NetError
from reconciler.net.wire import resolve_by_system
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
try:
    resolve_by_system("models.example", 443)
except NetError as error:
    print(error.code, error.transient, error.message)
"""
# In a process of its own: there the first name that is looked up takes a descriptor, whatever the resolver does.


def test_a_name_that_can_not_be_looked_up_for_want_of_descriptors_is_transient() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, check=False)
    assert done.stdout == "connect True the name models.example was not resolved: Too many open files\n", done.stderr
