"""Zone content from outside: zone files (read and watched), transfers in, and export."""
