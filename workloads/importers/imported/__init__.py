"""From the operators of other people's graphs to programs of moments."""
