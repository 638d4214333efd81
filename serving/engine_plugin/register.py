"""SGLang's entry point `sglang.srt.plugins`: called once in each of the engine's processes.

SGLang logs a plugin's failure and goes on without it, and its prefix cache works without it too. So
the plugin attests itself from the scheduler's process, where isolation happens, and a gateway
refuses an engine that does not (`serving.engine.probe`).
"""

from __future__ import annotations

import os
import sys
import traceback

from serving.engine_plugin import attestation, redaction

# EX_CONFIG of sysexits.h: the supervisor's log shows that it was the configuration.
_REFUSED = 78


def register() -> None:
    """Register all hooks, or end the process: an engine without them must not serve."""
    try:
        attestation.register()
        redaction.register()
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
        os._exit(_REFUSED)
