"""The design of mechanisms: which terms a contract could set so that nobody would rather leave, or that none exist."""
