"""Credentials that expire: AWS's, with the signature they make, and Google's access tokens."""
