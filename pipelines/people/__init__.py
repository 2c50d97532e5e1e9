"""What people answer where nobody was sure: who is asked, how answers come back, and how rows are read with them."""
