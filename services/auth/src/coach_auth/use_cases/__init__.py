"""The verbs of auth: accounts, logins, signing keys, and what operators do."""
