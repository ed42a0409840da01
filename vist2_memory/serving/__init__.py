"""``vist2 serve``: memory and model behind an HTTP interface that chat clients know.

The extra ``server`` installs what it needs.
"""
