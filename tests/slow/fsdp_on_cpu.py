"""The training script sharded by FSDP on CPUs, which accelerate itself offers on accelerators only."""

import accelerate.accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from cadvi_hub.training import sft


class ShardedState(AcceleratorState):
    """Takes the FSDP plugin of the environment on gloo, too."""

    def __init__(self, *args, fsdp_plugin=None, **kwargs):
        super().__init__(*args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP


accelerate.accelerator.AcceleratorState = ShardedState
sft.main()
