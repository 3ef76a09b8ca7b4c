"""MIDI files to notes."""
