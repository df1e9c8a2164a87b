"""`mamp report`: one HTML page of evaluations and training runs, to be looked at from disk."""

from mamp.report.page import write_report

__all__ = ["write_report"]
