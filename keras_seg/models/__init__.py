"""Graph wiring only; the builders are re-exported by the package, not here."""
