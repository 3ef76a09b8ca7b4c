"""The tool that trains the bundled voice: prepare, train, evaluate, export. Not part of the installed packages."""
