"""``ChatVIST2``: what a call asks for, where its answer comes from, how it is told."""
