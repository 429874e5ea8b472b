# Copyright: (c) 2026, The slm.copilot maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journals in capitals are excerpts of real ones, of llama.cpp 0.5.0 with bad inputs under systemd 252.

The lines of the OOM killer are from systemd's source.
"""

from __future__ import annotations

import pytest
from ansible_collections.slm.copilot.plugins.plugin_utils._startup import gateway_failure, startup_failure

BIND = """\
0.00.022.151 W srv  llama_server: security: no API key is set and CORS allows all origins
0.00.022.293 E srv         start: couldn't bind HTTP server socket, hostname: /run/slm-copilot/llama-server.sock, port: 8080
0.00.022.498 I srv    operator(): operator(): cleaning up before exit...
0.00.022.601 E srv  llama_server: exiting due to HTTP server error
slm-copilot.service: Main process exited, code=exited, status=1/FAILURE
not ready: the server has exited
slm-copilot.service: Control process exited, code=exited, status=1/FAILURE
slm-copilot.service: Failed with result 'exit-code'.
Failed to start slm-copilot.service - slm.copilot: llama-server with tiny."""

MISSING = """\
0.00.031.614 I srv    load_model: loading model '/m/nope.gguf'
0.00.031.819 E gguf_init_from_file: failed to open GGUF file '/m/nope.gguf' (No such file or directory)
0.00.031.962 E llama_model_load: error loading model: llama_model_loader: failed to load model from /m/nope.gguf
0.00.031.986 E llama_model_load_from_file_impl: failed to load model
0.00.032.033 E common_fit_params: encountered an error while trying to fit params to free device memory: failed to load model
0.00.032.079 E srv    load_model: failed to load model, '/m/nope.gguf'
0.00.032.573 E srv  llama_server: exiting due to model loading error"""

NOT_GGUF = """\
0.00.022.000 E gguf_init_from_reader: invalid magic characters: '????', expected 'GGUF'
0.00.022.127 E llama_model_load: error loading model: llama_model_loader: failed to load model from zero.gguf"""

EMPTY = """\
0.00.025.002 E gguf_init_from_reader: failed to read magic
0.00.025.147 E llama_model_load: error loading model: llama_model_loader: failed to load model from empty.gguf"""

TRUNCATED_HEADER = """\
0.00.024.851 E gguf_init_from_reader: failed to read key-value pairs
0.00.025.001 E llama_model_load: error loading model: llama_model_loader: failed to load model from trunc.gguf"""

TRUNCATED_TENSORS = """\
0.00.032.444 E llama_model_load: error loading model: tensor 'blk.3.ffn_down.weight' data is not within the file \
bounds, model is corrupted or incomplete
0.00.032.483 E llama_model_load_from_file_impl: failed to load model"""

TENSOR_TYPE = """\
0.00.135.743 E gguf_init_from_reader: tensor 'token_embd.weight' has invalid ggml type 142. should be in [0, 43)
0.00.135.768 E gguf_init_from_reader: failed to read tensor info
0.00.136.737 E llama_model_load: error loading model: llama_model_loader: failed to load model from badtype.gguf"""

NEWER_SYSTEM = """\
/opt/x/bin/llama-server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /opt/x/bin/libllama.so)
slm-copilot.service: Main process exited, code=exited, status=1/FAILURE"""

NO_BACKENDS = """\
0.00.021.114 E llama_model_load_from_file_impl: no backends are loaded. hint: use ggml_backend_load() or ggml_backend_load_all() \
to load a backend before calling this function
0.00.021.130 E cmn  common_init_: failed to load model 'x.gguf'"""

ASSERTION = """\
/src/ggml.c:1461: GGML_ASSERT(wtype != 43) failed
slm-copilot.service: Main process exited, code=dumped, status=6/ABRT"""

UNKNOWN_ARCHITECTURE = """\
0.00.082.768 E llama_model_load: error loading model: unknown model architecture: 'lluma'
0.00.082.803 E cmn  common_init_: failed to load model 'arch.gguf'"""

VOCABULARY_ONLY = """\
0.00.258.614 E llama_model_load: error loading model: check_tensor_dims: tensor 'token_embd.weight' not found
0.00.258.656 E llama_model_load_from_file_impl: failed to load model"""

MODEL_PERMISSION = """\
0.00.025.173 E gguf_init_from_file: failed to open GGUF file '/m/b.gguf' (Permission denied)
0.00.026.245 E llama_model_load: error loading model: llama_model_loader: failed to load model from /m/b.gguf"""

NO_MEMORY = """\
0.00.309.538 E ggml_aligned_malloc: insufficient memory (attempted to allocate 1953.25 MB)
0.00.309.580 E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 2048131072
0.00.309.581 E alloc_tensor_range: failed to allocate CPU buffer of size 2048131072
0.00.313.151 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache
0.00.313.201 E srv    load_model: failed to create_context with model 'm.gguf'"""

CACHE_TYPES = """\
0.00.080.790 E llama_init_from_model: quantized V cache requires flash_attn to be enabled
0.00.136.528 E cmn  common_init_: failed to create context with model 'm.gguf'"""

BAD_NUMBER = """\
error while handling argument "--threads": stoi

usage:
-t,    --threads N                      number of CPU threads to use during generation (default: -1)"""

BAD_TYPE = """\
error while handling argument "--cache-type-k": Unsupported cache type: q9_9

usage:"""

TEMPLATE = """\
error: the supplied chat template is not supported: {{ bad


0.00.001.489 E common_chat_templates_init: failed to initialize chat template"""

OOM_KILL = """\
0.00.024.867 I srv    load_model: loading model 'm.gguf'
slm-copilot.service: A process of this unit has been killed by the OOM killer.
slm-copilot.service: Main process exited, code=killed, status=9/KILL
slm-copilot.service: Failed with result 'oom-kill'."""

NO_LIBRARY = """\
/opt/b/llama-server: error while loading shared libraries: libgomp.so.1: cannot open shared object file: No such file
slm-copilot.service: Main process exited, code=exited, status=127/n/a"""

NO_PROGRAM = """\
slm-copilot.service: Failed to locate executable /opt/nope/llama-server: No such file or directory
slm-copilot.service: Failed at step EXEC spawning /opt/nope/llama-server: No such file or directory
slm-copilot.service: Main process exited, code=exited, status=203/EXEC"""

NAMESPACE = """\
slm-copilot.service: Failed to set up mount namespacing: /run/systemd/unit-root/nope/x: No such file or directory
slm-copilot.service: Failed at step NAMESPACE spawning /opt/b/llama-server: No such file or directory
slm-copilot.service: Main process exited, code=exited, status=226/NAMESPACE"""

TIME_OUT = """\
slm-copilot.service: start-post operation timed out. Terminating.
slm-copilot.service: Control process exited, code=killed, status=15/TERM
slm-copilot.service: Failed with result 'timeout'."""

LOADING = """\
not ready: /health answered 503
slm-copilot.service: Control process exited, code=exited, status=1/FAILURE"""


def exited(status, code="killed"):
    return f"slm-copilot.service: Main process exited, code={code}, status={status}\n"


@pytest.mark.parametrize(
    ("journal", "cause"),
    [
        pytest.param(BIND, "It cannot listen on /run/slm-copilot/llama-server.sock", id="bind"),
        pytest.param(MISSING, "The model /m/nope.gguf cannot be opened: No such file or directory. Fetch", id="no_model"),
        pytest.param(MODEL_PERMISSION, "The service's user may not read the model /m/b.gguf.", id="model_permission"),
        pytest.param(NOT_GGUF, "The model's file is not in GGUF format, or is empty (invalid magic).", id="not_gguf"),
        pytest.param(EMPTY, "The model's file is not in GGUF format, or is empty (failed to read magic)", id="empty"),
        pytest.param(TRUNCATED_HEADER, "truncated or damaged (failed to read key-value pairs)", id="truncated_header"),
        pytest.param(TRUNCATED_TENSORS, "truncated or damaged (tensor 'blk.3.ffn_down.weight' data", id="truncated"),
        pytest.param(UNKNOWN_ARCHITECTURE, "unknown model architecture: 'lluma'. Choose another", id="architecture"),
        pytest.param(VOCABULARY_ONLY, "cannot be loaded: check_tensor_dims: tensor 'token_embd.weight'", id="no_tensors"),
        pytest.param(
            "0.00.1 E gguf_init_from_reader: this GGUF file is version 9 but this software only supports up to version 3",
            "this GGUF file is version 9 but this software only supports up to version 3. Use a newer",
            id="newer_gguf",
        ),
        pytest.param(
            "0.00.082.768 E llama_model_load: error loading model: unable to allocate CPU buffer",
            "not enough memory for the model (unable to allocate CPU buffer)",
            id="no_memory_for_weights",
        ),
        pytest.param(NO_MEMORY, "There is not enough memory (1953.25 MB). Reduce the context size", id="no_memory"),
        pytest.param(
            "0.00.313.151 E llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers",
            "There is not enough memory (failed to allocate compute pp buffers).",
            id="no_memory_to_compute",
        ),
        pytest.param(TENSOR_TYPE, "tensor 'token_embd.weight' has invalid ggml type 142). Choose another file", id="tensor_type"),
        pytest.param(NEWER_SYSTEM, "this one lacks GLIBC_2.38. Install the engine again", id="newer_system"),
        pytest.param(NO_BACKENDS, "lacks its CPU libraries", id="no_backends"),
        pytest.param(ASSERTION, "/src/ggml.c:1461: GGML_ASSERT(wtype != 43) failed. Report", id="assertion"),
        pytest.param(CACHE_TYPES, "The cache types do not fit: quantized V cache requires flash_attn", id="cache_types"),
        pytest.param(BAD_NUMBER, "refuses its argument --threads: not a number.", id="argument_no_number"),
        pytest.param(BAD_TYPE, "refuses its argument --cache-type-k: Unsupported cache type: q9_9.", id="argument_value"),
        pytest.param("error: invalid argument: --xyz", "llama-server has no argument --xyz.", id="unknown_argument"),
        pytest.param(TEMPLATE, "llama-server cannot use the chat template.", id="template"),
        pytest.param(OOM_KILL, "the kernel killed it (OOM). Reduce the context size", id="oom_kill"),
        pytest.param(exited("4/ILL"), "(SIGILL). Give the virtual machine the CPU model host-passthrough", id="ill"),
        pytest.param(exited("4/ILL", "dumped"), "(SIGILL). Give the virtual machine", id="ill_with_core"),
        pytest.param(exited("31/SYS", "dumped"), "SystemCallFilter stopped it (SIGSYS)", id="system_call"),
        pytest.param(exited("9/KILL"), "killed from outside (SIGKILL), most often for lack of memory", id="killed"),
        pytest.param(exited("11/SEGV", "dumped"), "The engine crashed (11/SEGV).", id="crash"),
        pytest.param(NO_LIBRARY, "The engine lacks the library libgomp.so.1.", id="no_library"),
        pytest.param(NO_PROGRAM, "could not run /opt/nope/llama-server: No such file or directory (step EXEC)", id="exec"),
        pytest.param(NAMESPACE, "(step NAMESPACE). Check that the engine is installed and its folders", id="namespace"),
        pytest.param(exited("217/USER", "exited"), "user or group does not exist (217/USER)", id="no_user"),
        pytest.param(TIME_OUT, "most often the model was still loading. Give it more time", id="time_out"),
        pytest.param(LOADING, "The model was still loading at the start timeout.", id="loading"),
        pytest.param("sh: /opt/x/run: Permission denied", "user has no permission: sh: /opt/x/run.", id="some_permission"),
    ],
)
def test_cause(journal, cause):
    assert cause in startup_failure(journal)
    dated = "\n".join(f"Nov 23 09:16:24 madrid-1 llama-server[812]: {line}" for line in journal.splitlines())
    assert startup_failure(dated) == startup_failure(journal)


SS = "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
TAKEN = """\
[NOTICE]   (91) : haproxy version is 2.6.12-1+deb12u2
[ALERT]    (91) : Starting frontend api: cannot bind socket (Address already in use) for [0.0.0.0:8443]
[ALERT]    (91) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting."""


@pytest.mark.parametrize(
    ("listening", "cause"),
    [
        pytest.param(
            SS + 'LISTEN 0 511 0.0.0.0:8443 0.0.0.0:* users:(("nginx",pid=77,fd=6))',
            "Port 8443 is taken by nginx, process 77. Stop that, or choose another port.",
            id="taken",
        ),
        pytest.param(SS + "LISTEN 0 511 [::]:8443 [::]:*", "Port 8443 is taken by another program.", id="no_owner"),
        pytest.param(SS + "LISTEN 0 511 0.0.0.0:18443 0.0.0.0:*", "Port 8443 is taken by another program.", id="gone by now"),
    ],
)
def test_who_has_the_gateways_port_is_told(listening, cause):
    told = gateway_failure(TAKEN, listening)
    assert told.startswith("Starting frontend api: cannot bind socket (Address already in use) for [0.0.0.0:8443]")
    assert cause in told


def test_a_gateway_without_alerts_is_told_by_its_last_words():
    assert gateway_failure("one\n\ntwo\n", "") == "one | two"
    assert gateway_failure("", "") == "The journal says nothing about the cause."


def attempt(text, count):
    return f"""\
slm-copilot.service: Scheduled restart job, restart counter is at {count}.
Stopped slm-copilot.service - slm.copilot: llama-server with tiny.
Starting slm-copilot.service - slm.copilot: llama-server with tiny...
{text}
"""


GAVE_UP = """\
slm-copilot.service: Scheduled restart job, restart counter is at 5.
Stopped slm-copilot.service - slm.copilot: llama-server with tiny.
slm-copilot.service: Start request repeated too quickly.
slm-copilot.service: Failed with result 'exit-code'.
Failed to start slm-copilot.service - slm.copilot: llama-server with tiny."""


@pytest.mark.parametrize(
    ("journal", "cause"),
    [
        pytest.param(attempt(BIND, 1) + attempt(MISSING, 2), "The model /m/nope.gguf cannot", id="latest"),
        pytest.param(attempt(MISSING, 1) + attempt(exited("4/ILL"), 2), "(SIGILL)", id="latest_without_words"),
        pytest.param(attempt(MISSING, 1) + GAVE_UP, "The model /m/nope.gguf cannot", id="systemd_gave_up"),
        pytest.param(attempt(BIND, 1) + NO_LIBRARY + "\n" + attempt("", 2), "libgomp.so.1", id="lines_changed_places"),
    ],
)
def test_of_several_starts_the_latest_counts(journal, cause):
    assert cause in startup_failure(journal)


def test_an_unknown_cause_gives_the_last_lines_that_say_something():
    lines = "\n".join(f"0.00.000.{number:03} E srv  something: odd thing {number}" for number in range(20))
    text = startup_failure(lines + "\n" + GAVE_UP)
    assert text.startswith("The cause is unknown; the journal ends with: srv  something: odd thing 12 | ")
    assert text.endswith(" | srv  something: odd thing 19")


@pytest.mark.parametrize("journal", [pytest.param("", id="empty"), pytest.param(GAVE_UP, id="only_systemd")])
def test_a_journal_that_says_nothing(journal):
    assert startup_failure(journal) == "The journal says nothing about the cause."
