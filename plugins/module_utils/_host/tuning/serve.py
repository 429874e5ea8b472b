# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs llama-server of the installed engine for a measurement."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ansible_collections.slm.copilot.plugins.module_utils._common.errors import CopilotError
from ansible_collections.slm.copilot.plugins.module_utils._common.http import UnixConnection
from ansible_collections.slm.copilot.plugins.module_utils._engine.sandbox import sandboxed
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.search import OutOfTime
from ansible_collections.slm.copilot.plugins.module_utils._host.tuning.work import Ask

# In memory, and not hidden by the sandbox: what a killed measurement leaves there is gone with the next boot.
SOCKETS = "/dev/shm"
COMMON = ("--jinja", "--no-webui", "--offline", "--log-verbosity", "1")
POLL_SECONDS = 0.2


@contextmanager
def serving(user: str, engine_dir: str, model: str, arguments: Sequence[str], deadline: float) -> Iterator[Ask]:
    """Yields what sends a chat request to a llama-server with this model, and returns its ``timings``.

    The server runs in the sandbox that the engine has as a service, on a Unix socket, and dies with this process.

    :param deadline: when time.monotonic() says this, the measurement ends.
    :raises OutOfTime: at the deadline.
    :raises CopilotError: if the server does not start or refuses a request.
    """
    account = pwd.getpwnam(user)
    folder = tempfile.mkdtemp(prefix="slm-copilot-", dir=SOCKETS)
    try:
        os.chown(folder, account.pw_uid, account.pw_gid)
        path = os.path.join(folder, "llama.sock")  # llama-server detects a Unix socket by the suffix
        command = [os.path.join(engine_dir, "bin/llama-server"), "--model", model, "--host", path, *COMMON, *arguments]
        with tempfile.TemporaryFile() as log, _process(sandboxed(user, command), log) as server:
            _wait(server, path, log, deadline)

            def ask(body: Mapping[str, Any]) -> Mapping[str, float]:
                status, answer = _send(path, "POST", "/v1/chat/completions", deadline, body)
                if status != 200:
                    message = dict(answer.get("error") or {}).get("message", "")
                    raise CopilotError(f"llama-server answered with {status}: {str(message)[:200]}")
                return dict(answer.get("timings") or {})

            yield ask
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _process(command: list[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(server: subprocess.Popen[bytes], path: str, log: IO[bytes], deadline: float) -> None:
    while True:
        try:
            if _send(path, "GET", "/health", deadline)[0] == 200:
                return
        except CopilotError:
            pass
        if server.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-500:] or "it said nothing"
            raise CopilotError(f"llama-server ended ({server.returncode}) before it served: {said}")
        time.sleep(POLL_SECONDS)


def _send(path: str, method: str, target: str, deadline: float, body: Any = None) -> tuple[int, dict[str, Any]]:
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    connection = UnixConnection(path, timeout=left)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, target, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(json.loads(response.read() or b"{}"))
    except TimeoutError:
        raise OutOfTime from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CopilotError(f"llama-server does not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()
