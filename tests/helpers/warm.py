"""A `python` for the jobs of a workflow in tests: it forks from a process that has imported torch and its kin.

A job of the small run is done in less time than its imports take. `warm_path()` gives a PATH whose `python -m ttsnap …`
is such a fork: a process of its own, with the caller's arguments, folder, environment (apart from what libraries read
when they are imported) and streams. Other words go to the real Python. What runs is the same code; only the libraries'
modules are shared. The tests that kill jobs, and `make demo` in .ci/run, start theirs as people do.
"""

import atexit
import functools
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOADED = "torch, torchvision, h5py, peft, matplotlib.pyplot, scipy.stats"
CLASSES = "from diffusers import AutoencoderTiny, StableDiffusionXLPipeline; from transformers import CLIPModel"
SHIM = """#!/bin/sh
[ "$1 $2" = "-m ttsnap" ] && exec {python} -S {client} ask {socket} "$@"
exec {python} "$@"
"""


@functools.cache
def warm_path() -> str:
    """PATH with a folder in front that holds such a `python`; its server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    shim, address = folder / "python", folder / "socket"
    shim.write_text(SHIM.format(python=sys.executable, client=__file__, socket=address))
    shim.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", str(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    assert server.stdout.readline() == b"ready\n"
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def serve(address: str) -> None:
    """Fork a process for each call, until the starting process is gone."""
    exec(f"import {PRELOADED}\n{CLASSES}", {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        parent = os.getppid()
        listening.settimeout(5)
        while os.getppid() == parent:
            try:
                caller, _ = listening.accept()
            except TimeoutError:
                continue
            caller.setblocking(True)
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _be(caller)
            caller.close()


def _be(caller: socket.socket) -> None:
    """Become the process that was called for, and tell the caller how it ended."""
    data, files, _, _ = socket.recv_fds(caller, 1 << 16, 3)
    while more := caller.recv(1 << 16):
        data += more
    words, folder, environment = json.loads(data)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout = (open(number, mode, closefd=False) for number, mode in enumerate("rw"))
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *sys.path[1:]]
    sys.argv = words
    status = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    caller.sendall(bytes([status % 256]))
    os._exit(status)


def ask(address: str, words: list[str]) -> int:
    """Run `python -m WORDS` in a fork of the server; returns its exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(address)
        call = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
        server.sendall(call[socket.send_fds(server, [call], [0, 1, 2]) :])
        server.shutdown(socket.SHUT_WR)
        answer = server.recv(1)
    return answer[0] if answer else 137  # killed


if __name__ == "__main__":
    sys.path[:] = sys.path[1:]  # not this folder, whose files have names that jobs import
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[2], sys.argv[4:]))
