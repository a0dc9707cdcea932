"""Why our models keep no sample cache of lighteval's."""

from lighteval.tasks.registry import Registry


class NoSampleCache:
    """Stands where lighteval's `SampleCache` would: remembers nothing.

    lighteval keys cached answers on the model's name and settings alone, so that a model trained again at the same
    path would be scored by the answers of its older weights.
    """

    def _init_registry(self, registry: Registry) -> None:
        """lighteval's pipeline calls this on every model's cache."""
