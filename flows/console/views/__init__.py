"""How single commands show what they have found."""
