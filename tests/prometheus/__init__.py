"""What an operator puts into Prometheus and Grafana, in a real Prometheus that scrapes the real daemon."""
