"""What is decided about a document: functions over tables. No Ray, Prefect, vLLM or anthropic in here."""
