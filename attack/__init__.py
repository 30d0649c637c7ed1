"""Hostile files, faults, concurrency, names and boards against the public interface: `make attack`."""
