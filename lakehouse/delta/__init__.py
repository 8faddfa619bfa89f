"""The Delta transaction log: actions, replay, snapshots, commits and their rules."""
