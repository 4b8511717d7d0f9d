"""One thin module per DVC stage: read files, call one room, write files."""
