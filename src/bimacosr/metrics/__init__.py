"""How good a picture is: against its original, by itself, and for the prints of a pixel shuffle."""
