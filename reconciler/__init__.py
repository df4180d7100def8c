"""GitOps for local AI models: declare models, slots and pruning in YAML and let the machine converge."""

__version__ = "0.1.0"
