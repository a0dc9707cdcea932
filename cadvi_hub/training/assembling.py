"""The command `cadvi assemble`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class AssembleSettings:
    """What to assemble; each part is a folder or a repository on the Hub.

    Attributes:
        language_model: Llama with its tokenizer: lmsys/vicuna-7b-v1.5 in the paper.
        vision_tower: CLIP with its image processor: openai/clip-vit-large-patch14-336 in the paper.
        projector: LLaVA-1.5's stage-1 projector: the file, or where mm_projector.safetensors or mm_projector.bin lies.
        out: Folder for the model; nothing may be there.
    """

    language_model: str
    vision_tower: str
    projector: str
    out: Path


def assemble_model(settings: AssembleSettings) -> str:
    """Make a LLaVA of its parts; what it computes is compared with the parts."""
    from cadvi_hub.training.llava import assemble

    difference = assemble(settings.language_model, settings.vision_tower, settings.projector, settings.out)
    return f"{settings.out}: largest difference to its parts {difference:.2e}"
