"""From records to PDF: validation packs and the portfolio page."""
