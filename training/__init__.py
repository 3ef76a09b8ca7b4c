"""Training of the bundled voice: prepare, train, export, evaluate, card. Not part of the installed packages."""
