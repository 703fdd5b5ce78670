"""What hosts a manager."""
