"""The read models: what each item says, made from what a pass knows and from the work that runs."""

from __future__ import annotations

from reconciler.publish.read_models import (
    conditions,
    downloads,
    egress,
    hashes,
    metrics,
    node,
    observed,
    plan,
    prune_history,
    slots,
    storage,
    weights,
)
from reconciler.publish.read_models.view import ReadModel

READ_MODELS = (
    ReadModel(
        "models", "Every model that is declared or registered: what is present and verified of it.", weights.model_facts
    ),
    ReadModel("slots", "Every slot: what it serves, where, and what stands in its way.", slots.facts),
    ReadModel(
        "adapters", "Every adapter, as models are shown, with its base model, alpha and rank.", weights.adapter_facts
    ),
    ReadModel(
        hashes.NAME, "Every digest of models and adapters: its size, where it lies, and who names it.", hashes.facts
    ),
    ReadModel(
        "downloads",
        "Every job and every partial download by digest: how far it is, its place in the queue, what is next.",
        downloads.facts,
        downloads.live_facts,
    ),
    ReadModel("storage", "Whose bytes lie in the store, and when those that nobody names will go.", storage.facts),
    ReadModel("plan", "The plan of the last pass: one item per action, and the summary.", plan.facts),
    ReadModel("observed", "What the last pass saw, complete enough to plan from elsewhere.", observed.facts),
    ReadModel("node", "Hardware, directories, versions, source, store, schedule and last pass.", node.facts),
    ReadModel("conditions", "Why each object is where it is, and when it is tried next.", conditions.facts),
    ReadModel(
        "models_metrics",
        "Counters since the start, permits, what runs and for whom, throughput in MiB/s, and what holds by default.",
        metrics.facts,
        metrics.live_facts,
    ),
    ReadModel("prune_history", "What was deleted or restored lately, why, and by which plan.", prune_history.facts),
    ReadModel(
        "egress",
        "The newest requests to other hosts, as the ledger has them, and `settings`: the rules for the next.",
        egress.facts,
        egress.live_facts,
    ),
)
"""In the order in which they are patched."""
