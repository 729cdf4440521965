"""What is timed; outside the package."""
