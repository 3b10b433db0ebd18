"""Benchmarks: systems to run, runners, checks, and the record that a report is drawn from."""
