"""Measurements of the library against what one would use without it; one module each.

Everything that ``vist2 bench`` measures is here, so that the commands only print. A measurement
takes its sizes as arguments, runs the contenders in turns, and gives back plain figures for JSON.
"""
