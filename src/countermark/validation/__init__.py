"""The tests of the validation standard: arrays, a scorer and a limit in; register rows and figures out."""
