"""What the engine and Claude are asked, one module a task."""
