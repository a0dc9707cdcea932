"""Tune a vision-language model on pairs of images.

    accelerate launch training/sft.py --config training/recipes/llava-1.5-7b/v2.yaml [--learning_rate 5e-5 …]

Copy this file to change what a training does: `cadvi_hub.training.sft.train` has every step in one screen.
"""

import sys

from cadvi_hub.core.ends import ending_in_one_line, wants_traceback

if __name__ == "__main__":
    with ending_in_one_line("training", debug=wants_traceback(sys.argv)):
        from cadvi_hub.training.recipe import parse  # imports torch, during which Ctrl-C ends in one line, too
        from cadvi_hub.training.sft import train

        data, args, model_args = parse()
        train(data, args, model_args)
