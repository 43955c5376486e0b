"""Every client's SDK against every dialect as upstream."""
