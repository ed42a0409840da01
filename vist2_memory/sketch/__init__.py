"""Text drawn as small grey images: the atlas, the geometry, the renderer."""
