"""Geometry that pre-processing and networks share: cameras, morphable faces, orthonormal bases."""
