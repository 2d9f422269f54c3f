"""How often is each word in a text of a book's length? A map-reduce."""
