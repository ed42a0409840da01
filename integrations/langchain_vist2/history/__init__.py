"""Sessions as histories of LangChain, histories that are shown as images, and how to move here."""
