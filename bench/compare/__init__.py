"""How often `hazd compare` calls identical code worse, and how often it finds a removed readinessProbe."""
