"""Every setting of the product, typed, with its unit and range; one file per room that reads it."""
