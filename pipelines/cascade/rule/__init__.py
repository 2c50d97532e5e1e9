"""Which items Claude must answer so that a promise about agreement holds, as functions over arrays."""
