"""From pairs to summaries, conversations and questions: prompts, readers of replies, filters."""

from cadvi_hub.annotation.settings import AnnotatorSettings, QuestionSettings, VerifierSettings

__all__ = ["AnnotatorSettings", "QuestionSettings", "VerifierSettings"]
