"""The same sorting of tickets, written with ray.data.llm as its documentation teaches it; nothing of the product.

``python -m tests.bench.ray_data_job STYLE SPEC ANSWER``; STYLE is `json` or `one-token`, SPEC a JSON file made by
`tests.bench.wall` with the paths, the prompt and the labels. Needs pandas, which only this process has.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

Row = dict[str, Any]
# The longest `{"label": "feature_request"}` takes some 20 tokens of the starter's small vocabulary.
_ANSWER_TOKENS = 24


def run(style: str, spec: dict[str, Any]) -> int:
    """Read, answer, write Parquet; how many rows were written."""
    # Every stage claims a core for as long as the job runs: counting two, it waits for the third for ever.
    ray.init("local", num_cpus=max(8, os.cpu_count() or 1), include_dashboard=False)
    config = vLLMEngineProcessorConfig(
        model_source=spec["model"],
        engine_kwargs=spec["engine"],
        concurrency=1,
        # The documented way to run without a GPU; what else it takes is left at its default.
        placement_group_config={"bundles": [{"CPU": 1}]},
        # The export needs packages of ray[default] and costs time: nobody looks at it here.
        log_engine_metrics=False,
        # Some documents are longer than the model's context: without this the first one ends the job.
        should_continue_on_error=True,
        chat_template_stage={"enabled": True, "chat_template_kwargs": {"enable_thinking": False}},
    )
    processor = build_processor(config, preprocess=_preprocess(style, spec), postprocess=_postprocess(style))
    # Blocks of about 64 rows, as its guide on parallelism advises: with one block, one stage works at a time.
    documents = ray.data.read_json(spec["documents"], lines=True, override_num_blocks=32)
    processor(documents).write_parquet(spec["output"])
    return int(ray.data.read_parquet(spec["output"]).count())


def _preprocess(style: str, spec: dict[str, Any]) -> Callable[[Row], Row]:
    before, after = spec["before"], spec["after"]
    schema = {"structured_outputs": {"json": spec["schema"]}, "max_tokens": _ANSWER_TOKENS}
    sampling = (
        schema if style == "json" else {"max_tokens": 1, "logprobs": len(spec["schema"]["properties"]["label"]["enum"])}
    )

    def preprocess(row: Row) -> Row:
        return {
            "id": row["id"],
            "messages": [{"role": "user", "content": f"{before}{row['text']}{after}"}],
            "sampling_params": {"temperature": 0, **sampling},
        }

    return preprocess


def _postprocess(style: str) -> Callable[[Row], Row]:
    def postprocess(row: Row) -> Row:
        answer = {"id": row["id"], "answer": row["generated_text"], "input_tokens": row["num_input_tokens"]}
        return answer if style == "json" else {**answer, "logprobs": json.dumps(row["logprobs"])}

    return postprocess


def main() -> None:
    """Run one style."""
    style, spec, answer = sys.argv[1:]
    rows = run(style, json.loads(Path(spec).read_text(encoding="utf-8")))
    Path(answer).write_text(json.dumps({"rows": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
