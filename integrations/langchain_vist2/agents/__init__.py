"""``VisualMemoryMiddleware``: the memory of LangChain's agents."""
