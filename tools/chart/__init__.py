"""The Helm chart in deploy/helm: its facts, what it renders, its package."""
