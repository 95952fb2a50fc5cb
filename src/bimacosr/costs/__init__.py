"""Costs: parameters, bytes and operations of a network, counted and not estimated."""
