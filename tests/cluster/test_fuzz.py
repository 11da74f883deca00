"""Whatever bytes come from elsewhere, a node refuses them or does what they say (§7.4)."""

