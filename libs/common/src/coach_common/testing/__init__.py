"""What tests of every service share. Never imported by the services themselves."""
