"""When and in what order: the command, the Prefect flow, and the stages it names."""
