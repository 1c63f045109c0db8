"""Image files of users: found, decoded by fixed rules, and taken as a base data set."""
