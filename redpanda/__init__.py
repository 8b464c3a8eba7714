"""The log: topics as code, broker settings, admin and the local broker."""
