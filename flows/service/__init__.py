"""Runs that nobody starts by hand: schedules, deployments, the watchdog, collecting answers."""
