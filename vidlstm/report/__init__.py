"""What people look at: tables, curves, confusion matrix, the HTML report."""
