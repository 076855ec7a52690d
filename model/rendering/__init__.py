"""From planes of features to images: rays, tri-plane lookup, volume rendering, super-resolution."""
