"""The SQL store: tables, audits, the ledger, what analysts read and write, exports."""
