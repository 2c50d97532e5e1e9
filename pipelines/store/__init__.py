"""The store and what lies in it: objects, run layout, schemas."""
