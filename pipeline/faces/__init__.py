"""Face networks and face models by name, and the faces of a dataset as arrays."""
