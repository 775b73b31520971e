"""Zone content on its way in: zone files (read, watched), and their export."""
