"""``VisualDocuments`` and ``VisualRetriever``: documents read as visual tokens, and found."""
