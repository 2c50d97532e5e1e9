"""How far a run is, by what its store holds: one reckoning for the command, Prefect's page and Prometheus."""
