"""Export3D: a portrait and an expression become a tri-plane, seen from any camera."""
