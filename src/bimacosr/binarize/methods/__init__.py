"""One binarization method a file; `bimacosr.binarize.registry` lists them."""
