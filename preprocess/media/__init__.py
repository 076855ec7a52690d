"""Films in, exact clips and delivered films out."""
