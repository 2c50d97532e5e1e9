"""What a code review reads: diffs, git repositories and source trees, as numbered text in pieces."""
