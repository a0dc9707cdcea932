"""Tune a vision-language model on pairs of images.

    accelerate launch training/sft.py --config training/recipes/llava-1.5-7b/v2.yaml [--learning_rate 5e-5 …]

Copy this file to change what a training does: `cadvi_hub.training.sft.train` has every step in one screen.
"""

import sys

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.recipe import parse
from cadvi_hub.training.sft import train

if __name__ == "__main__":
    try:
        data, args, model_args = parse()
        train(data, args, model_args)
    except InputError as error:
        sys.exit(f"error: {error}")
