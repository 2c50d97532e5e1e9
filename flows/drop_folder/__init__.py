"""The drop folder: files that arrive start runs."""
