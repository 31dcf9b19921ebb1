"""What every tool uses: errors, the terminal, processes, the cache, the web, apt."""
