"""An LLM rates open answers from 0 to 5, and a check shows whether it can be trusted."""
