"""The recording on disk: run directories, shards, and readers that survive damage."""
