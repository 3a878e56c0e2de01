"""Operators of other people's graphs: one operator, one formula."""
