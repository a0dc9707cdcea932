"""An LLM rates open answers from 0 to 5, and is itself checked."""
