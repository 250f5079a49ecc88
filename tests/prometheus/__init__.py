"""The Prometheus and Grafana files for operators, in a real Prometheus that scrapes the real daemon."""
