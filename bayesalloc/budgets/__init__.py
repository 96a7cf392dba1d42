"""An organisation's next budget: what its books say changes would do, and which are proposed."""
