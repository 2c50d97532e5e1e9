"""From all findings of a run to what is reported: coverage, selection, baseline, SARIF, Markdown."""
