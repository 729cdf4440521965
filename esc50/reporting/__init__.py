"""What the results say: tables, model card, notebooks, plots."""
