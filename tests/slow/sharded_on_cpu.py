"""The training script sharded by FSDP or DeepSpeed on CPUs; accelerate itself only supports that on accelerators."""

from typing import Any

import accelerate.accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from cadvi_hub.training import sft


class ShardedState(AcceleratorState):  # type: ignore[misc]  # accelerate has no types
    """Takes the plugin of the environment on gloo, too."""

    def __init__(self, *args: Any, fsdp_plugin: Any = None, deepspeed_plugin: Any = None, **kwargs: Any):
        super().__init__(*args, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **kwargs)
        if (plugin := fsdp_plugin or deepspeed_plugin) is None:
            return
        if self._mixed_precision != "no":
            plugin.set_mixed_precision(self._mixed_precision)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        else:
            deepspeed_plugin.select(_from_accelerator_state=True)
            self.distributed_type, self.deepspeed_plugins = DistributedType.DEEPSPEED, deepspeed_plugin
        PartialState._shared_state["distributed_type"] = self.distributed_type


accelerate.accelerator.AcceleratorState = ShardedState
sft.main()
