"""One picture optimised against the losses, as Gatys et al. do."""
