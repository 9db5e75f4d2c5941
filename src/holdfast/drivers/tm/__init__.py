"""Transfer drivers: transfer files, and the actions behind their lines on shared storage."""
