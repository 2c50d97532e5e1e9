"""An engine that starts at once, whose answers are a function of the prompt's tokens: a stand-in for vLLM.

`site/` holds a package `vllm` and nothing else. On the PYTHONPATH of a Ray node (or of a process that starts its own),
`workers.engines.engine` finds it in place of the real one. The README beside this file says what it answers.
"""

from pathlib import Path

STAND_IN = Path(__file__).parent / "site"
